"""The cut of shoes: a look in, a Shape out."""

from __future__ import annotations

from random import Random

from unidiff_cli.sample_catalog.drafting import Shape, path, standing, styled
from unidiff_cli.sample_catalog.look import Look


def sneaker(look: Look, rng: Random) -> Shape:
    high = look.length == "high-top"
    top = -58 if high else -28
    upper = path(
        (-84, 34),
        (-90, 0, -82, top),
        (-66, top - 6, -44, top + 2),
        (-30, top + 10, -22, min(top + 24, -16)),
        (10, 6, 52, 10),
        (86, 14, 88, 36),
    )
    toe = path((50, 34), (48, 14, 62, 11), (86, 14, 88, 36))
    low = 16 if look.cut == "platform sole" else 0
    sole = path(
        (-88, 32),
        (0, 38, 92, 30),
        (96, 44 + low, 86, 50 + low),
        (0, 54 + low, -84, 50 + low),
        (-92, 44 + low, -88, 32),
    )
    heel = path((-86, 34), (-90, 8, -84, -12), (-72, -6, -66, 34))
    collar = path((-82, top), (-66, top - 6, -44, top + 2), (-60, top + 9, -82, top))
    laces = [f"M{-26 + 13 * k} {-10 + 5 * k}l15 -8" for k in range(4)]
    if high:
        laces += [f"M{-42 + 7 * k} {-44 + 12 * k}l16 -4" for k in range(3)]
    shape = standing([upper], 51 + low)
    shape.folds = "M28 10Q36 20 30 32M-20 0Q-34 14 -30 34"
    shape.shine = "M-30 4Q10 20 44 22"
    shape.seams = "M-40 34Q-20 10 12 6"
    shape.details = styled("deep", collar) + styled("light edge", toe) + styled("dark", heel)
    shape.details += "".join(f'<path d="{lace}" class="lace"/>' for lace in laces)
    shape.details += (
        f'<path class="sole" d="{sole}"/><path d="M-88 {45 + low}Q0 {50 + low} 90 {44 + low}" '
        'fill="none" stroke="#b9b6b0" stroke-width="1.5"/>'
    )
    shape.reach = ((-92, 44 + low), (96, 44 + low))
    return shape


def boot(look: Look, rng: Random) -> Shape:
    tall = look.length == "knee-high"
    top, s = (-94, 0) if tall else (-52, 4)
    low = 76 if tall else 48
    leg = path(
        (-44 - s, top),
        (-20, top + 5, 10 + s, top),
        (14, low - 80, 12, low - 50),
        (20, low - 34, 48, low - 28),
        (74, low - 22, 74, low),
        (-46, low),
        (-50, low - 40, -44 - s, top),
    )
    thick = 18 if look.cut == "platform sole" else 0
    sole = path(
        (-47, low - 2),
        (76, low - 2),
        (77, low + 8 + thick),
        (2, low + 8 + thick),
        (-4, low + 6 + thick),
        (-12, low + 6 + thick),
        (-13, low + 18 + thick),
        (-46, low + 18 + thick),
    )
    shaft = path((-44 - s, top), (-18, top - 6, 10 + s, top), (-18, top + 6, -44 - s, top))
    shape = standing([leg], low + 17 + thick)
    shape.focus = (0, low - 40)
    shape.folds = (
        f"M12 {low - 52}Q-6 {low - 42} -22 {low - 46}M14 {low - 44}Q0 {low - 30} -20 {low - 32}"
        f"M-40 {low - 60}Q-22 {low - 54} -8 {low - 60}"
    )
    shape.shine = (
        f"M-6 {top + 14}Q-2 {low - 70} 0 {low - 58}M26 {low - 24}Q46 {low - 18} 60 {low - 12}"
    )
    shape.seams = f"M-46 {low - 6}H74M-14 {top + 4}V{low - 50}"
    shape.details = styled("deep", shaft) + f'<path d="{sole}" class="heel"/>'
    if not tall:
        shape.details += (
            f'<path d="M-26 {top + 3}L-20 {low - 26}L-2 {low - 26}L0 {top + 3}Z" '
            'fill="#26221f" fill-opacity=".8"/>'
        )
    return shape
