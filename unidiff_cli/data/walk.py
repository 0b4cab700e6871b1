"""All files of a catalogue's folder, without the folders that unidiff itself wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Hashable, Iterator

from unidiff_cli.data.locations import Entry, Location
from unidiff_cli.data.sample import Cause, Reason, Rejected, unreadable
from unidiff_cli.project.folders import FOLDERS, MARK
from unidiff_cli.project.project import FILE
from unidiff_cli.project.receipt import NO_RECEIPT, RECEIPT, Receipt

OURS = "folders that unidiff wrote, left out"
SYSTEMS = "folders of thumbnails and deleted files that a system wrote (@eaDir, #recycle), left out"
# Their names in lower case: Synology's, QNAP's, Windows', macOS' and Linux', and of photo programs.
_OF_SYSTEMS = frozenset(
    (
        *"@eadir #recycle #snapshot @tmp @recycle @recently-snapshot @__thumb .@__thumb".split(),
        *"$recycle.bin recycler recycled lost+found .trash .trashes .trash-1000".split(),
        *".thumbnails .thumbs .thumb .picasaoriginals .comments".split(),
        *("system volume information", "network trash folder", "temporary items"),
    )
)
# Bytes; a receipt of ours is smaller.
MOST_RECEIPT = 1 << 26


def walk(root: Location, notes: Counter[str]) -> Iterator[Location | Rejected]:
    """The visible files below a folder, in a fixed order, and the folders that are not read.

    Left out and counted in `notes`: folders that systems fill by themselves, and folders that hold
    a project file or a receipt of ours, whatever their name and however deep; where `root` itself
    is a project, also its own folders, some of which have no receipt.
    """
    reserved: Container[str] = _reserved(root) if root.child(FILE).is_file() else ()
    visited: set[Hashable] = set()
    # What is left of each open folder, the innermost last: no catalogue is too deep for that.
    opened = [iter([Entry(root, is_folder=True)])]
    while opened:
        entry = next(opened[-1], None)
        if entry is None:
            opened.pop()
        elif not entry.is_folder:
            yield entry.location
        else:
            entries = _entries(entry.location, root, visited)
            if isinstance(entries, Rejected):
                yield entries
            else:
                opened.append(_kept(entries, reserved if entry.location == root else (), notes))


def _entries(folder: Location, root: Location, visited: set[Hashable]) -> list[Entry] | Rejected:
    """What lies in a folder: nothing where it was read already, as by a link that leads back up."""
    try:
        identity = folder.stat().identity
        if identity in visited:
            return []
        visited.add(identity)
        return folder.entries()
    except (OSError, ValueError) as problem:
        reason = unreadable(problem, "the folder")
        text = f"{reason.text}; nobody knows how many images it holds"
        row = folder.relative_to(root)
        return Rejected(row, Reason(text, reason.cause or Cause.UNREADABLE), row)


def _kept(entries: list[Entry], reserved: Container[str], notes: Counter[str]) -> Iterator[Entry]:
    """The entries of a folder that belong to a catalogue; our folders and systems' are counted."""
    for entry in entries:
        name = entry.location.name
        if entry.is_folder and name.lower() in _OF_SYSTEMS:
            notes[SYSTEMS] += 1
            continue
        if name.startswith(".") or name == "__MACOSX":
            continue
        if entry.is_folder and (name in reserved or is_ours(entry.location)):
            notes[OURS] += 1
        else:
            yield entry


def _reserved(root: Location) -> list[str]:
    """The folders of a project that no receipt closes; another's of such a name is read."""
    return [name for name in FOLDERS if root.child(name).child(MARK).is_file()]


def is_ours(folder: Location) -> bool:
    """Whether a folder is a project, or one that a stage of ours closed with a receipt."""
    if folder.child(FILE).is_file():
        return True
    receipt = folder.child(RECEIPT)
    if not receipt.is_file():
        return False
    try:
        data = receipt.read(MOST_RECEIPT)
        Receipt.parse(data)
    except NO_RECEIPT:
        # A damaged one is ours still.
        return all(key in data for key in (b'"stage"', b'"settings"', b'"inputs"'))
    except OSError:
        return False
    return True
