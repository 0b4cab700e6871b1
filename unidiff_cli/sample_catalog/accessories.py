"""The cut of hats, bags and scarves: a look in, a Shape out."""

from __future__ import annotations

from random import Random

from unidiff_cli.sample_catalog.drafting import (
    Shape,
    both,
    ellipse,
    folds_down,
    path,
    ribs,
    standing,
    styled,
    symmetric,
)
from unidiff_cli.sample_catalog.look import Look


def hat(look: Look, rng: Random) -> Shape:
    wide = rng.uniform(82, 92)
    brim = path(
        (-wide, 24), (-60, 4, 0, 6), (60, 4, wide, 24), (60, 50, 0, 50), (-60, 50, -wide, 24)
    )
    crown = path(
        (-46, 24),
        (-44, -20, -42, -46, -24, -50),
        (-8, -54, 0, -44),
        (8, -54, 24, -50),
        (42, -46, 44, -20, 46, 24),
        (20, 36, -20, 36, -46, 24),
    )
    ribbon = path((-45.5, 8), (-20, 20, 20, 20, 45.5, 8), (46, 24), (20, 36, -20, 36, -46, 24))
    shape = standing([brim, crown], 48)
    shape.folds = "M0 -42Q-4 -20 -14 -8M0 -42Q6 -22 16 -10"
    shape.shine = "M-26 -34Q-30 -10 -30 2"
    shape.details = styled("deep", ribbon)
    shape.seams = path((-wide + 5, 25), (-50, 46, 0, 46), (50, 46, wide - 5, 25), close=False)
    return shape


def beanie(look: Look, rng: Random) -> Shape:
    dome = symmetric((0, -56), (40, -56, 56, -20, 58, 30), (0, 44))
    cuff = path((-61, 18), (0, 34, 61, 18), (60, 50), (0, 66, -60, 50))
    shape = standing([dome, cuff], 58)
    shape.knit = "rib"
    shape.folds = folds_down(rng, 3, 30, -46, 10, spread=1.6)
    shape.details = styled("ribs", ribs(59, 20, 49, sag=8)) + styled("seam", "M-61 18Q0 34 61 18")
    if rng.random() < 0.6:
        shape.parts.insert(0, ellipse(0, -66, 22, 21))
    return shape


def bag(look: Look, rng: Random) -> Shape:
    w, h = rng.uniform(54, 66), rng.uniform(34, 42)
    body = symmetric(
        (0, -14), (w * 0.86, -14), (w, -14, w, h), (w, h + 20, w * 0.85, h + 20), (0, h + 20)
    )
    shape = standing([_loop(w * 0.55, -10, -74, 8), body], h + 20)
    shape.folds = path((-w * 0.8, h + 2), (0, h + 12, w * 0.8, h + 2), close=False)
    half = f"{w * 0.5:.0f}"
    shape.shine = (
        f"M{-w * 0.6:.0f} 2Q0 12 {w * 0.6:.0f} 2"
        f"M{-w * 0.5:.0f} -14C{-w * 0.5:.0f} -92 {half} -92 {half} -14"
    )
    rings = f"M{-w * 0.55 - 4:.1f} -16h8v10h-8ZM{w * 0.55 - 4:.1f} -16h8v10h-8Z"
    shape.details = styled("metal", rings)
    if look.view != "back":
        flap = symmetric((0, -15), (w * 0.88, -15), (w * 0.95, 10, w * 0.7, 20), (0, 26))
        shape.parts.append(flap)
        shape.details += '<rect class="metal" x="-7" y="18" width="14" height="11" rx="2.5"/>'
        shape.seams = symmetric((0, -12), (w * 0.84, -12), (w * 0.9, 8, w * 0.67, 16.5), (0, 22))
    return shape


def backpack(look: Look, rng: Random) -> Shape:
    w = rng.uniform(46, 54)
    body = symmetric((0, -74), (w * 0.9, -74, w, -52, w, -24), (w * 1.06, 74), (w * 0.9, 84, 0, 82))
    sides = both([((w - 2, 14), (w + 10, 14), (w + 14, 44, w + 8, 66), (w - 1, 66))], close=True)
    shape = standing([_loop(15, -70, -92, 7), sides, body], 82)
    shape.folds = both([((w * 0.9, -20), (w * 0.6, -6, w * 0.3, -10))])
    if look.view == "back":
        strap = ((10, -60), (26, -62), (34, -20, 30, 60), (18, 60), (22, -20, 10, -60))
        shape.details = styled("deep", both([strap]))
        return shape
    pocket = symmetric(
        (0, 10), (w * 0.66, 10), (w * 0.8, 12, w * 0.78, 34), (w * 0.78, 66), (w * 0.6, 74, 0, 73)
    )
    shape.parts.append(pocket)
    shape.details = (
        styled("zip", f"M{-w * 0.84:.1f} -30Q0 {-66} {w * 0.84:.1f} -30")
        + styled("zip", f"M{-w * 0.64:.1f} 22H{w * 0.64:.1f}")
        + f'<rect class="metal" x="{w * 0.5:.1f}" y="21" width="4" height="11" rx="2"/>'
        + '<rect class="trim" x="-12" y="40" width="24" height="12" rx="2"/>'
    )
    return shape


def scarf(look: Look, rng: Random) -> Shape:
    a, b = rng.uniform(66, 82), rng.uniform(52, 72)
    under = path((-4, -40), (26, -40), (34, 10, 40, b), (10, b + 3), (6, 0, -4, -40))
    over = path((-30, -46), (4, -44), (4, 10, -6, a), (-40, a - 2), (-36, 10, -30, -46))
    loop = (
        "M-44 -58C-44 -92 44 -92 44 -58C44 -34 24 -26 0 -26C-24 -26 -44 -34 -44 -58Z"
        "M-24 -64C-22 -50 22 -50 24 -64C20 -76 -20 -76 -24 -64Z"
    )
    fringe = "".join(f"M{x} {b + 1}l{rng.uniform(-1, 1):.1f} 12" for x in range(12, 40, 4))
    fringe += "".join(f"M{x} {a - 2}l{rng.uniform(-1, 1):.1f} 13" for x in range(-38, -6, 4))
    shape = Shape([under, over, loop], knit="rib", neck=False, hang=(-72, 34), focus=(0, -30))
    shape.reach = ((0, max(a, b) + 12),)
    lining = "M-26 -66Q0 -82 26 -66Q0 -46 -26 -66Z"
    shape.behind = styled("fringe", fringe) + styled("deep", lining)
    shape.folds = (
        "M-38 -50Q0 -22 38 -50M-30 -44Q0 -28 34 -40M-20 -30Q-16 20 -26 60M20 -20Q26 10 28 50"
    )
    shape.shine = "M-34 -62Q0 -34 34 -62M-10 -20Q-8 20 -14 60"
    return shape


def _loop(half: float, foot: float, top: float, thick: float) -> str:
    """Path data of a handle of one thickness, standing on `foot`."""
    # A cubic reaches three quarters of the way to its controls.
    peak = foot + (top - foot) * 4 / 3
    low = peak + thick * 4 / 3
    inner = half - thick
    return path(
        (-half, foot),
        (-half * 1.1, peak, half * 1.1, peak, half, foot),
        (inner, foot),
        (inner * 1.1, low, -inner * 1.1, low, -inner, foot),
    )
