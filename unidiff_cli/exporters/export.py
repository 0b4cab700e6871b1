"""The stage `export`: a run's best averaged weights on its base, in a format, in `exports/`.

With a share below 1 they are blended with the base's: some of what the base knew comes back, and
some of what the run learned goes. CLIP's towers and the denoiser have a share each.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unidiff_cli import registry
from unidiff_cli.config.run_recipe import read_run_recipe
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Damaged, NotReady, UsageError, nearest
from unidiff_cli.evaluation.alpha import choose_alpha
from unidiff_cli.exporters import Exporter, model_card
from unidiff_cli.exporters.guidance import export_guidance
from unidiff_cli.models import buckets_file, guidance_file, loading, sources
from unidiff_cli.models.buckets_file import BucketsFile
from unidiff_cli.models.low_rank import LowRank, blended, layer_of
from unidiff_cli.models.needs import Tower
from unidiff_cli.models.weights import Shares, blend
from unidiff_cli.progress import Progress
from unidiff_cli.project import checkpoints
from unidiff_cli.project.files import write_json, write_text
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import QUICK, Receipt

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.base import BaseModel

logger = logging.getLogger("unidiff")

# The guidance of an export for which none is chosen, in its receipt.
KEPT = "the base's own"
# The one that the other stages read.
DEFAULT_FORMAT = "diffusers"
# The share of CLIP's towers that is to be chosen on the validation split.
AUTO: Literal["auto"] = "auto"
Alpha = float | Literal["auto"]


@dataclass(frozen=True)
class Wanted:
    """The shares that are asked for, of CLIP's towers and of the denoiser."""

    clip: Alpha
    denoiser: float

    def suffix(self, own: Wanted) -> str:
        """What an export's name ends in: nothing where it is what the run's recipe says."""
        if self == own:
            return ""
        if isinstance(self.clip, str):
            return "-auto" if self.denoiser == 1 else f"-auto-d{self.denoiser:g}"
        return Shares(self.clip, self.denoiser).suffix or "-a1"


def export(
    project: Project,
    run: str | None = None,
    *,
    alpha: Alpha | None = None,
    alpha_clip: Alpha | None = None,
    alpha_denoiser: float | None = None,
    format: str = DEFAULT_FORMAT,
    choose_guidance: bool = True,
    force: bool = False,
    on_progress: Progress | None = None,
) -> tuple[str, Receipt]:
    """Writes the export of a run, by default of the newest finished one; its name and receipt.

    Every trained weight is (1 − α)·base + α·tuned, α in [0, 1] (WiSE-FT, Wortsman et al. 2022,
    arXiv 2109.01903); `alpha_clip` is that of CLIP's towers and `alpha_denoiser` the denoiser's,
    `alpha` by default. Without any, the run's `train.alpha` is that of CLIP's towers, and the
    denoiser is tuned. "auto" chooses CLIP's on the validation split. An export with other shares
    than its run's recipe says is named after them, such as `001-fashion-a0.5`,
    `001-fashion-c0.7-d1` and `001-fashion-auto`. One that can be a base becomes the current one;
    one in another format stands in a folder of that format, such as `onnx/001-fashion`, and no
    stage reads it. Its guidance is chosen on the validation split; without `choose_guidance` it is
    its base's. Raises NotReady, UsageError for an unknown run or format or another α, Damaged where
    the best weights are not what was written.
    """
    _check_shares(alpha, alpha_clip, alpha_denoiser)
    exporter: Exporter = registry.load("exporters", format)()
    with project.lock(existing=True):
        run = _run(project, run)
        trained = project.receipt("runs", run, hashed=QUICK)
        recipe = read_run_recipe(project.path("runs", run))
        own = Wanted(recipe.train.alpha, 1.0)
        wanted = _wanted(own, alpha, alpha_clip, alpha_denoiser)
        name = f"{run}{wanted.suffix(own)}"
        if not exporter.is_base:
            name = f"{format}/{name}"
        settings = {
            **recipe.section("name", "base", "image_size", "objectives", "train"),
            "alpha_clip": wanted.clip,
            "alpha_denoiser": wanted.denoiser,
            "format": format,
            "guidance": recipe.generate.guidance if choose_guidance else KEPT,
        }
        inputs = {f"runs/{run}": trained.hash}
        project.folder("exports")
        receipt = project.finished("exports", *name.split("/"), settings=settings, inputs=inputs)
        if force or receipt is None:
            if trained.settings["weights"] != sources.files_hash(recipe.base):
                raise NotReady(
                    f"The base's weights changed since run {run} began.", "Run: unidiff train"
                )
            remake = (
                f"unidiff export {run} --alpha-clip {_word(wanted.clip)} "
                f"--alpha-denoiser {_word(wanted.denoiser)} --format {format} --force"
            )
            counts = dict(trained.counts)
            receipt = Receipt("export", settings, inputs, counts=counts, remake=remake)
            _write(project, name, run, recipe, exporter, receipt, wanted, on_progress)
        if exporter.is_base:
            project.make_current(name)
        return name, receipt


