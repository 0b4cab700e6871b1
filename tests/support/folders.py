"""Folders of a project, and folders that are replaced, with small files in them."""

from unidiff_cli.project.files import atomic_folder, files_below
from unidiff_cli.project.receipt import Receipt

# The last file of a replaced folder.
WHOLE = "whole.txt"


def finish(project, *folder, text="old", settings=None, **receipt):
    """Writes a finished folder with one file in it, and gives its receipt."""
    closing = Receipt("stage", settings or {"text": text}, **receipt)
    with project.writing(*folder, receipt=closing) as fresh:
        (fresh / "file.txt").write_text(text)
    return closing


def fill(folder, text):
    """Two files with a text, one after the other."""
    (folder / "first.txt").write_text(text)
    (folder / WHOLE).write_text(text)


def replace_folder(path, text):
    """Replaces a folder by one with two files."""
    with atomic_folder(path, listing) as fresh:
        fill(fresh, text)


def listing(folder):
    """The files of a folder that `fill` filled to the end."""
    return ["first.txt", WHOLE] if (folder / WHOLE).is_file() else None


def made(project, names):
    """Name -> hash of every file of a folder whose bytes do not tell when it was made."""
    timed = ("report.html", "report.json", "report.md", "log.jsonl")
    return {
        name: record.sha256
        for name, record in Receipt.read(project.path(*names)).files.items()
        if name not in timed and "events.out" not in name
    }


def leftovers(project):
    endings = (".new", ".old", ".unfinished")
    return [p for p in files_below(project.root) if any(e in p.as_posix() for e in endings)]
