"""ablate: a grid of recipes × seeds × folds with the same init, data order and steps → ablation/.

It runs the stages cell by cell, each in a small project of its own under `cache/`, keeps a cell's figures and lets its
weights go. A cell whose figures are there already is not done again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unidiff_cli import __version__
from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import UsageError, WorkError
from unidiff_cli.evaluation.measure import (
    chosen,
    settings_of,
)
from unidiff_cli.experiments.cells import BASE, Cell, Progress, _process, _work
from unidiff_cli.experiments.cross_validation import TRAINED, divided, held_out
from unidiff_cli.experiments.summary import summarised
from unidiff_cli.models import sources
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import RECEIPT, Receipt, close, versions
from unidiff_cli.reports.ablation import write_tables

METRICS = ("recall", "kid", "clip_score", "retention", "collapse", "drift", "denoise_loss")
ALIKE = (
    "base",
    "image_size",
    "generate",
    "evaluate",
)  # beside steps and batch size: what all recipes share


# ---------------------------------------------------------------- the grid


def ablate(
    project: Project,
    variants: Mapping[str, Recipe],
    seeds: Sequence[int],
    folds: int = 0,
    *,
    jobs: int = 1,
    keep: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Trains and measures every recipe with every seed in every fold, `jobs` at a time, and writes `ablation/`.

    Without folds the project's own splits are used. Raises UsageError for recipes that are no fair comparison, and as
    the stages do; after an Interrupted the same call goes on where it was.
    """
    # What we read.
    prepared = project.receipt("shards")
    # What we refuse.
    refuse_unlike(variants, seeds)
    first = next(iter(variants.values()))
    inners = divided(project, first, folds) if folds else [project]
    metrics, left_out = _metrics(project, first, inners, bool(folds))
    cells = _cells(project, variants, seeds, inners, folds, metrics, keep)
    # Do.
    started = time.monotonic()
    waiting = [cell for cell in cells if cell.found is None]
    told = _teller(len(cells), len(waiting), on_progress)
    _work(
        [c for c in waiting if c.variant == BASE], jobs, told, on_progress
    )  # all others look its up
    _work([c for c in waiting if c.variant != BASE], jobs, told, on_progress)
    cells = [Cell(**asdict(cell)) for cell in cells]  # which read their files again
    if lost := [cell.name for cell in cells if cell.found is None]:
        raise WorkError(
            f"The figures of {lost[0]} cannot be read back.", "Run the same command again."
        )
    settings = {
        "recipes": {name: r.section(*TRAINED) for name, r in variants.items()},
        **settings_of(first, metrics), "against": next(iter(variants)), "seeds": list(seeds), "folds": folds, "weights": sources.files_hash(first.base),
    }  # fmt: skip
    inputs = {"shards": prepared.hash}
    room = project.path("ablation")
    done = Receipt.read(room)
    if done and done.same_work(settings, inputs) and not waiting:
        return done
    with project.lock(existing=True):
        receipt = Receipt("ablate", settings, inputs, first.evaluate.seed)
        receipt.counts = {
            "recipes": len(variants),
            "seeds": len(seeds),
            "folds": folds,
            "cells": len(cells),
        }
        found = summarised(
            _by_model(cells), {k: f for m in metrics.values() for k, f in m.figures.items()}
        )
        found |= {
            "counts": receipt.counts,
            "steps": first.train.steps,
            "batch_size": first.train.batch_size,
        }
        found |= {"left_out": left_out, "versions": versions(), "recipes": settings["recipes"]}
        found |= {
            "curves": _curves(cells),
            "split": f"{folds} folds" if folds else first.evaluate.split,
        }
        receipt.figures = {
            name: {key: value["mean"] for key, value in each.items()}
            for name, each in found["figures"].items()
        }
        (room / RECEIPT).unlink(missing_ok=True)
        write_tables(room, found)
        close(room, receipt, time.monotonic() - started)
    return receipt


