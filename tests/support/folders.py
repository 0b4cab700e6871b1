"""Folders of a project with one small file in them."""

from unidiff_cli.project.receipt import Receipt


def finish(project, *folder, text="old", settings=None, **receipt):
    """Writes a finished folder with one file in it, and gives its receipt."""
    closing = Receipt("stage", settings or {"text": text}, **receipt)
    with project.writing(*folder, receipt=closing) as fresh:
        (fresh / "file.txt").write_text(text)
    return closing
