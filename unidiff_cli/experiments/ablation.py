"""ablate: recipes × seeds × folds with the same base, data order and steps → ablation/.

Each cell of the grid runs the stages in a small project of its own. A cell whose result is stored
is not done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unidiff_cli import __version__
from unidiff_cli.config.ablation_plan import PlannedTests
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import UsageError, WorkError, nearest
from unidiff_cli.evaluation.measure import (
    check_scorer,
    choose_metrics,
    evaluation_settings,
    figure_specs,
    metric_types,
)
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.experiments.cells import BASE, Cell, CellResult, read_cell
from unidiff_cli.experiments.folds import TRAINING_SECTIONS, fold_projects, open_eval_set
from unidiff_cli.experiments.processes import run_cells
from unidiff_cli.experiments.summary import SECONDS, Grid, Summary, all_pairs, summarise
from unidiff_cli.models import sources
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, versions
from unidiff_cli.reports.ablation import write_tables
from unidiff_cli.reports.ablation_schema import AblationCounts, AblationReport, ValidationCurve
from unidiff_cli.reports.schema import FigureSpec

# What all recipes must have in common, beside steps and batch size.
EQUAL_SECTIONS = ("base", "image_size", "generate", "evaluate")
EQUAL_TRAINING = ("steps", "batch_size", "no_duplicates")
# Pairs of figures with a plot of one against the other.
TRADEOFFS = (
    ("probe_accuracy", "map_t2i"),
    ("photo_accuracy", "map_t2i"),
    ("map_t2i", "kid"),
)
LIMITS = (
    "The s.d. is over training seeds, each seed's figure taken over all folds; a mean of few seeds "
    "is uncertain by about s.d./√seeds.",
    "The tests average an item over the seeds first and resample products: they cover other "
    "products, with these very seeds. They do not cover new seeds, another division into folds, "
    "or that folds share training images.",
    "Training seconds are those of the steps; cells that ran side by side slowed each other.",
)
# Called with a label, how much is done, how much there is, and perhaps a note.
Progress = Callable[..., None]


def ablate(
    project: Project,
    recipes: Mapping[str, Recipe],
    seeds: Sequence[int],
    folds: int = 0,
    *,
    margin: float | None = None,
    tests: PlannedTests | None = None,
    joined: Sequence[Sequence[str]] = (),
    jobs: int = 1,
    keep_exports: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Trains and measures every recipe with every seed in every fold, and writes `ablation/`.

    `margin` is in points: by how much a share may be worse and count as not worse. `tests` are the
    only ones made, where given; else every recipe is tested against the first, by all figures.
    `joined` names models whose points a line joins in the plots, as those of one blend.
    `jobs` cells run at a time. Without folds the project's own splits are used. Raises UsageError
    for recipes that cannot be compared and for tests of what is not there, and as the stages do;
    after an Interrupted the same call continues.
    """
    # What is read.
    prepared = project.receipt("shards")
    # What is refused.
    refuse_unlike(recipes, seeds)
    first = next(iter(recipes.values()))
    if not folds:
        # Its cells link them.
        Shards.of(project, read=False).require_tars()
    projects = fold_projects(project, first, folds) if folds else [project]
    metrics, left_out = _choose_metrics(project, first, projects, folds)
    check_scorer(first.evaluate, metrics, first.base)
    specs = figure_specs(metrics, first.evaluate)
    refuse_unknown(tests, joined, [BASE, *recipes], specs)
    # The work, cell by cell; the base's outputs are stored first, for all others.
    started = time.monotonic()
    cells = _cells(project, recipes, seeds, projects, folds, metrics, keep_exports)
    waiting = [cell for cell in cells if read_cell(cell) is None]
    on_done = _counter(len(cells), len(waiting), on_progress)
    run_cells([cell for cell in waiting if cell.variant == BASE], jobs, on_done, on_progress)
    run_cells([cell for cell in waiting if cell.variant != BASE], jobs, on_done, on_progress)
    grid = _read(cells)
    # What is finished already.
    settings = {
        "recipes": {name: recipe.section(*TRAINING_SECTIONS) for name, recipe in recipes.items()},
        **evaluation_settings(first, metrics),
        "against": next(iter(recipes)),
        "seeds": list(seeds),
        "folds": folds,
        "margin": margin,
        "tests": tests and tests.model_dump(mode="json"),
        "joined": [list(names) for names in joined],
        "weights": sources.files_hash(first.base),
    }
    inputs = {"shards": prepared.hash}
    finished = project.finished("ablation", settings=settings, inputs=inputs)
    if finished and not waiting:
        return finished
    # The tables.
    counts = AblationCounts(recipes=len(recipes), seeds=len(seeds), folds=folds, cells=len(cells))
    generated = first.evaluate.images * max(folds, 1)
    pairs = tests.pairs if tests else all_pairs(list(recipes), joint_recipes(recipes))
    tested = tests.figures if tests else list(specs)
    summary = summarise(grid, specs, pairs, tested, generated=generated, margin=margin)
    plotted = [key for metric in metrics.values() for key in metric.plotted]
    report = _report(counts, first, settings, summary, grid, plotted, left_out, tests, joined)
    with project.lock(existing=True):
        receipt = Receipt("ablate", settings, inputs, first.evaluate.seed)
        receipt.counts = counts.model_dump()
        receipt.figures = {
            model: {key: figure.mean for key, figure in figures.items()}
            for model, figures in report.figures.items()
        }
        with project.writing("ablation", receipt=receipt, started=started) as folder:
            write_tables(folder, report)
    return receipt


