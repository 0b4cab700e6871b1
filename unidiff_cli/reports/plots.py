"""The plots of all pages: data in, one SVG each, in the page's own colours.

matplotlib knows no CSS, so it takes stand-in colours, which are replaced by the variables of
report.css.j2: dark mode and print follow.
"""

from __future__ import annotations

import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Any, NamedTuple

# Stand-ins for the colours of text, of the grid and of what lies below.
INK, LINE, CARD = "#010203", "#010204", "#010205"
# As many series as the page has variables.
SERIES = tuple(f"#02030{i}" for i in range(1, 10))
VARIABLES = {
    INK: "var(--soft)",
    LINE: "var(--line)",
    CARD: "var(--card)",
    **{color: f"var(--series-{i})" for i, color in enumerate(SERIES)},
}
# Bars of a histogram.
BINS = 24
# The most names of a legend that stands among the points.
BESIDE = 5
# Characters of a label.
LABEL, ROW_LABEL = 18, 44
# Characters of an axis's label, for each inch of it.
ALONG = 10
Values = Sequence[float | None]


class Plot(NamedTuple):
    """A plot with a line to read it by; `svg` is an element of a page.

    One that has a section of its own may have no title.
    """

    title: str
    caption: str
    svg: str


def lines(
    curves: Mapping[str, tuple[Values, Values]],
    *,
    x: str,
    y: str,
    percent: bool = False,
    log: bool = False,
    marks: bool = False,
    bands: Mapping[str, tuple[Values, Values]] | None = None,
    labels: Sequence[str] = (),
) -> str:
    """Curves (xs, ys) by name; `bands` are (lows, highs) around some of them.

    `labels` name the points, of every curve alike.
    """
    figure, axes = _axes(x, y)
    for color, (name, (xs, ys)) in zip(_colors(curves), curves.items(), strict=True):
        points = [(a, b) for a, b in zip(xs, ys, strict=True) if a is not None and b is not None]
        marker = {"marker": "o", "markersize": 4} if marks else {}
        axes.plot(*zip(*points, strict=True), color=color, label=name, linewidth=1.8, **marker)
        for label, point in zip(labels, points, strict=False):
            offset = {"xytext": (4, 4), "textcoords": "offset points", "parse_math": False}
            axes.annotate(_short(label, LABEL), point, color=INK, fontsize=8, **offset)
        if bands and name in bands:
            axes.fill_between(xs, *bands[name], color=color, alpha=0.18, linewidth=0)
    if all(isinstance(a, int) for xs, _ in curves.values() for a in xs):
        axes.xaxis.get_major_locator().set_params(integer=True)
    if percent:
        _percent(axes.yaxis)
    if log:
        axes.set_yscale("log")
    if len(curves) > 1:
        _legend(axes)
    return _svg(figure)


def bars(groups: Mapping[str, Mapping[str, float]], *, x: str) -> str:
    """Horizontal bars of shares: label -> {series: value}. Labels of any length can be read."""
    series = list(dict.fromkeys(name for values in groups.values() for name in values))
    width = 0.8 / max(1, len(series))
    figure, axes = _axes(x, "", height=max(2.0, 0.17 * len(groups) * (len(series) + 1) + 1.0))
    for i, (color, name) in enumerate(zip(_colors(series), series, strict=True)):
        places = [n + (i - (len(series) - 1) / 2) * width for n in range(len(groups))]
        values = [each.get(name, 0) for each in groups.values()]
        axes.barh(places, values, width, color=color, label=name)
    _row_labels(axes, groups)
    axes.invert_yaxis()
    _percent(axes.xaxis)
    if len(series) > 1:
        # Above the axes: bars reach everywhere.
        _legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=min(3, len(series)))
    return _svg(figure)


def points(groups: Mapping[str, Sequence[float]], *, x: str, percent: bool = False) -> str:
    """A row for each name: its values as dots, and their mean with a bar of one s.d."""
    from statistics import fmean, stdev

    figure, axes = _axes(x, "", height=max(1.8, 0.34 * len(groups) + 0.9))
    bar = {"fmt": "|", "markersize": 12, "capsize": 4, "linewidth": 1.6}
    for n, (color, values) in enumerate(zip(_colors(groups), groups.values(), strict=True)):
        spread = stdev(values) if len(values) > 1 else 0
        axes.errorbar(fmean(values), n, xerr=spread, color=color, **bar)
        axes.plot(values, [n] * len(values), "o", color=color, markersize=4, alpha=0.6)
    _row_labels(axes, groups)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    if percent:
        _percent(axes.xaxis)
    return _svg(figure)


