"""What an image's folders say: its split, product and class, and the layouts of trainers.

kohya's trainers read folders such as `10_red dress`: ten repeats of the class "red dress". Here
every image counts once. DreamBooth's trainers read `instance_images` and `class_images`. The
regularization images of both are no products, and neither are the previews that trainers write.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.prompts import load_prompts
from unidiff_cli.data.readers.columns.product_views import ProductViews
from unidiff_cli.data.readers.folders.product_folders import ProductFolders
from unidiff_cli.data.readers.folders.splits import FolderSplits
from unidiff_cli.data.split_words import whole_split

COLUMNS = ("class", "folder", "split")
NO_CLASS = frozenset("images image imgs img photos pictures pics data dataset jpegimages".split())
REPEATED = "images in folders with a repeat count (10_red dress), each read once"
REGULARIZATION = "regularization images of kohya or DreamBooth, left out"
PREVIEWS = "images of a trainer's own folders (sample, log, model), left out"
UNCLEAR = "images beside folders with a repeat count, left out (prepare.companions)"
_REPEATS = re.compile(r"(\d+)_(.*\S)\s*")
# A larger number is part of a name.
MOST_REPEATS = 200
_YEAR = re.compile(r"(?:19|20)\d\d")
# Words behind the name of a folder that say nothing, as in class_images.
_FILL = r"(?:[-_ ]*(?:images?|imgs?|data|dataset|dir|photos?|pictures?|pics?|samples?|set))"
# Certain by its name, and a name that other catalogues use too.
_REGULARIZATION = re.compile(rf"(?:\d+_)?(?:regulari[sz]ations?{_FILL}?|regs?{_FILL})", re.I)
_PERHAPS = re.compile(rf"(?:\d+_)?(?:regs?|(?:class|classes|prior){_FILL}?)", re.I)
_REG = re.compile(r"regs?", re.I)
_INSTANCES = re.compile(rf"instances?{_FILL}?|(?:subject|concept){_FILL}", re.I)
_PREVIEWS = frozenset(
    "sample samples preview previews log logs model models cache checkpoint checkpoints".split()
)
# Names that tell copies of one photo apart: 800x800, 1200px, large.
SIZE = re.compile(r"\d{2,4} ?x ?\d{0,4}|x\d{2,4}|\d{2,4} ?(?:px|w)|[1-4]x", re.I)
_SIZES = frozenset("original originals full fullsize hires large medium small big".split())

Path = tuple[str, ...]


class Classes:
    """The columns of a catalogue's images by their folders.

    `texts` has the texts of every image: an image with one needs no class.
    """

    def __init__(
        self, texts: Mapping[Location, Collection[Location]], root: Location, options: Prepare
    ) -> None:
        self.root = root
        self._texts = texts
        self._options = options
        paths = list(dict.fromkeys(tuple(_folders(image, root)) for image in texts))
        self._instances = {name for path in paths for name in path if _INSTANCES.fullmatch(name)}
        plain = [path for path in paths if path and not _is_trainers(path)]
        plain = plain or [path for path in paths if path]
        self._counted = [path for path in plain if _repeats(path[-1])]
        if len({(path[:-1], _repeats(path[-1])) for path in self._counted}) < len(self._counted):
            # Without the numbers 20_denier and 40_denier would be one class.
            self._counted = []
        others = [path for path in plain if path not in self._counted]
        # kohya's layout: most folders that hold images have a repeat count.
        half = bool(self._counted) and len(self._counted) == len(others)
        leaves_out = options.companions == "leave_out"
        self.has_repeats = len(self._counted) > len(others) or (half and leaves_out)
        is_layout = self.has_repeats or bool(self._instances)
        self._roles = {path: _role(path, is_layout) for path in paths}
        if all(self._roles.values()):
            # That is what the catalogue is of.
            self._roles = dict.fromkeys(paths)
        products = [path for path in paths if path and not self._roles[path]]
        if self.has_repeats:
            unclear = [*_without_count(products), *_beside(self._counted)]
        else:
            # As many folders with a number as without; and one that is named reg alone.
            reg = [path for path in products if _REG.fullmatch(path[-1])]
            unclear = [*(others if half else []), *(reg if len(reg) < len(products) else [])]
        self._unclear = set(unclear)
        products_ = [image for image in texts if not self.left_out(image)]
        own = [tuple(self._named(image)) for image in products_]
        self._views = ProductViews(image.relative_to(root) for image in products_)
        words = {word.strip().lower(): split for word, split in options.split_words.items()}
        self._splits = FolderSplits(own, words, options.columns.split == "")
        self._products = ProductFolders((tuple(self._splits.of(p)[1]) for p in own), options)

    def left_out(self, image: Location) -> str | None:
        """What an image is that lies beside the products; None for a product."""
        path, has_text = tuple(_folders(image, self.root)), bool(self._texts[image])
        role, companions = self._roles[path], self._options.companions
        if role == REGULARIZATION:
            return role
        if has_text or companions == "keep":
            return None
        return role or (UNCLEAR if path in self._unclear and companions == "leave_out" else None)

    @property
    def asks_of_codes(self) -> bool:
        """Whether folders with codes as names may be products or classes."""
        return self._products.asks_of_codes

    def doubts(self, has_names: bool) -> Iterator[Doubt]:
        """What the names of folders leave open; `has_names`: a file says what codes mean."""
        yield from self._splits.doubts()
        yield from self._products.doubts(has_names)
        if self._instances and self._options.caption is None and self._lacks_class():
            example = load_prompts().class_caption.replace("{class}", "sks dress")
            yield Doubt(
                f"The folder '{shown(min(self._instances))}' is DreamBooth's: its name says "
                "nothing of what the images show.",
                f"Say it for all: --set 'prepare.caption={example}', or lay a .txt beside each "
                "image.",
                stops=True,
            )
        if self._options.companions is not None:
            return
        unclear = [
            image
            for image, texts in self._texts.items()
            if not texts and tuple(_folders(image, self.root)) in self._unclear
        ]
        if unclear:
            folders = sorted({image.parent.relative_to(self.root) for image in unclear})
            names = ", ".join(shown(name) for name in folders[:3])
            counted = shown("/".join(self._counted[0])) if self._counted else "the others"
            yield Doubt(
                f"{len(unclear):,} of {len(self._texts):,} images lie in {names} beside {counted}: "
                "classes, or regularization images and previews of a trainer? They are read as "
                "classes.",
                "Say what they are: --set prepare.companions=leave_out or "
                "--set prepare.companions=keep",
                stops=True,
            )

    def columns(self, image: Location) -> dict[str, Any]:
        """What an image's path says.

        images/train/men/shirts/a.jpg is split train, class shirts, folder men/shirts.
        """
        split, folders = self._splits.of(self._named(image))
        _, classes = self._products.of(folders)
        columns = {"split": split} if split else {}
        # The size of a copy is no class where another folder gives one.
        classes = [f for f in classes if f.lower() not in _SIZES] or classes
        if classes:
            columns["class"] = classes[-1]
        if len(folders) > 1:
            columns["folder"] = "/".join(folders)
        return columns

    def product(self, image: Location) -> str | None:
        """The product of an image, where its folder or the files' names say it."""
        product, _ = self._products.of(self._splits.of(self._named(image))[1])
        return product or self._views.of(image.relative_to(self.root))

    def describe(self) -> list[str]:
        folders = self._products.describe()
        return [*self._splits.describe(), *folders, *(() if folders else self._views.describe())]

    def _named(self, image: Location) -> list[str]:
        """The folders of an image that have names of their own, without repeat counts."""
        folders = [f for f in _folders(image, self.root) if not _says_nothing(f)]
        return [_repeats(name) or name for name in folders] if self.has_repeats else folders

    def _lacks_class(self) -> bool:
        """Whether images have neither a text nor a folder that gives their class."""
        return any(
            not texts and not self.left_out(image) and "class" not in self.columns(image)
            for image, texts in self._texts.items()
        )


