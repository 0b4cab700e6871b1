"""What an image's folders say: its split, product and class, and kohya's repeat counts.

kohya's trainers read folders such as `10_red dress`: ten repeats of the class "red dress". Here
every image counts once. Their regularization images are no products.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers._folder_splits import FolderSplits
from unidiff_cli.data.readers._product_folders import ProductFolders

COLUMNS = ("class", "folder", "split")
NO_CLASS = frozenset(
    ("images", "image", "imgs", "img", "photos", "pictures", "pics", "data", "dataset")
)
REPEATED = "images in folders with a repeat count (10_red dress), each read once"
REGULARIZATION = "regularization images of kohya, left out"
_REPEATS = re.compile(r"\d+_(.*\S)\s*")
_REGULARIZATION = re.compile(
    r"(?:\d+_)?(?:reg|regs|regularization|regularisation|reg_images)", re.I
)


class Classes:
    """The columns of a catalogue's images by their folders."""

    def __init__(self, images: Iterable[Location], root: Location, options: Prepare) -> None:
        self.root, images = root, list(images)
        folders = {tuple(_folders(image, root)[-1:]) for image in images}
        names = [name for (name,) in filter(None, folders)]
        # kohya's layout: every folder that holds images has a repeat count.
        self.has_repeats = bool(names) and all(
            _REPEATS.fullmatch(name) or _REGULARIZATION.fullmatch(name) for name in names
        )
        paths = [tuple(self._named(image)) for image in images if not self.is_regularization(image)]
        words = {word.strip().lower(): split for word, split in options.split_words.items()}
        self._splits = FolderSplits(paths, words, options.columns.split == "")
        self._products = ProductFolders((tuple(self._splits.of(p)[1]) for p in paths), options)

    def is_regularization(self, image: Location) -> bool:
        """Whether it is an image that kohya trains beside the products, such as 1_reg/a.jpg."""
        folders = _folders(image, self.root) if self.has_repeats else ()
        return any(_REGULARIZATION.fullmatch(name) for name in folders)

    def columns(self, image: Location) -> dict[str, Any]:
        """What an image's path says.

        images/train/men/shirts/a.jpg is split train, class shirts, folder men/shirts.
        """
        split, folders = self._splits.of(self._named(image))
        _, classes = self._products.of(folders)
        columns = {"split": split} if split else {}
        if classes:
            columns["class"] = classes[-1]
        if len(folders) > 1:
            columns["folder"] = "/".join(folders)
        return columns

    def product(self, image: Location) -> str | None:
        """The product of an image, where its folder holds the images of one."""
        return self._products.of(self._splits.of(self._named(image))[1])[0]

    def describe(self) -> list[str]:
        return [*self._splits.describe(), *self._products.describe()]

    def doubts(self) -> Iterator[Doubt]:
        """What the names of folders may mean otherwise."""
        yield from self._splits.doubts()
        yield from self._products.doubts()

    def _named(self, image: Location) -> list[str]:
        """The folders of an image that have names of their own, without repeat counts."""
        folders = [f for f in _folders(image, self.root) if f.lower() not in NO_CLASS]
        if not self.has_repeats:
            return folders
        repeats = [_REPEATS.fullmatch(name) for name in folders]
        return [r[1] if r else name for r, name in zip(repeats, folders, strict=True)]


def _folders(image: Location, root: Location) -> list[str]:
    return image.relative_to(root).split("/")[:-1]
