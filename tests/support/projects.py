"""Recipes on the tiny base, and copies of a project that went through the whole chain."""

from pathlib import Path


def load_recipe(base: Path, *assignments: str, name: str = "fashion"):
    from unidiff_cli.models.sources import load_recipe

    near = (
        "prepare.near_duplicates=0",
        "prepare.workers=1",
    )  # the tiny images are all alike to a hash
    return load_recipe(name, assignments=[f"base={base}", *near, *assignments])


def copy_project(project, folder: Path):
    import shutil

    from unidiff_cli import Project

    return Project(shutil.copytree(project.root, folder / "project"))
