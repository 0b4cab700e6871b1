"""Files that look like the texts of images or of their folders, and are not read.

Without them the captions would be the names of folders, so that they are asked about, whatever
their ending is.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from unidiff_cli.config.prepare import Limits
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.readers.folders.text_kinds import is_wordless
from unidiff_cli.data.readers.folders.text_names import folded

# The share of the images, or of their folders, that have such a file.
SHARE = 0.5
# The share from which it is said.
SAID = 0.1
# Caches of trainers, raw photos, layers, video and sound: no captions.
NO_TEXTS = frozenset(
    """
    .npz .npy .safetensors .pt .pth .bin .lock .aae .raw .cr2 .cr3 .nef .arw .dng .orf .rw2 .raf
    .zip .tar .tgz .gz .7z .rar .psd .psb .ai .eps .indd .mp4 .mov .avi .webm .mkv
    .m4v .mp3 .wav .db .ini .py .sh .ipynb .log
    """.split()
)
# Files about a folder that say nothing of a product.
_NOTES = re.compile(
    r"(?:readme|licen[sc]e|copying|notice|changelog|credits|authors|attribution|todo|class(?:es)?|"
    r"(?:flip_p|cond_dropout|multiply|batch_id|loss_scale))\b.*",
    re.IGNORECASE,
)
_DIVIDER = re.compile(r"[-_. ]")
# Bytes of a file by which it is told from a number.
_BEGINNING = 4096


def doubts(
    leftover: Iterable[Location], images: Collection[Location], limits: Limits
) -> Iterator[Doubt]:
    """What may hold captions; `images` are the products without a text."""
    files = [file for file in leftover if file.suffix not in NO_TEXTS]
    named = _named_as_images(files, images)
    if named and len(named) >= SAID * len(images):
        file, image = next((file, image) for image, file in named.items())
        yield Doubt(
            f"{len(named):,} files such as {shown(file.name)} have the names of images "
            f"({shown(image.name)}) and are not read; the captions would be the names of folders.",
            "If they hold captions, save each as NAME.txt beside its image; else move them out.",
            stops=len(named) >= SHARE * len(images),
        )
        return
    folders = dict.fromkeys(image.parent for image in images)
    if len(folders) > 1 and (about := _about_folders(files, folders.keys(), limits)):
        yield Doubt(
            f"{about.total:,} of {len(folders):,} folders of images have a file such as "
            f"{shown(about.folder.name)}/{shown(about.file.name)}, which is not read; the "
            "captions would be the names of folders.",
            "If they hold captions, save each as NAME.txt beside its images, or give a table "
            "with a column of images; else move them out.",
            stops=True,
        )


def _named_as_images(
    files: Iterable[Location], images: Collection[Location]
) -> dict[Location, Location]:
    """The images whose names a file has: in their folder, or in another where it is but one's."""
    beside: dict[tuple[Location, str], Location] = {}
    anywhere: dict[str, list[Location]] = defaultdict(list)
    for image in images:
        name = folded(image.name)
        stem = PurePosixPath(name).stem
        for own in dict.fromkeys((stem, name)):
            beside[image.parent, own] = image
            anywhere[own].append(image)
    found: dict[Location, Location] = {}
    for file in files:
        for own in _names_in(folded(file.name)):
            same = anywhere.get(own, [])
            owner = beside.get((file.parent, own)) or (same[0] if len(same) == 1 else None)
            if owner:
                found.setdefault(owner, file)
                break
    return found


def _names_in(name: str) -> Iterator[str]:
    """What of a file's name may be an image's: all, without its ending, without its last words."""
    yield name
    for match in reversed(list(_DIVIDER.finditer(name))):
        yield name[: match.start()]
    stem = PurePosixPath(name).stem
    for match in _DIVIDER.finditer(stem):
        yield stem[match.end() :]


class _About(NamedTuple):
    """How many folders have a file about them, and the first of them with its file."""

    total: int
    folder: Location
    file: Location


def _about_folders(
    files: list[Location], folders: Collection[Location], limits: Limits
) -> _About | None:
    """The folders that have a file of their own: of one name for most, or of the folder's name."""
    below = _Below(folders)
    # The names of files -> the folders that they lie in, or those above, with the first file there.
    by_name: dict[str, dict[Location, Location]] = defaultdict(dict)
    # How many files are about a folder, or about all below one, and the first.
    counts: Counter[Location] = Counter()
    firsts: dict[Location, Location] = {}
    for file in files:
        if _NOTES.fullmatch(file.name) or _says_nothing(file, limits):
            continue
        name, parent = folded(file.name), file.parent
        stem = folded(PurePosixPath(file.name).stem)
        own = below.named(parent, stem)
        if parent in folders and folded(parent.name) == stem:
            own = [parent, *own]
        # shirt/B01/text.txt of shirt/B01/images/, and shirt/B01.txt of shirt/B01/.
        elif parent in folders or 0 < len(below.of[parent]) < len(folders):
            by_name[name].setdefault(parent, file)
            counts[parent] += 1
            firsts.setdefault(parent, file)
        for folder in own:
            by_name[""].setdefault(folder, file)
            counts[folder] += 1
            firsts.setdefault(folder, file)
    found = [below.about(name, places) for name, places in by_name.items()]
    found.append(below.alone(counts, firsts))
    most = max(filter(None, found), key=lambda about: about.total, default=None)
    return most if most and most.total >= SHARE * len(folders) else None


class _Below:
    """The folders of images below each folder.

    A file above many of them may be about each one: it is counted, not kept for each.
    """

    def __init__(self, folders: Collection[Location]) -> None:
        self._folders = folders
        self.of: dict[Location, list[Location]] = defaultdict(list)
        self._named: dict[tuple[Location, str], list[Location]] = defaultdict(list)
        for folder in folders:
            self.of[folder.parent].append(folder)
            self._named[folder.parent, folded(folder.name)].append(folder)

    def named(self, parent: Location, name: str) -> list[Location]:
        """The folders of a name right below a folder."""
        return self._named.get((parent, name), [])

    def about(self, name: str, places: Mapping[Location, Location]) -> _About | None:
        """What files of one name are about: the folder each lies in, or those below it."""
        stem = PurePosixPath(name).stem
        above = {place for place in places if place not in self._folders}
        count, first = 0, None
        for place, file in places.items():
            if place not in above:
                count += place.parent not in above
                first = first or (place, file)
                continue
            # A file of a folder's own name is another kind.
            others = len(self.of[place]) - len(self.named(place, stem))
            count += others
            if others and not first:
                own = self.named(place, stem)
                first = next(folder for folder in self.of[place] if folder not in own), file
        return _About(count, *first) if first else None

    def alone(
        self, counts: Mapping[Location, int], firsts: Mapping[Location, Location]
    ) -> _About | None:
        """The folders that only one file is about, whatever its name is."""
        count, first = 0, None
        for folder in self._folders:
            above = folder.parent
            files = counts.get(folder, 0)
            files += 0 if above in self._folders else counts.get(above, 0)
            if files == 1:
                count += 1
                first = first or (folder, firsts.get(folder) or firsts[above])
        return _About(count, *first) if first else None


def _says_nothing(file: Location, limits: Limits) -> bool:
    """Whether a text is empty or a number, such as a trainer's multiply.txt."""
    if file.suffix != ".txt":
        return False
    try:
        if file.size > min(_BEGINNING, limits.text_bytes):
            return False
        text = file.read(_BEGINNING).decode("utf-8", "replace")
    except (OSError, ValueError):
        return False
    return not text.strip() or is_wordless(text)
