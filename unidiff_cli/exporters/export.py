"""export: a run's best averaged weights on its base → exports/<name>/, a folder that loads without unidiff.

With α < 1 a blend of both: what the base could do comes back, and some of what the run learned goes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from unidiff_cli.config.load import read_recipe
from unidiff_cli.errors import Damaged, NotReady, UsageError, nearest
from unidiff_cli.exporters.model_card import _card
from unidiff_cli.models import loading, sources
from unidiff_cli.models import weights as weights_module
from unidiff_cli.project import checkpoints
from unidiff_cli.project.checkpoints import HEADS
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt


def export(
    project: Project, run: str | None = None, *, alpha: float = 1.0, force: bool = False
) -> tuple[str, Receipt]:
    """Makes the export of a run, the newest finished one by default, and makes it the current one.

    Its weights are (1 − α)·base + α·tuned, every trained one, α in [0, 1] (WiSE-FT, Wortsman et al. 2022, arXiv
    2109.01903); with α < 1 it is named after both, such as `001-fashion-a0.5`. Raises NotReady, UsageError for an
    unknown run or another α, Damaged when its best weights are not what was written.
    """
    if not 0 <= alpha <= 1:
        raise UsageError(
            f"alpha is {alpha:g}; it is a share of the tuned weights, from 0 (the base) to 1 (the run's own)."
        )
    with project.lock(existing=True):
        run = _run(project, run)
        name = run if alpha == 1 else f"{run}-a{alpha:g}"
        folder = project.path("runs", run)
        source = project.receipt("runs", run)
        recipe = read_recipe(folder / "recipe.yaml")
        settings: dict[str, Any] = recipe.section(
            "name", "base", "image_size", "objectives", "train"
        )
        settings["alpha"] = float(alpha)
        inputs = {f"runs/{run}": source.hash}
        done = Receipt.read(project.path("exports", name))
        if done and done.same_work(settings, inputs) and not force:
            project.make_current(name)
            return name, done
        if source.settings["weights"] != sources.files_hash(recipe.base):
            raise NotReady(
                f"The base's weights changed since run {run} began.", "Run: unidiff train"
            )
        kept, step, figures = _weights(folder)
        weights = {
            k: v for k, v in kept.items() if not k.startswith(HEADS)
        }  # what only the loss looked through
        base = loading.load_base(recipe.base, recipe.image_size)
        known = base.state_dict().keys()
        for objective in recipe.active().values():
            if "dual_stream" in objective.reads:
                objective.build(base)  # layers that are the base's own from now on
        own = base.state_dict()
        if unknown := sorted(weights.keys() - own.keys()):
            raise Damaged(
                f"Run {run} holds weights its base has not: {unknown[0]}, …", "Run: unidiff train"
            )
        weights_module.blend(own, {k: v for k, v in weights.items() if k in known}, alpha)
        weights_module.blend(
            own, {k: v for k, v in weights.items() if k not in known}, 1.0
        )  # new: the base has none
        receipt = Receipt("export", settings, inputs, counts=dict(source.counts))
        receipt.figures = {"fingerprint": base.fingerprint, "step": step, "validation": figures}
        with project.writing("exports", name, receipt=receipt) as fresh:
            base.save(fresh)
            numbers = Path(base.source.diffusion) / "base.yaml"
            if numbers.is_file():
                shutil.copyfile(numbers, fresh / "base.yaml")  # an export can be a base again
            (fresh / "README.md").write_text(_card(name, recipe, receipt), encoding="utf-8")
        project.make_current(name)
        return name, receipt


def _run(project: Project, run: str | None) -> str:
    finished = [n for n in project.runs() if Receipt.read(project.path("runs", n))]
    if run and run not in project.runs():
        raise UsageError(
            f"There is no run '{run}'.{nearest(run, project.runs())}",
            f"Runs: {', '.join(project.runs()) or 'none'}.",
        )
    if run or finished:
        return run or finished[-1]
    raise NotReady(
        f"{project.root.name} has no finished run.",
        "Run: unidiff train" + (" --resume" if project.runs() else ""),
    )


def _weights(run: Path) -> tuple[dict[str, Any], int, dict[str, float]]:
    """The best averaged weights, their step and their validation figures; the last ones without a validation split."""
    checkpoints.recover(run / "checkpoints")
    best = run / "checkpoints" / checkpoints.BEST
    if best.is_dir():
        kept = checkpoints.verified(best)
        return checkpoints.tensors(best, "averaged"), kept["step"], kept["figures"]
    for checkpoint, state in checkpoints.latest(run / "checkpoints"):
        if isinstance(state, dict):
            return checkpoints.tensors(checkpoint, "averaged"), state["step"], {}
    raise Damaged(f"{run} holds no whole checkpoint.", "Run: unidiff train")
