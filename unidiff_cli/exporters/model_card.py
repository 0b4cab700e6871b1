"""The model card of an export: what it is, what it was trained on, and how it was measured.

Figures of evaluation stand in it only where `report/` holds them for this very export.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard import metadata_load

from unidiff_cli import __version__, registry
from unidiff_cli.config.run_recipe import read_run_recipe
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.buckets import Size
from unidiff_cli.exporters import Exporter
from unidiff_cli.models.buckets_file import BucketsFile
from unidiff_cli.models.guidance_file import GuidanceFile, guidance_in_force
from unidiff_cli.models.places import cached_file, hub_id
from unidiff_cli.models.sources import Source, resolve_base
from unidiff_cli.project.files import digest, write_text
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.reports.markdown import escape
from unidiff_cli.reports.schema import Interval, Report
from unidiff_cli.reports.wording import format_value

logger = logging.getLogger("unidiff")

FILE = "README.md"
# The last line of a card that nobody edited, with a hash of the others.
MARK = "<!-- written by unidiff {} -->"
TEMPLATE = Path(__file__).with_name("model_card.md.j2")
TAGS = ["clip", "stable-diffusion", "image-text-retrieval", "unidiff"]
# How CLIP sees images that are not square, where a run decided it.
FITS = {
    "crop": "CLIP sees the middle of them",
    "pad": "CLIP sees all of them, on black",
    "stretch": "CLIP sees all of them, stretched",
}
# What a figure judges -> the task of the Hugging Face hub that it stands under.
TASKS = {
    "retrieval": "image-text-retrieval",
    "generation": "text-to-image",
    "knowledge": "zero-shot-image-classification",
}


@dataclass(frozen=True)
class Measured:
    """The headline figures of an export beside its base's, as the report has them."""

    split: str
    images: int
    base: str
    tuned: str
    rows: list[dict[str, str]]
    results: list[EvalResult]


def model_card(project: Project, name: str, recipe: Recipe, receipt: Receipt) -> ModelCard:
    """The card of an export by its name, its run's recipe and its receipt."""
    exporter: Exporter = registry.load("exporters", receipt.settings["format"])()
    report = _report(project, name, receipt)
    measured = _measured(report) if report else None
    _, source = resolve_base(recipe.base)
    data = ModelCardData(
        license=_licence(source),
        base_model=_hub_ids(source.diffusion, source.clip) or None,
        tags=TAGS,
        model_name=name,
        eval_results=measured.results if measured else None,
        library_name=exporter.library_name,
        pipeline_tag=exporter.pipeline_tag,
    )
    validation, alpha = receipt.figures["validation"], receipt.figures.get("alpha")
    chosen, counts = _guidance(recipe, receipt), receipt.figures.get("buckets")
    size = BucketsFile(images=counts).size if counts else Size.square(recipe.image_size)
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        name=escape(name),
        version=__version__,
        recipe=recipe,
        recipe_name=escape(recipe.name),
        exporter=exporter,
        usage=exporter.usage(name, recipe, chosen.guidance, size),
        guidance=chosen,
        base=escape(_base_name(recipe.base)),
        counts=receipt.counts,
        figures=receipt.figures,
        alpha=alpha,
        alpha_clip=alpha["alpha"] if alpha else receipt.settings["alpha_clip"],
        alpha_denoiser=receipt.settings["alpha_denoiser"],
        adapters=_adapters(recipe),
        fit=FITS.get(recipe.train.fit, ""),
        buckets=", ".join(f"{size} ({count:,})" for size, count in (counts or {}).items()),
        objectives=escape(", ".join(f"{k} × {v.weight:g}" for k, v in recipe.active().items())),
        validation=", ".join(f"{k} {v:.3g}" for k, v in validation.items())
        or "no validation split",
        measured=measured,
    )


def _adapters(recipe: Recipe) -> str:
    """The adapters of low rank that a run trained, in words; "" where the weights trained."""
    if (lora := recipe.train.lora) is None:
        return ""
    ranks = ", ".join(f"{tower} {lora.rank_of(tower)}" for tower in lora.towers)
    return f"{lora.kind} through peft, ranks: {ranks}"