def refuse_unlike(variants: Mapping[str, Recipe], seeds: Sequence[int]) -> None:
    """Raises UsageError where a difference of figures would not be one of recipes."""
    if not variants or not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(
            "ablate needs a recipe and seeds that differ.",
            "As in: --recipes joint,fashion --seeds 0,1,2",
        )
    if BASE in variants:
        raise UsageError(
            f"A recipe named '{BASE}' would be taken for the base.", "Rename its file."
        )
    (name, first), *others = variants.items()
    for other, recipe in others:
        mine, theirs = (
            {k: r.section(k)[k] for k in ALIKE} | {f"train.{k}": getattr(r.train, k) for k in ("steps", "batch_size", "no_duplicates")}
            for r in (first, recipe)
        )  # fmt: skip
        if unlike := [key for key in mine if mine[key] != theirs[key]]:
            key = unlike[0]
            raise UsageError(
                f"{name} and {other} differ in {key} ({mine[key]} and {theirs[key]}), which an ablation keeps equal.",
                f"Say it for all, as in: --set {key}=VALUE",
            )


def _metrics(
    project: Project, recipe: Recipe, inners: Sequence[Project], folds: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """The recipe's metrics, or of METRICS what the catalogue allows; and why others were left out."""
    cache, split = project.path("cache", "evaluate"), "test" if folds else ""
    metrics, left_out = chosen([held_out(p, recipe, cache, i, split) for i, p in enumerate(inners)])
    asked = recipe.evaluate.metrics or METRICS
    return {n: metrics[n] for n in asked if n in metrics}, {
        n: w for n, w in left_out.items() if n in asked
    }


def _cells(
    project: Project,
    variants: Mapping[str, Recipe],
    seeds: Sequence[int],
    inners: Sequence[Project],
    folds: int,
    metrics: Mapping[str, Any],
    keep: bool,
) -> list[Cell]:
    """The base once a fold, then every recipe: seed by seed, so that a first seed is whole early."""
    first = next(iter(variants.values()))
    weights = sources.files_hash(first.base)
    grid = [(BASE, 0, first)]
    for seed in seeds:
        for name, recipe in variants.items():
            grid.append(
                (
                    name,
                    seed,
                    recipe.model_copy(
                        update={"train": recipe.train.model_copy(update={"seed": seed})}
                    ),
                )
            )
    found = []
    for name, seed, recipe in grid:
        trains = recipe.section("base", "image_size") if name == BASE else recipe.training_inputs()
        same = [trains, settings_of(recipe, metrics), weights, __version__, folds]
        for fold, inner in enumerate(inners):
            work = digest([*same, fold, inner.receipt("shards").hash])
            found.append(Cell(
                str(project.root), str(inner.root), name, seed, fold, folds, tuple(metrics), recipe.yaml(), work, keep
            ))  # fmt: skip
    return found


def _by_model(cells: Sequence[Cell]) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Model -> seed -> what each fold's cell found."""
    models: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for cell in cells:
        assert cell.found
        models.setdefault(cell.variant, {}).setdefault(cell.seed, []).append(cell.found)
    return models


def _curves(cells: Sequence[Cell]) -> dict[str, list[dict[str, Any]]]:
    """Model -> the validations of each of its cells."""
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        if cell.variant != BASE and cell.found:
            found.setdefault(cell.variant, []).append(
                {"cell": cell.name, "validation": cell.found["validation"]}
            )
    return found


# ---------------------------------------------------------------- the work


def _teller(cells: int, waiting: int, on_progress: Progress | None) -> Callable[[], None]:
    """Tells of one more cell done, and how long the others will take."""
    started, done = time.monotonic(), 0

    def told() -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - started) / done * (waiting - done)
        if on_progress:
            on_progress("cells", cells - waiting + done, cells, f"{left / 60:.0f} min left")

    if on_progress:
        on_progress("cells", cells - waiting, cells)
    return told


if __name__ == "__main__":
    sys.exit(_process(Path(sys.argv[1])))