# ---------------------------------------------------------------- what is refused


def refuse_unlike(recipes: Mapping[str, Recipe], seeds: Sequence[int]) -> None:
    """Raises UsageError where a difference of figures would not be one of objectives."""
    if not recipes or not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(
            "ablate needs a recipe and seeds that differ.",
            "As in: --recipes joint,fashion --seeds 0,1,2",
        )
    if BASE in recipes:
        raise UsageError(
            f"A recipe named '{BASE}' would be taken for the base.", "Rename its file."
        )
    if any(recipe.train.steps == "auto" for recipe in recipes.values()):
        raise UsageError(
            "An ablation trains every recipe for the same steps, and train.steps is auto.",
            "Say how many: --steps 500",
        )
    (first_name, first), *others = ((name, _equal_keys(r)) for name, r in recipes.items())
    for name, values in others:
        for key, value in values.items():
            if value != first[key]:
                raise UsageError(
                    f"{first_name} and {name} differ in {key} ({first[key]} and {value}), which "
                    "an ablation keeps equal.",
                    f"Say it for all, as in: --set {key}=VALUE",
                )


def refuse_unknown(
    tests: PlannedTests | None,
    joined: Sequence[Sequence[str]],
    models: Sequence[str],
    specs: Mapping[str, FigureSpec],
) -> None:
    """Raises UsageError for a test or a line of a model or of a figure that will not be there.

    It is raised before the work, as a misspelt name would cost all of it.
    """
    judged = [name for name, spec in specs.items() if spec.better is not None]
    groups = [*(tests.pairs if tests else ()), *joined]
    asked = [(name, "model", models) for names in groups for name in names]
    asked += [(name, "judged figure", judged) for name in (tests.figures if tests else ())]
    for name, kind, known in asked:
        if name not in known:
            raise UsageError(
                f"The plan names '{name}', and there is no such {kind}.{nearest(name, known)}",
                f"There are: {', '.join(known)}.",
            )


def _equal_keys(recipe: Recipe) -> dict[str, Any]:
    """What all recipes of an ablation must have in common, by key."""
    training = {f"train.{key}": getattr(recipe.train, key) for key in EQUAL_TRAINING}
    return recipe.section(*EQUAL_SECTIONS) | training


def _choose_metrics(
    project: Project, recipe: Recipe, projects: Sequence[Project], folds: int
) -> tuple[dict[str, Metric], dict[str, str]]:
    """The recipe's metrics or those of ablations that the catalogue allows, and why not others."""
    cache, split = project.folder("cache") / "evaluate", "test" if folds else ""
    eval_sets = [
        open_eval_set(each, recipe, cache, fold, split) for fold, each in enumerate(projects)
    ]
    metrics, left_out = choose_metrics(eval_sets)
    if recipe.evaluate.metrics:
        return metrics, left_out
    asked = {name for name, kind in metric_types().items() if kind.in_ablations}
    return (
        {name: metric for name, metric in metrics.items() if name in asked},
        {name: why for name, why in left_out.items() if name in asked},
    )


