"""The cut of things that hold something, which the shop does not sell: a look in, a Shape out."""

from __future__ import annotations

from random import Random

from unidiff_cli.sample_catalog.drafting import (
    Shape,
    ellipse,
    glint,
    path,
    shaded,
    standing,
    stroked,
    styled,
    symmetric,
)
from unidiff_cli.sample_catalog.look import Look


def mug(look: Look, rng: Random) -> Shape:
    h = rng.uniform(56, 66)
    body = path((-62, -h), (42, -h), (40, h - 12), (38, h, 24, h), (-44, h), (-58, h, -60, h - 12))
    grip = path(
        (38, -h + 22),
        (100, -h + 8, 100, h - 8, 38, h - 26),
        (38, h - 42),
        (76, h - 30, 76, -h + 34, 38, -h + 38),
    )
    rim = ellipse(-10, -h, 52, 13)
    shape = standing([grip, body, rim], h)
    shape.shine = f"M-44 {-h + 22:.0f}L-43 {h - 20:.0f}"
    shape.details = styled("dark edge", rim) + styled("deep", ellipse(-10, -h + 2, 45, 9))
    return shape


def bottle(look: Look, rng: Random) -> Shape:
    w = rng.uniform(33, 39)
    body = symmetric(
        (0, -82),
        (11, -82),
        (11, -46),
        (12, -30, w, -24, w, -2),
        (w, 86),
        (w, 94, w - 8, 94),
        (0, 94),
    )
    shape = standing([body], 94)
    shape.shine = f"M{-w * 0.6:.0f} 0V82M-5 -70V-44"
    lines = (
        f"M{-w * 0.6:.1f} 32H{w * 0.6:.1f}V37H{-w * 0.6:.1f}Z"
        f"M{-w * 0.4:.1f} 43H{w * 0.4:.1f}V47H{-w * 0.4:.1f}Z"
    )
    shape.details = (
        '<path d="M-14 -97H14V-78H-14Z" fill="#ece7da" stroke="#8b8577" stroke-width="1.5"/>'
        + styled("trim", f"M{-w:.1f} 18H{w:.1f}V60H{-w:.1f}Z")
        + styled("contrast", lines)
    )
    shape.reach = ((0, -97),)
    return shape


def milk_carton(look: Look, rng: Random) -> Shape:
    w, side = rng.uniform(42, 48), 30
    faces, shade = _carton(w, side)
    roof = path((-w, -46), (-w + 12, -82), (w * 0.5 + 6, -84), (w * 0.5, -46))
    gable = path((w * 0.5, -46), (w * 0.5 + 6, -84), (w * 0.5 + side, -54))
    ridge = path((-w + 10, -98), (w * 0.5 + 8, -99), (w * 0.5 + 8, -82), (-w + 10, -80))
    shape = standing([*faces, roof, gable, ridge], 94)
    shape.edges = faces[0]
    splash = path(
        (-w, 54), (-w * 0.6, 36, -w * 0.3, 54), (0, 72, w * 0.5, 48), (w * 0.5, 94), (-w, 94)
    )
    shape.details = (
        shade
        + shaded(gable, ".24")
        + styled("trim", splash)
        + f'<path class="seam" stroke-width="2" d="{roof}{ridge}"/>'
        + f'<circle class="trim" cx="{w * 0.12 - 14:.1f}" cy="-62" r="9"/>'
    )
    return shape


def juice_carton(look: Look, rng: Random) -> Shape:
    w, side = rng.uniform(42, 48), 30
    faces, shade = _carton(w, side)
    lid = path((-w, -46), (-w + side, -56), (w * 0.5 + side, -54), (w * 0.5, -46))
    shape = standing([*faces, lid], 94)
    shape.edges, shape.reach = faces[0], ((0, -98),)
    shape.details = (
        shade
        + styled("trim", ellipse(-w * 0.25, 28, w * 0.44, w * 0.44))
        + styled("contrast", ellipse(-w * 0.25, 28, w * 0.3, w * 0.3))
        + styled("trim", f"M{-w * 0.8:.1f} -34H{w * 0.3:.1f}V-24H{-w * 0.8:.1f}Z")
    )
    straw = stroked("M4 -50V-92L26 -98", "#fbfaf6", 8)
    shape.behind = straw + stroked("M4 -60V-92", "#c0392b", 3)
    return shape


def _carton(w: float, side: float) -> tuple[list[str], str]:
    """The faces of a box seen from a corner, and SVG of the shade on the one turned away."""
    front = path((-w, -46), (w * 0.5, -46), (w * 0.5, 94), (-w, 94))
    turned = path((w * 0.5, -46), (w * 0.5 + side, -54), (w * 0.5 + side, 84), (w * 0.5, 94))
    return [front, turned], shaded(turned, ".16")


def vase(look: Look, rng: Random) -> Shape:
    belly = rng.uniform(48, 58)
    body = symmetric(
        (0, -84),
        (28, -86),
        (22, -72, 16, -58, 18, -44),
        (26, -22, belly, -10, belly, 22),
        (belly, 58, 32, 74, 28, 88),
        (0, 92),
    )
    shape = standing([body], 90)
    shape.shine = f"M{-belly * 0.55:.0f} 0Q{-belly * 0.7:.0f} 30 {-belly * 0.4:.0f} 62"
    shape.details = styled("deep", ellipse(0, -85, 27, 6)) + glint(-belly * 0.5, 16, 6, 18, 0.25)
    return shape


def teapot(look: Look, rng: Random) -> Shape:
    w = rng.uniform(52, 57)
    body = symmetric((0, -34), (28, -36, w, -24, w, 14), (w, 44, 40, 58, 24, 60), (0, 62))
    spout = path((w - 10, 26), (72, 22, 66, -22, 92, -34), (98, -26), (84, -14, 86, 44, w - 14, 46))
    grip = path(
        (-w + 8, -18),
        (-106, -46, -106, 52, -w + 8, 38),
        (-w + 6, 26),
        (-82, 34, -82, -24, -w + 8, -6),
    )
    lid = symmetric((0, -52), (22, -52, 32, -42, 34, -30), (0, -24))
    shape = standing([grip, spout, body, lid, ellipse(0, -58, 9, 9)], 61)
    shape.shine = "M-34 -14Q-44 12 -32 38"
    shape.details = '<path class="seam" stroke-width="2" d="M-34 -30Q0 -20 34 -30"/>' + glint(
        -26, 4, 9, 14, 0.28
    )
    return shape