def _role(path: Path, is_layout: bool) -> str | None:
    """What images of a folder are by its name, if no products; `is_layout`: of a trainer's."""
    patterns = (_REGULARIZATION, _PERHAPS) if is_layout else (_REGULARIZATION,)
    if any(pattern.fullmatch(name) for pattern in patterns for name in path):
        return REGULARIZATION
    return PREVIEWS if is_layout and any(name.lower() in _PREVIEWS for name in path) else None


def _is_trainers(path: Path) -> bool:
    """Whether a folder has a name that trainers give: it does not tell the layout."""
    patterns = (_REGULARIZATION, _PERHAPS, _INSTANCES)
    return any(
        name.lower() in _PREVIEWS or any(pattern.fullmatch(name) for pattern in patterns)
        for name in path
    )


def _without_count(paths: Iterable[Path]) -> Iterator[Path]:
    """Folders without a repeat count in kohya's layout."""
    for path in paths:
        if not _repeats(path[-1]) and not all(map(_says_nothing, path)):
            yield path


def _beside(counted: Iterable[Path]) -> Iterator[Path]:
    """Folders such as another/1_dress beside img/10_sks dress or 10_sks dress."""
    usual = {path[:-1] for path in counted if len(path) < 2 or _says_nothing(path[-2])}
    for path in counted if usual else ():
        if path[:-1] not in usual and not whole_split(path[-2]):
            yield path


def _repeats(name: str) -> str | None:
    """The class behind a repeat count; None for 2021_summer dress and 501_jeans."""
    match = _REPEATS.fullmatch(name)
    if not match or _YEAR.fullmatch(match[1]) or int(match[1]) > MOST_REPEATS:
        return None
    return match[2]


def _says_nothing(folder: str) -> bool:
    """Whether a folder's name is no class: images, instance_images, 800x800."""
    name = folder.lower()
    return bool(name in NO_CLASS or _INSTANCES.fullmatch(name) or SIZE.fullmatch(name))


def _folders(image: Location, root: Location) -> list[str]:
    return image.relative_to(root).split("/")[:-1]
