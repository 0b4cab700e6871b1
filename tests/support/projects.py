"""Recipes on the tiny base, and copies of a project that went through the whole chain."""

from pathlib import Path

# The tiny images are all alike to a hash.
TINY = ("prepare.near_duplicates=0", "prepare.workers=1")
# A recipe of the shipped one's name, with fewer terms.
FASHION = Path(__file__).parent / "fashion.yaml"


def load_recipe(base: Path, *assignments: str, name: str = "fashion"):
    """A recipe on the tiny base: `FASHION`, or a shipped one of another name."""
    return load_whole_recipe(base, *assignments, name=str(FASHION) if name == "fashion" else name)


def load_whole_recipe(base: Path, *assignments: str, name: str = "fashion"):
    """A shipped recipe on the tiny base, as it is."""
    from unidiff_cli.models.sources import load_recipe

    return load_recipe(name, assignments=[f"base={base}", *TINY, *assignments])


def copy_project(project, folder: Path):
    import shutil

    from unidiff_cli import Project

    return Project(shutil.copytree(project.root, folder / "project"))