def joint_recipes(recipes: Mapping[str, Recipe]) -> list[str]:
    """The recipes of two objectives, one for retrieval and one for generation, and nothing else."""

    def joint(recipe: Recipe) -> bool:
        objectives = list(recipe.active().values())
        taught = [o for o in objectives if o.teaches_retrieval and not o.measures_generation]
        generating = [o for o in objectives if o.measures_generation and not o.teaches_retrieval]
        return len(objectives) == 2 and len(taught) == 1 and len(generating) == 1

    return [name for name, recipe in recipes.items() if joint(recipe)]


# ---------------------------------------------------------------- the grid


def _cells(
    project: Project,
    recipes: Mapping[str, Recipe],
    seeds: Sequence[int],
    projects: Sequence[Project],
    folds: int,
    metrics: Mapping[str, Metric],
    keep_exports: bool,
) -> list[Cell]:
    """The base once for each fold, then every recipe, seed by seed: a first seed is whole early."""
    first = next(iter(recipes.values()))
    weights = sources.files_hash(first.base)
    variants = [(BASE, 0, first)]
    variants += [(name, seed, _seeded(r, seed)) for seed in seeds for name, r in recipes.items()]
    cells = []
    for variant, seed, recipe in variants:
        trains = variant != BASE
        sections = recipe.training_inputs() if trains else recipe.section("base", "image_size")
        work = [sections, evaluation_settings(recipe, metrics), weights, __version__, folds]
        for fold, inner in enumerate(projects):
            cells.append(
                Cell(
                    project=project.root,
                    fold_project=inner.root,
                    variant=variant,
                    seed=seed,
                    fold=fold,
                    folds=folds,
                    metrics=tuple(metrics),
                    recipe=recipe.yaml(),
                    work=digest([*work, fold, inner.receipt("shards").hash]),
                    keep_exports=keep_exports,
                )
            )
    return cells


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})


def _read(cells: Sequence[Cell]) -> Grid:
    """The results of all cells. Raises WorkError for one that cannot be read."""
    grid: dict[str, dict[int, list[CellResult]]] = {}
    for cell in cells:
        result = read_cell(cell)
        if result is None:
            raise WorkError(
                f"The figures of {cell.name} cannot be read back.", "Run the same command again."
            )
        grid.setdefault(cell.variant, {}).setdefault(cell.seed, []).append(result)
    return grid


def _counter(cells: int, waiting: int, on_progress: Progress | None) -> Callable[[], None]:
    """A callback for each cell that is done; it reports how long the others will take."""
    started, done = time.monotonic(), 0

    def on_done() -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - started) / done * (waiting - done)
        if on_progress:
            on_progress("cells", cells - waiting + done, cells, f"{left / 60:.0f} min left")

    if on_progress:
        on_progress("cells", cells - waiting, cells)
    return on_done


def _report(
    counts: AblationCounts,
    recipe: Recipe,
    settings: Mapping[str, Any],
    summary: Summary,
    grid: Grid,
    plotted: Sequence[str],
    left_out: Mapping[str, str],
    tests: PlannedTests | None,
    joined: Sequence[Sequence[str]],
) -> AblationReport:
    return AblationReport(
        counts=counts,
        split=f"{counts.folds} folds" if counts.folds else recipe.evaluate.split,
        steps=recipe.train.total_steps,
        batch_size=recipe.train.batch_size,
        recipes=settings["recipes"],
        figures=summary.figures,
        specs=summary.specs,
        chance=summary.chance,
        tests=summary.tests,
        margin=settings["margin"],
        curves={
            variant: [
                ValidationCurve(cell=result.cell, validations=result.training.validations)
                for folds in seeds.values()
                for result in folds
                if result.training
            ]
            for variant, seeds in grid.items()
            if variant != BASE
        },
        plotted=[*plotted, SECONDS],
        tradeoffs=list(TRADEOFFS),
        joined=[list(names) for names in joined],
        limits=list(LIMITS),
        notes=[*summary.notes, *([_planned(tests)] if tests else [])],
        left_out=dict(left_out),
        versions=versions(),
    )


def _planned(tests: PlannedTests) -> str:
    """What was tested, where a plan says so."""
    pairs = ", ".join(f"{model} against {other}" for model, other in tests.pairs)
    return f"Only the tests of the plan were made: {pairs}, by {', '.join(tests.figures)}."
