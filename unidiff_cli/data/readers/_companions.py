"""Images that belong to another image and are no products: masks, depth maps, thumbnails, swatches.

Such an image is told by its name *and* by the image that it belongs to: `a-masklabel.png` beside
`a.jpg`, `masks/a.png` beside `images/a.jpg`, WordPress's `a-150x150.jpg` beside `a.jpg`. A folder
of products may well be named masks.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers._classes import NO_CLASS

MASKS, MAPS = "masks", "depth maps and the like"
THUMBNAILS, SWATCHES = "thumbnails", "swatches"
# Words of a file's name, and what such an image is.
OF_FILES = {
    MASKS: "masklabel mask masks segmentation",
    MAPS: "condlabel conditioning depth depthmap canny openpose lineart",
    THUMBNAILS: "thumb thumbs thumbnail thumbnails",
    SWATCHES: "swatch",
}
# More words, which a folder may have as its name; a file `a-label.jpg` may show a label.
OF_FOLDERS = {
    MASKS: "matte mattes alpha seg segmentations label labels annotations",
    MAPS: "condition conditions control normal normals pose poses hed scribble",
    THUMBNAILS: "tn small",
    SWATCHES: "swatches",
}
FILES = {word: kind for kind, words in OF_FILES.items() for word in words.split()}
FOLDERS = FILES | {word: kind for kind, words in OF_FOLDERS.items() for word in words.split()}
# Folders of the images that others belong to.
ORIGINALS = NO_CLASS | {"jpg", "jpeg", "original", "originals", "full", "large", "rgb", "target"}
_BEHIND = re.compile(rf"(.+?)[-_. ]({'|'.join(FILES)})", re.IGNORECASE)
_BEFORE = re.compile(r"(thumb|thumbnail|mask|swatch)[-_](.+)", re.IGNORECASE)
# WordPress and Shopify name a scaled copy by its size.
_SIZE = re.compile(r"(.+)[-_]\d{2,4}x\d{2,4}")
_FILLERS = re.compile(r"[-_ ]?(?:images?|maps?|files?)$")

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
                self._without[place, parts[:place] + parts[place + 1 :]].add(folder)
        for image, parts in paths.items():
            # What has a caption of its own is no companion.
            if not texts[image] and (kind := self._by_name(parts) or self._by_folder(parts)):
                self.kinds[image] = kind

    def counts(self) -> Iterator[tuple[str, int]]:
        """What is left out, in words, and how many of it."""
        for kind, count in Counter(self.kinds.values()).items():
            yield f"{kind} of other images, left out", count

    def doubts(self) -> Iterator[Doubt]:
        """What may be masks and the like, or a class of that name."""
        for folder, count in () if self._all_of_them else self.unclear.items():
            yield Doubt(
                f"The folder '{folder}' may hold masks or thumbnails, or be a class: {count:,} of "
                "its images have names that images of another folder have too. It is read as a "
                "class.",
                "Say what it is: --set prepare.companions=leave_out or "
                "--set prepare.companions=keep",
                stops=True,
            )

    def _by_name(self, parts: Parts) -> str | None:
        """What a name says of an image whose partner lies in the same folder."""
        *folders, stem = parts
        for pattern, base, word in ((_BEHIND, 1, 2), (_BEFORE, 2, 1), (_SIZE, 1, 0)):
            match = pattern.fullmatch(stem)
            if match and (*folders, match[base]) in self._all:
                return FILES[match[word].lower()] if word else THUMBNAILS
        return None

    def _by_folder(self, parts: Parts) -> str | None:
        """What a folder says of an image whose partner lies beside that folder, or above it."""
        for place, folder in enumerate(parts[:-1]):
            kind = _kind_of(folder)
            if not kind:
                continue
            for rest in _rests(parts, place):
                others = {name for name in self._without[place, rest] if not _kind_of(name)}
                if rest in self._all or any(name.lower() in ORIGINALS for name in others):
                    return kind
                if others:
                    self.unclear[folder] += 1
                    return kind if self._all_of_them else None
        return None


def _rests(parts: Parts, place: int) -> Iterator[Parts]:
    """The path without a folder, and also without a word such as mask behind its name."""
    rest = parts[:place] + parts[place + 1 :]
    yield rest
    if match := _BEHIND.fullmatch(rest[-1]):
        yield (*rest[:-1], match[1])


def _kind_of(folder: str) -> str | None:
    """What the images of a folder are by its name, such as masks of mask_images."""
    name = folder.lower()
    return FOLDERS.get(name) or FOLDERS.get(_FILLERS.sub("", name))


def _parts(image: Location, root: Location) -> Parts:
    """The folders and the stem of an image."""
    pure = PurePosixPath(image.relative_to(root))
    return (*pure.parts[:-1], pure.stem)
