"""Cells of an ablation: one recipe, seed and fold, trained and measured in a project of its own."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from unidiff_cli import registry
from unidiff_cli.config.load import read_recipe
from unidiff_cli.evaluation.measure import (
    base_model,
    export_model,
    model_results,
    needs_generated_images,
)
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.evaluation.results import Results
from unidiff_cli.evaluation.results_file import StoredResults, read_results, write_results
from unidiff_cli.experiments.folds import open_eval_set, train_recipe
from unidiff_cli.exporters.export import export
from unidiff_cli.models import sources
from unidiff_cli.models.encoders import CLIP
from unidiff_cli.objectives import trained_encoder
from unidiff_cli.progress import Progress
from unidiff_cli.project import run_log
from unidiff_cli.project.files import file_digest, write_json
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import versions
from unidiff_cli.reports.ablation_schema import Validation

# The variant that is measured and not trained.
BASE = "base"


class Cell(BaseModel):
    """One model to train and measure: everything that its process has to know.

    `fold_project` has the shards that it is trained and tested on. `recipe` is YAML. `work` is a
    hash of all that decides its figures.
    """

    model_config = ConfigDict(frozen=True)

    project: Path
    fold_project: Path
    variant: str
    seed: int
    fold: int
    folds: int
    metrics: tuple[str, ...]
    recipe: str
    work: str
    keep_exports: bool

    @property
    def name(self) -> str:
        """The recipe's name with the seed and the fold; a base has no seed."""
        seed = "" if self.variant == BASE else f"-s{self.seed}"
        return f"{self.variant}{seed}" + (f"-f{self.fold}" if self.folds else "")

    @property
    def file(self) -> Path:
        """Where its result is stored; its arrays are beside it."""
        return self.project / "cells" / f"{self.name}.json"

    @property
    def arrays(self) -> Path:
        """The arrays of its result."""
        return self.file.with_suffix(".safetensors")

    @property
    def folder(self) -> Path:
        """The project that it is trained in."""
        return self.project / "cache" / "ablation" / f"{self.name}-{self.work[:8]}"


@dataclass(frozen=True)
class Training:
    """What a run logged: the seconds of all its steps, and its validations."""

    seconds: float
    validations: list[Validation]


@dataclass(frozen=True)
class CellResult:
    """The results of a cell, and its training; None for the base."""

    cell: str
    results: Results
    training: Training | None = None


class CellFile(BaseModel):
    """A cell's JSON file. `arrays` is the hash of the file beside it."""

    work: str
    arrays: str
    weights: str
    training: Training | None
    results: StoredResults
    versions: dict[str, str]


def read_cell(cell: Cell) -> CellResult | None:
    """A cell's result; None where it is not done, was other work, or its files are damaged."""
    try:
        stored = CellFile.model_validate_json(cell.file.read_bytes())
        if stored.work != cell.work or stored.arrays != file_digest(cell.arrays):
            return None
        return CellResult(cell.name, read_results(cell.arrays, stored.results), stored.training)
    except (OSError, ValueError, KeyError, IndexError):
        return None


def run_cell(cell: Cell, on_progress: Progress | None = None) -> None:
    """Trains and measures one cell and stores its result; its weights are deleted."""
    project = _create_project(cell)
    recipe = read_recipe(cell.folder / "recipe.yaml")
    split, cache = "test" if cell.folds else "", project.folder("cache") / "evaluate"
    eval_set = open_eval_set(project, recipe, cache, cell.fold, split)
    metrics = {name: registry.load("metrics", name)() for name in cell.metrics}
    training = None
    if cell.variant == BASE:
        files_hash = sources.files_hash(recipe.base)
        base = ModelUnderTest(BASE, recipe.base, recipe.base, recipe.image_size, files_hash)
        outputs = ModelOutputs(base, eval_set, None, on_progress)
    else:
        run = train_recipe(project, recipe, on_progress)
        name, _ = export(project, run, choose_guidance=needs_generated_images(metrics))
        training = _training(project, run)
        tuned = replace(
            export_model(project, name, cell.variant),
            encoder=trained_encoder(recipe.active().values()) or CLIP,
            # Squares, so that all cells compare, whatever they learned.
            wanted_size=None,
        )
        base_outputs = ModelOutputs(base_model(tuned), eval_set, None, on_progress)
        outputs = ModelOutputs(tuned, eval_set, base_outputs, on_progress)
    _write(cell, model_results(outputs, metrics), outputs.subject.model_hash, training)
    if cell.keep_exports and training:
        shutil.rmtree(project.path("runs"))
    else:
        shutil.rmtree(cell.folder)


def _create_project(cell: Cell) -> Project:
    """The project of a cell, which shares its fold's shards and the whole project's cache."""
    project = Project(cell.folder)
    project.create()
    shared = {
        "shards": Project(cell.fold_project).path("shards"),
        "cache": Project(cell.project).path("cache"),
    }
    for name, folder in shared.items():
        folder.mkdir(exist_ok=True)
        if not project.path(name).exists():
            project.path(name).symlink_to(folder, target_is_directory=True)
    (cell.folder / "recipe.yaml").write_text(cell.recipe, encoding="utf-8")
    return project


def _training(project: Project, run: str) -> Training:
    lines = run_log.read(project.path("runs", run))
    return Training(
        seconds=sum(line["seconds"] for line in lines if "loss" in line),
        validations=[
            Validation(step=line["step"], figures=_finite(line["validation"]))
            for line in lines
            if "validation" in line
        ],
    )


def _finite(figures: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in figures.items() if math.isfinite(value)}


def _write(cell: Cell, results: Results, weights: str, training: Training | None) -> None:
    Project(cell.project).folder("cells")
    stored = write_results(cell.arrays, results)
    file = CellFile(
        work=cell.work,
        arrays=file_digest(cell.arrays),
        weights=weights,
        training=training,
        results=stored,
        versions=versions(),
    )
    write_json(cell.file, file.model_dump(mode="json"))