def _write(
    project: Project,
    name: str,
    run: str,
    recipe: Recipe,
    exporter: Exporter,
    receipt: Receipt,
    wanted: Wanted,
    on_progress: Progress | None,
) -> None:
    """Writes `exports/<name>`, and what it holds into the receipt."""
    trained = project.receipt("runs", run)
    checkpoint, step, validation = _best_checkpoint(project.path("runs", run), trained)
    base = _base_for(recipe)
    if counts := trained.figures.get("buckets"):
        receipt.figures["buckets"] = counts
        base.default_size = BucketsFile(images=counts).size
    weights = _tuned(run, recipe, base, checkpoints.tensors(checkpoint, "averaged"))
    exporter.check(base)
    clip = wanted.clip
    if isinstance(clip, str):
        shards = Shards.of(project)
        chosen = choose_alpha(shards, recipe, base, weights, on_progress)
        say = logger.info if chosen.gained else logger.warning
        say(f"alpha {chosen.alpha:g} of CLIP's towers: {chosen.reason}")
        clip, receipt.figures["alpha"] = chosen.alpha, chosen.plain()
    shares = Shares(clip, wanted.denoiser)
    choose = exporter.is_base and receipt.settings["guidance"] != KEPT
    if choose and shares.denoiser and "denoiser" in _towers(base, weights):
        # Its guidance may start from what the base predicts without a caption.
        base.keep_untuned()
    blend(base, weights, shares)
    base.adapter = base.adapter and blended(base.adapter, shares)
    guidance = export_guidance(project, trained, recipe, base, choose, on_progress)
    receipt.figures |= {
        "weights_hash": base.weights_hash,
        "step": step,
        "validation": validation,
        "guidance": guidance.model_dump(mode="json"),
    }
    with project.writing("exports", name, receipt=receipt) as fresh:
        exporter.write(base, fresh)
        if exporter.is_base:
            write_json(fresh / guidance_file.FILE, receipt.figures["guidance"])
            if counts:
                write_json(fresh / buckets_file.FILE, {"images": counts})
            if base.untuned and guidance.guidance.unconditional == "base":
                base.untuned.save(fresh)
        write_text(fresh / model_card.FILE, model_card.card_text(project, name, recipe, receipt))
        receipt.changing = [model_card.FILE]


def _check_shares(*shares: Alpha | None) -> None:
    """Raises UsageError for what is neither "auto" nor a share."""
    for share in shares:
        right = share == AUTO if isinstance(share, str) else share is None or 0 <= share <= 1
        if not right:
            raise UsageError(
                f"alpha is {share}; it is a share of the tuned weights.",
                "Give auto, or a number from 0 (the base) to 1 (the run's own).",
            )


