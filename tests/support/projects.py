"""Recipes on the tiny base, and copies of a project that went through the whole chain."""

from pathlib import Path


# The tiny images are all alike to a hash.
TINY = ("prepare.near_duplicates=0", "prepare.workers=1")
# What a shipped recipe does besides its three terms of UniDiff. It generates images before a run
# and measures before an export, so it has tests of its own.
PLAIN = (
    "objectives.image_contrast=null",
    "objectives.prior=null",
    "objectives.anchor=null",
    "train.alpha=1",
)


def load_recipe(base: Path, *assignments: str, name: str = "fashion"):
    """A shipped recipe on the tiny base, with its terms of UniDiff alone."""
    from unidiff_cli.models.sources import load_recipe

    return load_recipe(name, assignments=[f"base={base}", *TINY, *PLAIN, *assignments])


def load_whole_recipe(base: Path, *assignments: str, name: str = "fashion"):
    """A shipped recipe on the tiny base, as it is."""
    from unidiff_cli.models.sources import load_recipe

    return load_recipe(name, assignments=[f"base={base}", *TINY, *assignments])


def copy_project(project, folder: Path):
    import shutil

    from unidiff_cli import Project

    return Project(shutil.copytree(project.root, folder / "project"))
