"""What lies below a catalogue's folder: tables, tars, zips, images and the texts beside them."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.catalogue.text_lists import lists_of, may_be_list
from unidiff_cli.data.readers.folders import text_names
from unidiff_cli.data.readers.rows import formats
from unidiff_cli.data.readers.tars import tar_file
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Rejected
from unidiff_cli.data.walk import is_ours, walk
from unidiff_cli.data.zips import InZip, is_zip
from unidiff_cli.errors import WorkError

# Names read off a screen, and tables that somebody renamed: said, and never read.
LOOKALIKES = (
    ".json1",
    ".jsoni",
    ".csv1",
    ".xls",
    ".xlsx",
    ".ods",
    ".numbers",
    ".arrow",
    ".feather",
)
# What a table is packed in that has to be unpacked first.
PACKED = (".xz", ".bz2", ".zst", ".lz4", ".lzma", ".br", ".z", ".7z", ".rar")
# What a source of captions is usually called, and endings that no table has.
_USUAL = re.compile(
    r"(?:.*[-_ .])?(?:captions?|catalog(?:ue)?s?|metadata|labels|annotations?|products?|exports?|"
    r"styles|items|prompts|descriptions)(?:[-_ .].*)?",
    re.IGNORECASE,
)
_LISTS = re.compile(r"label|annotation|class|item", re.IGNORECASE)
_NO_TABLES = frozenset(
    """
    .txt .py .ipynb .sh .bat .ps1 .log .pdf .css .js .toml .ini .cfg .lock .url .lnk .npz .npy .pt
    .pth .safetensors .bin .mp4 .mov .avi .webm .mp3 .wav .psd .ai .eps .woff .woff2 .ttf .exe
    """.split()
)
# Files that are opened to see whether they are tables.
PERHAPS = 20


@dataclass
class Sources:
    """The files of a folder by what they may be, each list in the order of a walk."""

    root: Location
    tables: list[Location] = field(default_factory=list)
    tars: list[Location] = field(default_factory=list)
    zips: list[InZip] = field(default_factory=list)
    # What looks like a table by its name and is none that is read.
    lookalikes: list[Location] = field(default_factory=list)
    # Texts that are not read, whose lines name images.
    lists: list[Location] = field(default_factory=list)
    # Tables in an archive that is not read.
    packed: list[Location] = field(default_factory=list)
    images: int = 0
    # The folders that hold images.
    folders: list[Location] = field(default_factory=list)
    # Of each image the hash of its address, and the number of its folder.
    hashes: array[int] = field(default_factory=lambda: array("q"))
    places: array[int] = field(default_factory=lambda: array("i"))
    # Texts that have an image beside them.
    sidecars: int = 0

    def path(self, file: Location) -> str:
        """The path of a file from the catalogue's folder."""
        return file.relative_to(self.root)


def unpacked(location: Location) -> Location:
    """What is in a zip, as a folder; any other location as it is. WorkError for a damaged zip."""
    if not (location.is_file() and is_zip(location)):
        return location
    try:
        InZip(location).stat()
    except OSError as problem:
        raise WorkError(f"{location} is {problem.strerror}.", "Pack it again.") from problem
    return InZip(location)


def survey(root: Location, options: Prepare) -> Sources:
    """Everything below a folder that images or captions may come from; no image is opened.

    A folder with one zip and nothing else is what is in the zip.
    """
    sources = _survey(root, options)
    others = (sources.images, sources.tables, sources.tars, sources.lookalikes, sources.packed)
    if len(sources.zips) == 1 and not any(others):
        return _survey(unpacked(sources.zips[0].archive), options)
    return sources


def _survey(root: Location, options: Prepare) -> Sources:
    sources = Sources(root)
    # Folders and names of images, with and without their ending, in lower case.
    images: dict[tuple[Location, str], None] = {}
    folders: dict[Location, int] = {}
    texts: list[Location] = []
    maybe: list[Location] = []
    others: list[Location] = []
    odd: list[Location] = []
    for file in walk(root, Counter()):
        if isinstance(file, Rejected):
            continue
        name = file.name.lower()
        if file.suffix in IMAGE_SUFFIXES:
            sources.images += 1
            folder, own = file.parent, text_names.folded(name)
            images[folder, PurePosixPath(own).stem] = images[folder, own] = None
            sources.hashes.append(hash(str(file)))
            sources.places.append(folders.setdefault(folder, len(folders)))
        elif tar_file.is_tar(file):
            sources.tars.append(file)
        elif is_zip(file):
            sources.zips.append(InZip(file))
        elif name.endswith(tuple(formats.SUFFIXES)):
            maybe.append(file)
        elif file.suffix in text_names.SUFFIXES or name.endswith(formats.PERHAPS):
            texts.append(file)
        elif _looks_like_table(file):
            odd.append(file)
        elif may_be_list(file):
            others.append(file)
    perhaps = [file for file in texts if file.name.lower().endswith(formats.PERHAPS)]
    beside = {file for file in (*maybe, *texts) if _lies_beside(file, images)}
    sources.sidecars = len(beside)
    odd = [
        f for f in odd if (f.parent, text_names.folded(PurePosixPath(f.name).stem)) not in images
    ]
    sources.packed = [file for file in odd if file.suffix in PACKED]
    odd = [file for file in odd if file.suffix not in PACKED]
    sources.folders = list(folders)
    # Shards of ours may be a catalogue, and the tables beside them are about the tars.
    maybe = [] if is_ours(root) else maybe
    sources.tables = [file for file in maybe if file not in beside]
    # Among thousands of caption files none is a table.
    perhaps = [file for file in perhaps if file not in beside]
    if not sources.tables and len(perhaps) <= PERHAPS:
        sources.tables = [file for file in perhaps if formats.is_table(file, options)]
    _add_unread_texts(sources, perhaps)
    unread = {*beside, *sources.tables, *sources.lookalikes}
    texts = [file for file in (*texts, *odd) if may_be_list(file) and file not in unread]
    sources.lists = list(lists_of([*texts, *others], {name for _, name in images}))
    sources.lookalikes += [file for file in odd if file not in sources.lists]
    return sources


def _add_unread_texts(sources: Sources, texts: list[Location]) -> None:
    """Names texts such as captions.txt and products.xml that are no table that is read."""
    chosen = set(sources.tables)
    sources.lookalikes += [
        file
        for file in texts
        if file not in chosen
        if _USUAL.fullmatch(stem := PurePosixPath(file.name).stem)
        # A list of classes, or of the files of a split.
        if not _LISTS.search(stem)
    ]


def _looks_like_table(file: Location) -> bool:
    """Whether a file whose ending is not read is a table by its name: captions.yaml, a.csv.xz."""
    name = file.name.lower()
    if name.endswith(LOOKALIKES):
        return True
    inner = name.removesuffix(file.suffix)
    # catalog.csv.xz, and catalog.csv.bak of an editor.
    if inner.endswith(tuple(formats.SUFFIXES)):
        return True
    return file.suffix not in _NO_TABLES and bool(_USUAL.fullmatch(inner))


def _lies_beside(text: Location, images: Container[tuple[Location, str]]) -> bool:
    """Whether an image of this name lies beside: a.json and a.jpg.json of a.jpg."""
    is_sidecar = text.suffix in text_names.SUFFIXES
    names = map(text_names.folded, text_names.owners(text.name))
    return is_sidecar and any((text.parent, name) in images for name in names)
