"""The cut of everything worn below: a look in, a Shape out."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from unidiff_cli.sample_catalog.drafting import (
    Measures,
    Shape,
    both,
    folds_down,
    path,
    styled,
    symmetric,
)
from unidiff_cli.sample_catalog.look import Look
from unidiff_cli.sample_catalog.trimmings import buttons


def skirt(look: Look, rng: Random) -> Shape:
    bottom = {"mini": 40, "midi": 64}.get(look.length, 92)
    top, w = -bottom, {"mini": 38, "midi": 31}.get(look.length, 27)
    hem = w * rng.uniform(1.75, 2.2)
    body = symmetric(
        (0, top),
        (w, top - 1),
        (w * 1.25, top + 25, hem, bottom),
        (hem * 0.5, bottom + 8, 0, bottom + 8),
    )
    waistband = path(
        (-w, top - 1), (0, top + 2, w, top - 1), (w + 2, top + 8), (0, top + 12, -w - 2, top + 8)
    )
    shape = Shape([body], neck=False, hang=(top, w), focus=(0, top + 25))
    shape.folds = folds_down(rng, 8, w, top + 12, bottom, spread=hem / w)
    shape.shine = folds_down(rng, 6, w * 0.9, top + 14, bottom, spread=hem / w)
    shape.details = styled("dark edge", waistband)
    shape.seams = path((-hem + 2, bottom - 5), (0, bottom + 8, hem - 2, bottom - 5), close=False)
    shape.measures = Measures(hem=hem, bottom=bottom, tail=8)
    return shape


def trousers(look: Look, rng: Random) -> Shape:
    bottom = 68 if look.length == "cropped" else 92
    wide = 1.9 if look.cut == "wide-leg" else 1
    cuff, gap = rng.uniform(12, 18) * wide, rng.uniform(9, 15)
    return _legs(look, _Legs(-bottom, 34, bottom, cuff, -bottom + 56, gap))


def shorts(look: Look, rng: Random) -> Shape:
    wide = 1.35 if look.cut == "wide-leg" else 1
    return _legs(look, _Legs(-48, 42, 48, rng.uniform(27, 32) * wide, 8, 7))


@dataclass(frozen=True)
class _Legs:
    """Heights of waist, hem and crotch; half widths of waist and cuffs; half the gap between."""

    top: float
    waist: float
    bottom: float
    cuff: float
    crotch: float
    gap: float


def _legs(look: Look, cut: _Legs) -> Shape:
    top, w, bottom, cuff = cut.top, cut.waist, cut.bottom, cut.cuff
    crotch, gap = cut.crotch, cut.gap
    leg = symmetric(
        (0, top),
        (w, top - 1),
        (w * 1.22, top + 24, w * 1.18, crotch),
        (gap + cuff * 2, bottom),
        (gap, bottom + 2),
        (2, crotch + 6),
        (0, crotch + 4),
    )
    shape = Shape([leg], neck=False, hang=(top, w), focus=(0, top + 28))
    long_fold = (gap + cuff, (crotch + bottom) / 2, gap + cuff * 0.9, bottom - 4)
    shape.folds = both(
        [
            ((3, crotch + 3), (w * 0.5, crotch - 4, w * 0.95, crotch + 2)),
            ((4, crotch + 8), (w * 0.6, crotch + 6, w, crotch + 14)),
            ((gap + cuff * 0.8, crotch + 14), long_fold),
        ]
    )
    shape.shine = both([((gap + cuff * 1.3, crotch), (gap + cuff * 1.4, bottom - 8))])
    shape.seams = both([((gap, bottom - 4), (gap + cuff * 2, bottom - 6))])
    shape.details = _waistband(top, w)
    if look.view == "back":
        pocket = [
            (w * 0.3, top + 22),
            (w * 0.85, top + 20),
            (w * 0.85, top + 40),
            (w * 0.57, top + 45),
            (w * 0.3, top + 41),
            (w * 0.3, top + 22),
        ]
        shape.details += styled("pocket", both([pocket]))
    else:
        shape.seams += both([((w * 0.62, top + 10), (w * 0.7, top + 24, w * 1.14, top + 27))])
        shape.seams += path((0, top + 11), (0, crotch + 2), close=False)
        shape.seams += path((6, top + 11), (7, crotch - 12, 0, crotch - 4), close=False)
        shape.details += buttons(0, (top + 5.5,), 2.2)
    return shape


def _waistband(top: float, w: float) -> str:
    """SVG of a waistband with its belt loops."""
    data = path(
        (-w, top - 1),
        (0, top + 2, w, top - 1),
        (w + 1.5, top + 9),
        (0, top + 12, -w - 1.5, top + 9),
    )
    loops = "".join(
        f'<rect class="dark" x="{x - 1.4:.1f}" y="{top - 1}" width="2.8" height="11"/>'
        for x in (-w * 0.6, w * 0.6)
    )
    return styled("pocket", data) + loops
