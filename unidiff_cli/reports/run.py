"""The page of a training run, `report.html` in its folder: curves of its log, previews, its recipe.

It is one file, read without a server, and written again while the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any

from unidiff_cli.progress import time_left
from unidiff_cli.project import run_log
from unidiff_cli.project.files import write_text
from unidiff_cli.reports import html, plots
from unidiff_cli.reports.plots import Plot
from unidiff_cli.reports.wording import format_value

FILE = "report.html"
# Points of a curve, means over equal stretches; previews on the page, and the longest side of one.
POINTS, PREVIEWS, SIDE = 250, 4, 1100
# What a line of the log holds beside the terms of the loss and their figures.
GRADIENTS = "gradient_norm_"
Lines = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunState:
    """A run as its page shows it: names of the loss's terms, and where it stands.

    `best` is the step of the weights that would be exported, 0 where none was chosen. `ended` says
    in words how it ended; "" while it goes on.
    """

    name: str
    terms: Sequence[str]
    steps: int
    best: int
    ended: str
    recipe: str


def write_page(folder: Path, run: RunState) -> None:
    """Writes the page of a run into its folder, whole."""
    write_text(folder / FILE, page(folder, run))


def page(folder: Path, run: RunState) -> str:
    """The HTML, from the log and the previews in the run's folder."""
    from PIL import Image

    lines = run_log.read(folder)
    sheets = sorted((folder / "previews").glob("step-*.png"))[-PREVIEWS:]
    previews = []
    for file in reversed(sheets):
        with Image.open(file) as image:
            previews.append((int(file.stem.removeprefix("step-")), html.thumbnail(image, SIDE)))
    return html.render(
        "run.html.j2",
        run=run,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        facts=facts(lines, run),
        plots=[*curves(lines, run.terms)],
        previews=previews,
    )


def facts(lines: Lines, run: RunState) -> dict[str, str]:
    """What the run has come to, in a few figures with their labels."""
    steps = [line for line in lines if "loss" in line]
    if not steps:
        return {"step": f"0 of {run.steps:,}"}
    last = steps[-1]
    speed = median(line["samples_per_second"] for line in steps[-50:])
    shown = {
        "step": f"{last['step']:,} of {run.steps:,}",
        "loss": format_value(last["loss"], percent=False),
        "samples a second": format_value(speed, percent=False),
    }
    if "memory_mb" in last:
        peak = max(line.get("memory_mb", 0) for line in steps)
        shown["most memory in use"] = f"{peak / 1024:.1f} GB"
    if not run.ended:
        seconds = median(line["seconds"] for line in steps[-50:])
        shown["time left"] = time_left((run.steps - last["step"]) * seconds)
    if run.best:
        shown["best weights so far" if not run.ended else "exported weights"] = f"step {run.best:,}"
    return shown


# ---------------------------------------------------------------- curves


def curves(lines: Lines, terms: Sequence[str]) -> Iterator[Plot]:
    """Every plot that the log has figures for."""
    trained = [line for line in lines if "loss" in line]
    validated = [{**line["validation"], "step": line["step"]} for line in lines if validates(line)]
    meters = [{**line["collapse"], "step": line["step"]} for line in lines if "collapse" in line]
    norms = sorted({key for line in trained for key in line if key.startswith(GRADIENTS)})
    yield from _plot(trained, ["loss", *terms], "Loss", "Of the training batches, by term.", "loss")
    yield from _plot(
        validated, ["loss", *terms], "Loss on the validation split", "Of averaged weights.", "loss"
    )
    recalls = [key for key in ("r1_t2i", "r1_i2t", "r1_i2i") if any(key in v for v in validated)]
    caption = "The share of queries whose first hit is right, on the validation split."
    yield from _plot(validated, recalls, "Retrieval (R@1)", caption, "R@1", percent=True)
    caption = "Of the validation split; a fall towards 0 means that embeddings grow alike."
    ranks = ["effective_rank_image", "effective_rank_text"]
    yield from _plot(meters, ranks, "Effective rank of embeddings", caption, "rank")
    caption = "Of the whole step, before it is bounded."
    yield from _plot(trained, ["grad_norm"], "Gradient norm", caption, "norm", log=True)
    names = {key: key.removeprefix(GRADIENTS).replace("_", ": ", 1) for key in norms}
    caption = "Of the terms that meet on a tower; one far below another hardly counts there."
    yield from _plot(trained, norms, "Gradients that meet", caption, "norm", log=True, names=names)
    yield from _plot(trained, ["lr"], "Learning rate", "Of the first group of weights.", "rate")
    caption = "A fall means that something else takes the machine."
    yield from _plot(trained, ["samples_per_second"], "Speed", caption, "samples a second")
    yield from _plot(trained, ["memory_mb"], "Memory in use", "In MB.", "MB")


def validates(line: Mapping[str, Any]) -> bool:
    """Whether a line of the log is a validation's."""
    return "validation" in line


def _plot(
    lines: Lines,
    keys: Sequence[str],
    title: str,
    caption: str,
    y: str,
    *,
    percent: bool = False,
    log: bool = False,
    names: Mapping[str, str] | None = None,
) -> Iterator[Plot]:
    """A curve over the steps for each key that several lines have; nothing without one."""
    drawn = {}
    for key in keys:
        points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
        if len(points) > 1:
            drawn[(names or {}).get(key, key)] = thinned(points)
    if drawn:
        svg = plots.lines(drawn, x="step", y=y, percent=percent, log=log)
        yield Plot(title, caption, svg)


def thinned(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Points (x, y) as xs and ys, at most POINTS of them: means over equal stretches."""
    size = -(-len(points) // POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [part[-1][0] for part in parts], [fmean(y for _, y in part) for part in parts]
