"""What is sewn on clothes: neckbands, collars, waistbands, buttons, and what a house cut adds."""

from __future__ import annotations

import math
from collections.abc import Iterable

from unidiff_cli.sample_catalog.drafting import (
    Measures,
    Point,
    Shape,
    both,
    mirrored,
    path,
    ribs,
    styled,
)
from unidiff_cli.sample_catalog.look import Look


def buttons(x: float, ys: Iterable[float], radius: float = 1.7) -> str:
    """SVG of a row of buttons down x at heights ys."""
    return "".join(f'<circle class="trim" cx="{x}" cy="{y:.1f}" r="{radius}"/>' for y in ys)


def band(shape: Shape, width: float = 3.2, css: str = "rim") -> None:
    """Adds a neckband that follows the opening."""
    opening = both([shape.measures.opening])
    shape.details += f'<path class="{css}" stroke-width="{width}" d="{opening}"/>'


def collar(m: Measures, spread: float = 1.0, reach: float = 20.0, css: str = "light") -> str:
    """SVG of a folded collar on the neck opening."""
    u, nk, top = m.unit, m.neck, m.top
    leaf = [
        (nk * 0.72, top - 7 * u),
        (nk * 1.25, top + 1 * u),
        (nk * 1.3 * spread, top + reach * u),
        (0.5, top + 8 * u),
    ]
    stand = path(
        (-nk * 0.75, top - 7 * u),
        (0, top - 10 * u, nk * 0.75, top - 7 * u),
        (nk, top + 2 * u),
        (0, top + 10 * u, -nk, top + 2 * u),
    )
    return styled("deep", stand) + styled(f"{css} edge", both([leaf], close=True))


def back_collar(m: Measures, css: str = "light") -> str:
    """SVG of a collar seen from behind."""
    u, nk, top = m.unit, m.neck, m.top
    data = path(
        (-nk * 0.8, top - 8 * u),
        (0, top - 11 * u, nk * 0.8, top - 8 * u),
        (nk * 1.2, top + 3 * u),
        (0, top + 9 * u, -nk * 1.2, top + 3 * u),
    )
    return styled(f"{css} edge", data)


def waistband(m: Measures, height: float = 9, css: str = "dark") -> str:
    """SVG of the ribbed waistband of a knitted or padded top."""
    y, w = m.bottom, m.hem
    data = path(
        (-w, y - height), (0, y - height + 3, w, y - height), (w - 4, y), (0, y + 4, -w + 4, y)
    )
    return styled(f"{css} edge", data) + styled("ribs", ribs(w - 2, y - height, y))


def cuffs(m: Measures, height: float = 14, css: str = "dark") -> str:
    """SVG of the ribbed cuffs of long sleeves."""
    a, wide = math.radians(m.arms.angle), m.arms.cuff
    dx, dy = math.sin(a), math.cos(a)
    tip = (m.shoulder + dx * m.arms.length, m.tip + dy * m.arms.length)

    def at(along: float, across: float) -> Point:
        return (tip[0] + dx * along - dy * across, tip[1] + dy * along + dx * across)

    cuff = [at(-height, -1), at(0.3, -0.3), at(0.3, wide + 0.3), at(-height, wide + 0.6)]
    yarn = [(at(-height, wide * k), at(0, wide * k)) for k in (0.2, 0.4, 0.6, 0.8)]
    return styled(f"{css} edge", path(*cuff) + path(*mirrored(cuff))) + styled("ribs", both(yarn))


def sash(m: Measures) -> str:
    """SVG of a band sewn on at the waist."""
    y, w = m.mid, m.waist
    data = path((-w, y - 3), (0, y + 1, w, y - 3), (w + 0.6, y + 3), (0, y + 7, -w - 0.6, y + 3))
    return styled("contrast", data)


def finish(shape: Shape, look: Look) -> None:
    """Sews on what a house cut adds to a finished garment."""
    if look.cut == "tasselled":
        shape.details += "".join(_tassel(x, y) for x, y in _TASSELS[look.type])
        shape.reach += tuple((x, y + 48) for x, y in _TASSELS[look.type])
    elif look.cut in _FINISHES:
        _FINISHES[look.cut](shape)


def _peplum(shape: Shape) -> None:
    m = shape.measures
    creases = [((m.waist * k, m.mid + 6), (m.hem * k, m.bottom - 2)) for k in (0.2, 0.55, 0.85)]
    shape.folds += both(creases)
    shape.details += sash(m)


def _yoke(shape: Shape) -> None:
    m = shape.measures
    y = m.tip + (m.pit - m.tip) * 0.5
    # Under all other details: a collar is sewn on the yoke, not the yoke on the collar.
    shape.details = (
        f'<clipPath id="torso"><path d="{m.torso}"/></clipPath>'
        '<path class="trim" clip-path="url(#torso)" '
        f'd="M-100 -100H100V{y:.1f}Q0 {y + 9:.1f} -100 {y:.1f}Z"/>{shape.details}'
    )


def _slant(shape: Shape) -> None:
    m = shape.measures
    half, y = m.hem, m.bottom
    line = ((half, y), (half * 1.04, y + 40), (half * 0.2, y + 34, -half, y + m.tail / 3))
    shape.parts.insert(0, path((-half * 0.9, y - 8), (half * 0.99, y - 8), *line))
    shape.edges += path(*line, close=False) if shape.edges else ""
    shape.folds += path((half * 0.6, y), (half * 0.66, y + 30), close=False)


def _scallops(shape: Shape) -> None:
    m = shape.measures
    count = max(4, round(m.hem / 12))
    r, arcs = m.hem / count, []
    for k in range(count):
        x = (2 * k + 1 - count) * r
        y = m.bottom - 2 + m.tail * (1 - (x / m.hem) ** 2)
        arcs.append(((x - r, y), (x - r, y + 1.8 * r, x + r, y + 1.8 * r, x + r, y)))
    shape.parts[:0] = [path(*arc) for arc in arcs]
    shape.edges += "".join(path(*arc, close=False) for arc in arcs) if shape.edges else ""


_FINISHES = {
    "peplum": _peplum,
    "contrast yoke": _yoke,
    "asymmetric hem": _slant,
    "scalloped hem": _scallops,
}

# Where tassels hang: x, y of the knot.
_TASSELS = {
    "hat": ((36, 16),),
    "beanie": ((0, -56),),
    "bag": ((34, -6),),
    "backpack": ((28, 26),),
    "scarf": ((-22, 54), (25, 46)),
}


def _tassel(x: float, y: float) -> str:
    threads = path((x - 6, y + 12), (x + 6, y + 12), (x + 10, y + 46), (x, y + 50, x - 10, y + 46))
    yarn = "".join(f"M{x + d * 0.6:.1f} {y + 14}L{x + d} {y + 45}" for d in (-5, 0, 5))
    knot = f'<circle class="trim" cx="{x}" cy="{y + 6}" r="8"/>'
    return styled("trim", threads) + styled("ribs", yarn) + knot