def _guidance(recipe: Recipe, receipt: Receipt) -> GuidanceFile:
    """The guidance of an export; one of an older version has none but its base's."""
    if "guidance" in receipt.figures:
        return GuidanceFile.model_validate(receipt.figures["guidance"], strict=False)
    guidance, reason = guidance_in_force(recipe.generate, resolve_base(recipe.base)[1])
    return GuidanceFile(guidance=guidance, reason=reason)


def refresh_model_card(project: Project, name: str) -> None:
    """Writes the card of an export again, with what `report/` now says of it.

    The card stays as it is where the run of the export is gone, and where somebody edited it.
    Raises NotReady.
    """
    with project.lock(existing=True):
        receipt = project.receipt("exports", name)
        [run] = receipt.inputs
        file, folder = project.path("exports", name, FILE), project.path(run)
        if not folder.is_dir():
            return
        before = file.read_text(encoding="utf-8") if file.is_file() else ""
        if before and not _is_ours(before):
            logger.warning("%s was edited, so it stays as it is.", file)
            return
        text = card_text(project, name, read_run_recipe(folder), receipt)
        if text != before:
            write_text(file, text)


def card_text(project: Project, name: str, recipe: Recipe, receipt: Receipt) -> str:
    """The card as it is written: its last line tells whether somebody edited it since."""
    text = model_card(project, name, recipe, receipt).content.rstrip("\n")
    return f"{text}\n{MARK.format(digest(text))}\n"


def _is_ours(text: str) -> bool:
    """Whether a card is as `card_text` made it."""
    above, _, last = text.rstrip("\n").rpartition("\n")
    return last == MARK.format(digest(above))


def _report(project: Project, name: str, receipt: Receipt) -> Report | None:
    """The report of `unidiff evaluate`, where it measured this export as it is now."""
    measured = Receipt.read(project.path("report"))
    if measured is None or measured.inputs.get(f"exports/{name}") != receipt.hash:
        return None
    try:
        file = project.path("report", "report.json")
        return Report.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _measured(report: Report) -> Measured:
    base = report.base
    tuned = next(name for name, model in report.models.items() if model.role == "tuned")
    rows, results = [], []
    for key, figure in report.specs.items():
        value = report.figures[tuned].get(key)
        if not figure.headline or value is None:
            continue
        before = report.figures[base].get(key)
        rows.append(
            {
                "label": escape(figure.label),
                "base": _cell(before, figure.percent) if before else "",
                "tuned": _cell(value, figure.percent),
            }
        )
        results.append(
            EvalResult(
                task_type=TASKS[figure.judges],
                dataset_type="catalogue",
                dataset_name="held-out products of the catalogue",
                dataset_split=report.split,
                metric_type=key,
                metric_name=figure.label,
                metric_value=value.value,
            )
        )
    names = escape(base), escape(tuned)
    return Measured(report.split, report.counts.rows, *names, rows, results)


def _cell(value: Interval, percent: bool) -> str:
    """A figure and, where it has one, its interval."""
    text = format_value(value.value, percent)
    if value.low is None or value.high is None:
        return text
    return f"{text} ({format_value(value.low, percent)} … {format_value(value.high, percent)})"


def _base_name(base: Any) -> str:
    """The base without where it lies: hub ids as they are, folders by their name."""
    if isinstance(base, str):
        return Path(base).name
    halves = base if isinstance(base, Mapping) else base.model_dump()
    return " + ".join(
        Path(half).name if Path(half).is_absolute() else half
        for half in (halves["diffusion"], halves["clip"])
    )


def _hub_ids(*sources: str) -> list[str]:
    """Those of a base's sources that are on the hub; the others are here, by their path."""
    hub = [hub_id(source).repo for source in sources if not Path(source).is_absolute()]
    return list(dict.fromkeys(hub))


def _licence(source: Source) -> str:
    """The licence that the base's own cards declare; "unknown" where they do not name one."""
    places = {source.diffusion, source.clip} - {str(Path(source.diffusion) / "clip")}
    licences = {_declared_licence(place) for place in places}
    return licences.pop() if len(licences) == 1 else "unknown"


def _declared_licence(source: str) -> str:
    card = cached_file(source, FILE)
    metadata = metadata_load(card) if card else None
    return str((metadata or {}).get("license", "unknown"))
