"""What is sewn on clothes: neckbands, collars, waistbands, buttons."""

from __future__ import annotations

from .drafting import Shape, both, path, ribs


def buttons(x, ys, radius=1.7) -> str:
    """SVG of a row of buttons down x at heights ys."""
    return "".join(f'<circle class="trim" cx="{x}" cy="{y:.1f}" r="{radius}"/>' for y in ys)


def band(shape: Shape, width=3.2) -> None:
    """Adds a neckband that follows the opening."""
    shape.details += f'<path class="rim" stroke-width="{width}" d="{both([shape.measures["opening"]])}"/>'


def collar(m, spread=1.0, reach=20.0, css="light") -> str:
    """SVG of a folded collar on the neck opening."""
    u, nk, top = m["u"], m["neck"], m["top"]
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
    return f'<path class="deep" d="{stand}"/><path class="{css} edge" d="{both([leaf], close=True)}"/>'


def back_collar(m) -> str:
    """SVG of a collar seen from behind."""
    u, nk, top = m["u"], m["neck"], m["top"]
    d = path(
        (-nk * 0.8, top - 8 * u),
        (0, top - 11 * u, nk * 0.8, top - 8 * u),
        (nk * 1.2, top + 3 * u),
        (0, top + 9 * u, -nk * 1.2, top + 3 * u),
    )
    return f'<path class="light edge" d="{d}"/>'


def waistband(m, height=9) -> str:
    """SVG of the ribbed waistband of a knitted or padded top."""
    y, w = m["bottom"], m["hem"]
    band = path((-w, y - height), (0, y - height + 3, w, y - height), (w - 4, y), (0, y + 4, -w + 4, y))
    return f'<path class="dark" d="{band}"/><path class="ribs" d="{ribs(w - 2, y - height, y)}"/>'
