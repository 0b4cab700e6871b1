"""The report's plots: data in, one SVG each, in the page's own colours so that dark and print follow.

matplotlib draws them. It knows no CSS, so it draws in stand-in colours that are exchanged for the page's variables.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

INK, LINE, CARD = (
    "#010203",
    "#010204",
    "#010205",
)  # text, grid and what lies below: exchanged at the end
SERIES = tuple(f"#02030{i}" for i in range(1, 10))  # as many as the page has variables
VARIABLES = {
    INK: "var(--soft)",
    LINE: "var(--line)",
    CARD: "var(--card)",
    **{c: f"var(--series-{i})" for i, c in enumerate(SERIES)},
}
Curve = Sequence[float | None]


def lines(
    curves: Mapping[str, tuple[Curve, Curve]],
    *,
    x: str,
    y: str,
    percent: bool = False,
    log: bool = False,
    marks: bool = False,
    bands: Mapping[str, tuple[Curve, Curve]] | None = None,
) -> str:
    """Curves by name, each (xs, ys), as an SVG; `bands` are (lows, highs) around some of them."""
    figure, axes = _axes(x, y)
    for i, (name, (xs, ys)) in enumerate(curves.items()):
        color = SERIES[i % len(SERIES)]
        known = [(a, b) for a, b in zip(xs, ys, strict=True) if a is not None and b is not None]
        axes.plot(
            *zip(*known, strict=True),
            color=color,
            label=name,
            linewidth=1.8,
            marker="o" if marks else None,
            markersize=4,
        )
        if bands and name in bands:
            axes.fill_between(xs, *bands[name], color=color, alpha=0.18, linewidth=0)
    if all(isinstance(a, int) for xs, _ in curves.values() for a in xs):
        axes.xaxis.get_major_locator().set_params(integer=True)
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if log:
        axes.set_yscale("log")
    if len(curves) > 1:
        _legend(axes)
    return _svg(figure)


def bars(groups: Mapping[str, Mapping[str, float]], *, x: str) -> str:
    """Bars of shares, lying, so that names of any length can be read: label -> {model: value}."""
    models = list(dict.fromkeys(model for each in groups.values() for model in each))
    width = 0.8 / max(1, len(models))
    figure, axes = _axes(x, "", height=max(2.0, 0.17 * len(groups) * (len(models) + 1) + 1.0))
    for i, model in enumerate(models):
        places = [n + (i - (len(models) - 1) / 2) * width for n in range(len(groups))]
        values = [each.get(model, 0) for each in groups.values()]
        axes.barh(places, values, width, color=SERIES[i % len(SERIES)], label=model)
    # A catalogue's values are text, whatever signs of money they hold.
    axes.set_yticks(range(len(groups)), [_short(name, 44) for name in groups], parse_math=False)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if len(models) > 1:
        _legend(
            axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(models)
        )  # above: bars reach everywhere
    return _svg(figure)


def points(groups: Mapping[str, Sequence[float]], *, x: str, percent: bool = False) -> str:
    """A row a name: its values as dots, and their mean with a bar of one s.d. to each side."""
    from statistics import fmean, stdev

    figure, axes = _axes(x, "", height=max(1.8, 0.34 * len(groups) + 0.9))
    for n, (_, values) in enumerate(groups.items()):
        color, spread = SERIES[n % len(SERIES)], stdev(values) if len(values) > 1 else 0
        axes.errorbar(
            fmean(values),
            n,
            xerr=spread,
            fmt="|",
            color=color,
            markersize=12,
            capsize=4,
            linewidth=1.6,
        )
        axes.plot(values, [n] * len(values), "o", color=color, markersize=4, alpha=0.6)
    axes.set_yticks(range(len(groups)), [_short(name, 44) for name in groups], parse_math=False)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    if percent:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return _svg(figure)


def scatter(groups: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str) -> str:
    """Points (x, y) of shares by name."""
    figure, axes = _axes(x, y)
    for n, (name, values) in enumerate(groups.items()):
        axes.plot(
            *zip(*values, strict=True), "o", color=SERIES[n % len(SERIES)], markersize=6, label=name
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _legend(axes)
    return _svg(figure)


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """A confusion: shares of each true class (down) told as each class (across)."""
    import numpy as np

    shares = np.array(counts, float)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    side = max(3.2, 0.34 * len(names) + 1.4)
    figure, axes = _axes("told", "true", width=side, height=side * 0.86)
    axes.grid(False)
    for i in range(len(names)):
        for j in range(len(names)):
            if shares[i, j]:
                axes.add_patch(_square(j, i, float(shares[i, j])))
                if len(names) <= 12:
                    color = (
                        CARD if shares[i, j] > 0.6 else INK
                    )  # on a dark square, and on a pale one
                    axes.text(
                        j,
                        i,
                        f"{shares[i, j]:.0%}"[:-1],
                        ha="center",
                        va="center",
                        fontsize=7,
                        color=color,
                    )
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xticks(
        range(len(names)),
        [_short(n) for n in names],
        rotation=60,
        ha="right",
        fontsize=8,
        parse_math=False,
    )
    axes.set_yticks(range(len(names)), [_short(n) for n in names], fontsize=8, parse_math=False)
    return _svg(figure)


def _square(x: int, y: int, share: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), 1, 1, color=SERIES[1], alpha=0.75 * share, linewidth=0)


def _legend(axes: Any, **where: Any) -> None:
    for text in axes.legend(frameon=False, labelcolor=INK, fontsize=9, **where).get_texts():
        text.set_parse_math(False)


def _short(text: str, most: int = 18) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _axes(x: str, y: str, width: float = 4.6, height: float = 2.9) -> tuple[Any, Any]:
    """A figure without pyplot, which would keep it, and look for a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    axes.set_xlabel(x, color=INK, fontsize=9, parse_math=False)
    axes.set_ylabel(y, color=INK, fontsize=9, parse_math=False)
    axes.tick_params(which="both", colors=INK, labelsize=9)
    axes.grid(True, color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(LINE)
    return figure, axes


def _svg(figure: Any) -> str:
    """The figure as an element to put into a page: text stays text, stand-ins become variables, ids are its own."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "unidiff", "font.family": "sans-serif"}
    ):
        figure.savefig(
            stream,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    own = (
        f"p{zlib.crc32(text.encode()):08x}-"  # several SVGs share one page, and so one space of ids
    )
    text = re.sub(r'\bid="', f'id="{own}', text)
    text = re.sub(r'(xlink:href="#|url\(#)', lambda m: m[0] + own, text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, variable)
    return text
