"""All files of a catalogue's folder, without the folders that unidiff itself wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Hashable, Iterator

from unidiff_cli.data.locations import Location
from unidiff_cli.project.project import FILE, FOLDERS, MARK
from unidiff_cli.project.receipt import NO_RECEIPT, RECEIPT, Receipt

OURS = "folders that unidiff wrote, left out"
UNREADABLE = "folders that may not be read, left out"


def walk(root: Location, notes: Counter[str]) -> Iterator[Location]:
    """The visible files below a folder, in a fixed order.

    Left out and counted in `notes`: folders that hold a project file or a receipt of ours, whatever
    their name and however deep; where `root` itself is a project, also its own folders, some of
    which have no receipt; and folders that may not be read.
    """
    reserved = _reserved(root) if root.child(FILE).is_file() else ()
    yield from _below(root, reserved, notes, set())


def _below(
    folder: Location, reserved: Container[str], notes: Counter[str], visited: set[Hashable]
) -> Iterator[Location]:
    identity = folder.stat().identity
    # A link that leads back up, or to a folder that was read already.
    if identity is not None and identity in visited:
        return
    visited.add(identity)
    try:
        entries = folder.entries()
    except PermissionError:
        notes[UNREADABLE] += 1
        return
    for location, is_folder in entries:
        if location.name.startswith(".") or location.name == "__MACOSX":
            continue
        if not is_folder:
            yield location
        elif location.name in reserved or _is_ours(location):
            notes[OURS] += 1
        else:
            yield from _below(location, (), notes, visited)


def _reserved(root: Location) -> list[str]:
    """The folders of a project that no receipt closes; another's of such a name is read."""
    return [name for name in FOLDERS if root.child(name).child(MARK).is_file()]


def _is_ours(folder: Location) -> bool:
    """Whether a folder is a project, or one that a stage of ours closed with a receipt."""
    if folder.child(FILE).is_file():
        return True
    receipt = folder.child(RECEIPT)
    if not receipt.is_file():
        return False
    try:
        data = receipt.read()
        Receipt.parse(data)
    except NO_RECEIPT:
        # A damaged one is ours still.
        return all(key in data for key in (b'"stage"', b'"settings"', b'"inputs"'))
    except OSError:
        return False
    return True
