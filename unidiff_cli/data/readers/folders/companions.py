"""Images that belong to another image and are no products: masks, depth maps, thumbnails, swatches.

Such an image is told by its name *and* by the image that it belongs to: `a-masklabel.png` beside
`a.jpg`, `masks/a.png` beside `images/a.jpg`, WordPress's `a-150x150.jpg` beside `a.jpg`, and
`cache/dress/a-80x80.jpg` beside `dress/a.jpg`. A folder of products may well be named masks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.folders.companion_names import (
    FOLDERS,
    ORIGINALS,
    THUMBNAILS,
    before,
    behind,
    is_sure,
    kind_of_folder,
    kind_of_words,
    owner_of,
    size_of_folder,
)
from unidiff_cli.data.readers.folders.lookalikes import Lookalikes

LIKE = "images with the names"
# Folders that a tree of thumbnails may have more, as cache/1/small_image/<hash>/a.jpg has.
_MORE = 4
# Folders of sizes, of images or of clothes.
_SIZES = frozenset(("small", "medium"))

Parts = tuple[str, ...]


class Companions:
    """Which images of a catalogue belong to others: `kinds` maps each to what it is.

    `texts` has the texts of every image. `unclear` counts, by their folder, images that may be such
    ones or products; with `all_of_them` they are in `kinds` too.
    """

    def __init__(
        self, texts: Mapping[Location, list[Location]], root: Location, all_of_them: bool
    ) -> None:
        self.kinds: dict[Location, str] = {}
        self.unclear: Counter[str] = Counter()
        self._all_of_them = all_of_them
        paths = {image: _parts(image, root) for image in texts}
        self._all = set(paths.values())
        # A path without one of its folders -> the folders that were left out there.
        self._without: dict[tuple[int, Parts], set[str]] = defaultdict(set)
        for parts in paths.values():
            for place, folder in enumerate(parts[:-1]):
                rest = parts[:place] + parts[place + 1 :]
                self._without[place, rest].add(folder)
                # images/7_0.jpg has its mask in masks/7_4.png.
                if folder.lower() in ORIGINALS:
                    self._without[place, (*rest[:-1], _head(parts[-1]))].add(folder)
        # The names of what may be a product.
        self._stems = {
            parts[-1]
            for parts in self._all
            if not any(is_sure(folder) or kind_of_folder(folder) for folder in parts[:-1])
        }
        for image, parts in paths.items():
            # What has a caption of its own is no companion.
            if not texts[image] and (kind := self._by_name(parts) or self._by_folder(parts)):
                self.kinds[image] = kind
        others = {image: parts for image, parts in paths.items() if image not in self.kinds}
        self._like = Lookalikes(
            {parts: bool(texts[image]) for image, parts in others.items()}, self.unclear
        )
        if all_of_them:
            found = self._like.found
            self.kinds |= {image: LIKE for image, parts in others.items() if parts in found}

    def counts(self) -> Iterator[tuple[str, int]]:
        """What is left out, in words, and how many of it."""
        for kind, count in Counter(self.kinds.values()).items():
            yield f"{kind} of other images, left out", count

    def doubts(self) -> Iterator[Doubt]:
        """What may be masks and the like, or a class of that name."""
        if self._all_of_them:
            return
        action = (
            "Say what it is: --set prepare.companions=leave_out or --set prepare.companions=keep"
        )
        for folder, count in self.unclear.items():
            yield Doubt(
                f"The folder '{folder}' may hold masks or thumbnails, or be a class: {count:,} of "
                "its images have names that images of another folder have too. It is read as a "
                "class.",
                action,
                stops=True,
            )
        for fact in self._like.facts():
            yield Doubt(fact, action, stops=True)

    def _by_name(self, parts: Parts) -> str | None:
        """What a name says of an image whose partner lies in the same folder."""
        *folders, stem = parts
        for base, words in behind(stem):
            # WordPress's a-scaled stands for a where a is gone.
            bases = {base, f"{base}-scaled"} - {stem}
            if any((*folders, name) in self._all for name in bases) and (
                kind := kind_of_words(words)
            ):
                return kind
        for base, words in before(stem):
            if (*folders, base) in self._all and (kind := kind_of_words(words)):
                return kind
        return None

    def _by_folder(self, parts: Parts) -> str | None:
        """What a folder says of an image whose partner lies beside that folder, or above it."""
        for place, folder in enumerate(parts[:-1]):
            if size := size_of_folder(folder):
                if self._has_larger(parts, place, size):
                    return THUMBNAILS
                continue
            owner = owner_of(folder)
            kind = kind_of_folder(folder)
            if not kind and not owner:
                continue
            if kind and is_sure(folder) and self._stems.intersection(_stems(parts[-1])):
                return kind
            for rest in _rests(parts, place, _MORE if kind == THUMBNAILS else 1):
                names = self._without.get((place, rest), set())
                if owner and owner[0] in map(str.lower, names):
                    return owner[1]
                if not kind:
                    continue
                others = {name for name in names if not kind_of_folder(name)}
                if rest in self._all:
                    return kind
                if any(name.lower() in ORIGINALS for name in others) and not (
                    folder.lower() in _SIZES and ORIGINALS.issuperset(map(str.lower, parts[:place]))
                ):
                    return kind
                if others:
                    self.unclear[folder] += 1
                    return kind if self._all_of_them else None
        return None

    def _has_larger(self, parts: Parts, place: int, size: int) -> bool:
        """Whether an image of a folder 200x200 lies in 800x800, in images or above it too."""
        for rest in _rests(parts, place, 1):
            names = self._without.get((place, rest), set())
            sizes = [size_of_folder(name) for name in names]
            if rest in self._all or any(other and other > size for other in sizes):
                return True
            if any(name.lower() in ORIGINALS for name in names):
                return True
        return False


def _rests(parts: Parts, place: int, most: int) -> Iterator[Parts]:
    """The path without a folder, or `most` folders, and without a word such as mask in its name."""
    *folders, stem = parts
    stems = _stems(stem)
    for count in range(1, most + 1):
        if place + count > len(folders):
            return
        rest = (*folders[:place], *folders[place + count :])
        yield from ((*rest, name) for name in stems)


def _stems(stem: str) -> list[str]:
    """A name, and what it is without a word such as mask, or its last word, behind it."""
    named = [base for base, words in behind(stem) if kind_of_words(words, FOLDERS)]
    return list(dict.fromkeys((stem, *named, _head(stem))))


def _head(stem: str) -> str:
    return next((base for base, _ in behind(stem)), stem)


def _parts(image: Location, root: Location) -> Parts:
    """The folders and the stem of an image."""
    pure = PurePosixPath(image.relative_to(root))
    return (*pure.parts[:-1], pure.stem)