def scatter(
    groups: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str,
    y: str,
    percent: tuple[bool, bool] = (True, True),
    joined: Iterable[Sequence[str]] = (),
) -> str:
    """Points (x, y) by name; a line joins the means of those named together, in their order.

    `percent` says of each axis whether it has shares.
    """
    # Beside the points: among so many some would lie under it.
    many = len(groups) > BESIDE
    figure, axes = _axes(x, y, width=6.6) if many else _axes(x, y)
    for names in joined:
        means = [map(fmean, zip(*groups[name], strict=True)) for name in names if name in groups]
        if len(means) > 1:
            axes.plot(*zip(*means, strict=True), "-", color=INK, linewidth=1, zorder=1)
    for number, (color, name) in enumerate(zip(_colors(groups), groups, strict=True)):
        # Another mark where the colours begin again.
        mark = "os^"[number // len(SERIES) % 3]
        axes.plot(*zip(*groups[name], strict=True), mark, color=color, markersize=6, label=name)
    for axis, has_shares in zip((axes.xaxis, axes.yaxis), percent, strict=True):
        if has_shares:
            _percent(axis)
    _legend(axes, **{"loc": "center left", "bbox_to_anchor": (1, 0.5)} if many else {})
    return _svg(figure)


def histogram(values: Iterable[int], *, x: str, y: str) -> str:
    """How often whole numbers occur, in at most BINS bars of equal width."""
    counts = Counter(values)
    low, high = min(counts, default=0), max(counts, default=0)
    width = -(-(high - low + 1) // BINS)
    heights = [0] * ((high - low) // width + 1)
    for value, count in counts.items():
        heights[(value - low) // width] += count
    figure, axes = _axes(x, y, width=9, height=2.4)
    middles = [low + n * width + (width - 1) / 2 for n in range(len(heights))]
    axes.bar(middles, heights, 0.92 * width, color=SERIES[1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    return _svg(figure)


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """A confusion matrix: the share of each true class (down) predicted as each class (across)."""
    import numpy as np

    shares = np.array(counts, float)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    side = max(3.2, 0.34 * len(names) + 1.4)
    figure, axes = _axes("predicted", "true", width=side, height=side * 0.86)
    axes.grid(False)
    for i, j in np.argwhere(shares).tolist():
        share = float(shares[i, j])
        axes.add_patch(_square(j, i, share))
        if len(names) <= 12:
            text = {"ha": "center", "va": "center", "fontsize": 7}
            axes.text(j, i, f"{share:.0%}"[:-1], color=CARD if share > 0.6 else INK, **text)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    labels = [_short(name, LABEL) for name in names]
    style = {"fontsize": 8, "parse_math": False}
    axes.set_xticks(range(len(names)), labels, rotation=60, ha="right", **style)
    axes.set_yticks(range(len(names)), labels, **style)
    return _svg(figure)


# ---------------------------------------------------------------- matplotlib


def _colors(names: Iterable[Any]) -> list[str]:
    return [SERIES[i % len(SERIES)] for i, _ in enumerate(names)]


def _square(x: int, y: int, share: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), 1, 1, color=SERIES[1], alpha=0.75 * share, linewidth=0)


def _percent(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1))


def _row_labels(axes: Any, names: Iterable[str]) -> None:
    # A catalogue's values are text, whatever dollar signs they have.
    labels = [_short(name, ROW_LABEL) for name in names]
    axes.set_yticks(range(len(labels)), labels, parse_math=False)


def _legend(axes: Any, **where: Any) -> None:
    for text in axes.legend(frameon=False, labelcolor=INK, fontsize=9, **where).get_texts():
        text.set_parse_math(False)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _axes(x: str, y: str, width: float = 4.6, height: float = 2.9) -> tuple[Any, Any]:
    """A figure without pyplot, which would hold on to it and look for a display."""
    # matplotlib obeys a `matplotlibrc` of the working directory, which may be a stranger's. A shell
    # of Python imports from there too, so it must hold no module: ours is called html.
    with chdir(Path(__file__).parent / "templates"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    axes.set_xlabel(x, color=INK, fontsize=9, parse_math=False)
    # A label longer than its axis would be cut.
    axes.set_ylabel(fill(y, int(ALONG * height)), color=INK, fontsize=9, parse_math=False)
    axes.tick_params(which="both", colors=INK, labelsize=9)
    axes.grid(True, color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(LINE)
    return figure, axes


def _svg(figure: Any) -> str:
    """The figure as an element of a page; its colours are variables and its ids unique."""
    import matplotlib

    stream = io.StringIO()
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "unidiff", "font.family": "sans-serif"}
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context(style):
        figure.savefig(stream, format="svg", metadata=metadata)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    # An element of HTML needs no namespaces, and a page should name no address.
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text)
    # The SVGs of a page share one space of ids.
    prefix = f"p{zlib.crc32(text.encode()):08x}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(xlink:href="#|url\(#)', lambda match: match[0] + prefix, text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, variable)
    return text
