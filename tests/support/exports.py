"""Exports that no training made, and small evaluations of them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from tests.support.base import write_base
from tests.support.projects import copy_project, load_recipe
from unidiff_cli.project.receipt import Receipt, close

# The image size of the tiny base, in px.
SIDE = 32


def write_export(project, base: Path, name: str = "001-tiny"):
    """Another random base as an export of `base`, and as the project's current one."""
    folder = write_base(project.path("exports", name), seed=1)
    settings = {"base": str(base), "image_size": SIDE}
    close(folder, Receipt("export", settings, {f"runs/{name}": "x"}), 0)
    project.path("exports", "current").write_text(f"{name}\n")
    return project


def copy_export(project, source: Path, name: str = "002-twin", **settings) -> Path:
    """The weights of a folder as another export, by 001-tiny's receipt with other settings."""
    folder = project.path("exports", name)
    if not folder.exists():
        shutil.copytree(source, folder)
    receipt = Receipt.read(project.path("exports", "001-tiny"))
    close(folder, replace(receipt, settings=receipt.settings | settings, files={}), 0)
    return folder


def exported_project(prepared, folder: Path, base: Path):
    """A copy of a prepared project, with one export."""
    return write_export(copy_project(prepared, folder), base)


def evaluation_recipe(base: Path, **options):
    """The shipped recipe on a base: few images and steps, and these options of `evaluate`."""
    options = {"images": 4, "examples": 3, "metrics": ["recall", "kid", "clip_score"], **options}
    assignments = [f"evaluate.{key}={json.dumps(value)}" for key, value in options.items()]
    return load_recipe(base, "generate.steps=2", *assignments)


def read_report(project, folder: str = "report"):
    """report.json as plain data."""
    return json.loads((project.path(folder) / "report.json").read_text())