def _wanted(
    own: Wanted, alpha: Alpha | None, alpha_clip: Alpha | None, alpha_denoiser: float | None
) -> Wanted:
    """The shares asked for; where nothing is said of them, those of the run's recipe."""
    clip = own.clip if alpha is None else alpha
    denoiser = own.denoiser if alpha is None or isinstance(alpha, str) else alpha
    clip = clip if alpha_clip is None else alpha_clip
    denoiser = denoiser if alpha_denoiser is None else alpha_denoiser
    return Wanted(clip if isinstance(clip, str) else float(clip), float(denoiser))


def _word(alpha: Alpha) -> str:
    return alpha if isinstance(alpha, str) else f"{alpha:g}"


def _run(project: Project, run: str | None) -> str:
    """The run to export. Raises UsageError for an unknown name, NotReady where none is finished."""
    runs = project.runs()
    if run and run not in runs:
        raise UsageError(
            f"There is no run '{run}'.{nearest(run, runs)}",
            f"Runs: {', '.join(runs) or 'none'}.",
        )
    if run:
        return run
    for name in reversed(runs):
        if project.known("runs", name):
            return name
    raise NotReady(
        f"{project.root.name} has no finished run.",
        "Run: unidiff train" + (" --resume" if runs else ""),
    )


def _best_checkpoint(run: Path, receipt: Receipt) -> tuple[Path, int, dict[str, float]]:
    """A whole checkpoint with the best averaged weights, their step and validation figures.

    Without a validation split the last weights are the best. Where `best` is damaged the step's own
    checkpoint has the same weights. Raises Damaged where neither is whole.
    """
    folder, best = run / "checkpoints", receipt.figures["best"]
    checkpoints.recover(folder)
    step = best.get("step", receipt.counts["steps"])
    names = [checkpoints.BEST] if best else []
    for checkpoint in [folder / name for name in [*names, checkpoints.step_name(step)]]:
        try:
            if checkpoints.verified(checkpoint)["step"] == step:
                return checkpoint, step, best.get("figures", {})
        except Damaged as problem:
            logger.warning("%s", problem.fact)
    whole = ", ".join(checkpoints.whole_files(folder)) or "none"
    raise Damaged(
        f"The weights of step {step}, the best of run {run.name}, are damaged.",
        f"Files of its checkpoints that are whole: {whole}. "
        "Train again with: unidiff train --force",
    )


def _base_for(recipe: Recipe) -> BaseModel:
    """The base as it was before the run, with the layers that the run added to it."""
    base = loading.load_recipe_base(recipe)
    for objective in recipe.active().values():
        if (layers := objective.layers(base)) is not None:
            base.attach(layers)
    return base


def _tuned(
    run: str, recipe: Recipe, base: BaseModel, averaged: dict[str, Tensor]
) -> Mapping[str, Tensor]:
    """The run's weights by the base's own names; adapters are merged, and the base keeps a copy.

    What is merged is computed from the base's weights as they are when it is asked for.
    Raises Damaged for weights that the base has not.
    """
    own = {name: f"{layer}.weight" if (layer := layer_of(name)) else name for name in averaged}
    if unknown := sorted(set(own.values()) - base.state_dict().keys()):
        raise Damaged(
            f"Run {run} holds weights its base has not: {unknown[0]}, …", "Run: unidiff train"
        )
    weights = {name: x for name, x in averaged.items() if own[name] == name}
    if recipe.train.lora is None:
        return weights
    adapters = LowRank.of_tensors(base, recipe.train.lora, averaged)
    base.adapter = replace(adapters.factors(), others=_towers(base, weights))
    return adapters.taken_out(weights)


def _towers(base: BaseModel, weights: Mapping[str, Tensor]) -> tuple[Tower, ...]:
    """The towers that weights are of, by their names in the base."""
    own = {id(p) for name, p in base.named_parameters() if name in weights}
    groups = base.parameter_groups().items()
    return tuple(tower for tower, group in groups if any(id(p) in own for p in group))
