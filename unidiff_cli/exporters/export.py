"""The stage `export`: a run's best averaged weights on its base, in a format, in `exports/`.

With alpha below 1 they are blended with the base's: some of what the base knew comes back, and
some of what the run learned goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidiff_cli import registry
from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import Damaged, NotReady, UsageError, nearest
from unidiff_cli.exporters import Exporter
from unidiff_cli.exporters.model_card import model_card
from unidiff_cli.models import loading, sources
from unidiff_cli.models.weights import blend
from unidiff_cli.project import checkpoints
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.base import BaseModel

# The one that the other stages read.
DEFAULT_FORMAT = "diffusers"


def export(
    project: Project,
    run: str | None = None,
    *,
    alpha: float = 1.0,
    format: str = DEFAULT_FORMAT,
    force: bool = False,
) -> tuple[str, Receipt]:
    """Writes the export of a run, by default of the newest finished one; its name and receipt.

    Every trained weight is (1 − α)·base + α·tuned, α in [0, 1] (WiSE-FT, Wortsman et al. 2022,
    arXiv 2109.01903). With α < 1 the export is named after both, such as `001-fashion-a0.5`. An
    export that can be a base becomes the current one; one in another format stands in a folder of
    that format, such as `onnx/001-fashion`, and no stage reads it. Raises NotReady, UsageError for
    an unknown run or format or another α, Damaged where the best weights are not what was written.
    """
    if not 0 <= alpha <= 1:
        raise UsageError(
            f"alpha is {alpha:g}; it is a share of the tuned weights.",
            "Give a number from 0 (the base) to 1 (the run's own).",
        )
    exporter: Exporter = registry.load("exporters", format)()
    with project.lock(existing=True):
        run = _run(project, run)
        name = run if alpha == 1 else f"{run}-a{alpha:g}"
        if not exporter.is_base:
            name = f"{format}/{name}"
        trained = project.receipt("runs", run)
        recipe = read_recipe(project.path("runs", run, "recipe.yaml"))
        settings = {
            **recipe.section("name", "base", "image_size", "objectives", "train"),
            "alpha": float(alpha),
            "format": format,
        }
        inputs = {f"runs/{run}": trained.hash}
        receipt = Receipt.read(project.path("exports", name))
        if force or receipt is None or not receipt.same_work(settings, inputs):
            if trained.settings["weights"] != sources.files_hash(recipe.base):
                raise NotReady(
                    f"The base's weights changed since run {run} began.", "Run: unidiff train"
                )
            receipt = Receipt("export", settings, inputs, counts=dict(trained.counts))
            _write(project, name, run, recipe, exporter, receipt)
        if exporter.is_base:
            project.make_current(name)
        return name, receipt


def _write(
    project: Project, name: str, run: str, recipe: Recipe, exporter: Exporter, receipt: Receipt
) -> None:
    """Writes `exports/<name>`, and what it holds into the receipt."""
    weights, step, validation = _best_weights(project.path("runs", run))
    base = _tuned_base(run, recipe, weights, receipt.settings["alpha"])
    exporter.check(base)
    receipt.figures = {
        "weights_hash": base.weights_hash,
        "step": step,
        "validation": validation,
    }
    with project.writing("exports", name, receipt=receipt) as fresh:
        files = exporter.write(base, fresh)
        receipt.figures["files"] = sorted(str(file.relative_to(fresh)) for file in files)
        model_card(project, name, recipe, receipt).save(fresh / "README.md")


def _run(project: Project, run: str | None) -> str:
    """The run to export. Raises UsageError for an unknown name, NotReady where none is finished."""
    runs = project.runs()
    if run and run not in runs:
        raise UsageError(
            f"There is no run '{run}'.{nearest(run, runs)}",
            f"Runs: {', '.join(runs) or 'none'}.",
        )
    finished = [name for name in runs if Receipt.read(project.path("runs", name))]
    if run or finished:
        return run or finished[-1]
    raise NotReady(
        f"{project.root.name} has no finished run.",
        "Run: unidiff train" + (" --resume" if runs else ""),
    )


def _best_weights(run: Path) -> tuple[dict[str, Tensor], int, dict[str, float]]:
    """The best averaged weights, their step and their validation figures.

    Without a validation split these are the last ones.
    """
    checkpoint, state = _best_checkpoint(run)
    return checkpoints.tensors(checkpoint, "averaged"), state["step"], state.get("figures", {})


def _best_checkpoint(run: Path) -> tuple[Path, dict[str, Any]]:
    checkpoints.recover(run / "checkpoints")
    best = run / "checkpoints" / checkpoints.BEST
    if best.is_dir():
        return best, checkpoints.verified(best)
    for checkpoint, state in checkpoints.latest(run / "checkpoints"):
        if isinstance(state, dict):
            return checkpoint, {"step": state["step"]}
    raise Damaged(f"{run} holds no whole checkpoint.", "Run: unidiff train")


def _tuned_base(run: str, recipe: Recipe, weights: dict[str, Tensor], alpha: float) -> BaseModel:
    """The base with the run's weights, blended where the base has them too."""
    base = loading.load_base(recipe.base, recipe.image_size)
    pretrained = base.state_dict().keys()
    for objective in recipe.active().values():
        if (layers := objective.layers(base)) is not None:
            base.attach(layers)
    state = base.state_dict()
    if unknown := sorted(weights.keys() - state.keys()):
        raise Damaged(
            f"Run {run} holds weights its base has not: {unknown[0]}, …", "Run: unidiff train"
        )
    both = {key: value for key, value in weights.items() if key in pretrained}
    new = {key: value for key, value in weights.items() if key not in pretrained}
    blend(state, both, alpha)
    blend(state, new, 1.0)
    return base
