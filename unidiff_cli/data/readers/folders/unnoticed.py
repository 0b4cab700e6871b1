"""Files that look like the texts of images or of their folders, and are not read.

Without them the captions would be the names of folders, so that they are asked about, whatever
their ending is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath

from unidiff_cli.config.schema import Limits
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
    folders = {image.parent for image in images}
    if len(folders) > 1 and (about := _about_folders(files, folders, limits)):
        folder, file = next(iter(about.items()))
        yield Doubt(
            f"{len(about):,} of {len(folders):,} folders of images have a file such as "
            f"{shown(folder.name)}/{shown(file.name)}, which is not read; the captions would be "
            "the names of folders.",
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


def _about_folders(
    files: list[Location], folders: set[Location], limits: Limits
) -> dict[Location, Location]:
    """The folders that have a file of their own: of one name for most, or of the folder's name."""
    above: dict[Location, list[Location]] = defaultdict(list)
    for folder in folders:
        above[folder.parent].append(folder)
    by_name: dict[str, dict[Location, Location]] = defaultdict(dict)
    single: dict[Location, list[Location]] = defaultdict(list)
    for file in files:
        if _NOTES.fullmatch(file.name) or _says_nothing(file, limits):
            continue
        stem, parent = folded(PurePosixPath(file.name).stem), file.parent
        own = [parent] if parent in folders else []
        # shirt/B01/text.txt of shirt/B01/images/, and shirt/B01.txt of shirt/B01/.
        inner = above.get(parent, [])
        own += inner if parent not in folders and len(inner) < len(folders) else []
        own += [folder for folder in inner if folded(folder.name) == stem]
        for folder in own:
            name = "" if folded(folder.name) == stem else folded(file.name)
            by_name[name].setdefault(folder, file)
            single[folder].append(file)
    alone = {folder: files[0] for folder, files in single.items() if len(files) == 1}
    most = max([*by_name.values(), alone], key=len)
    return most if len(most) >= SHARE * len(folders) else {}


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
