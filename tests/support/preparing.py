"""Prepare into a project below a folder, and look at what came of it."""

from pathlib import Path

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.prepare import prepare
from unidiff_cli.data.shards import Shards
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import RECEIPT, Receipt


def run(
    tmp_path: Path, source: Path, force=False, project="project", yes=False, **options
) -> tuple[Receipt, Path]:
    """The receipt and the folder of shards, in a project below `tmp_path`."""
    recipe = Recipe(prepare=Prepare(**{"workers": 1, **options}))
    place = Project(tmp_path / project)
    return prepare(place, recipe, source, force=force, yes=yes), place.path("shards")


def is_whole(folder: Path) -> bool:
    """Whether every sample of a folder of shards reads as it was written."""
    opened = Shards.open(folder)
    return all(opened.image_bytes(row) and opened.json_bytes(row) for row in opened.rows())


def bytes_of(folder: Path) -> dict[str, bytes]:
    """The files that prepare promises to be equal."""
    others = (RECEIPT, "report.html")
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in others}


def inodes(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_ino for p in folder.glob("*.tar")}
