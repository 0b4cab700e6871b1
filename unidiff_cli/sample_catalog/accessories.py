"""The cut of each thing one carries or puts on head or feet: a look in, a Shape out."""

from __future__ import annotations

from unidiff_cli.sample_catalog.drafting import (
    Shape,
    both,
    ellipse,
    folds_down,
    path,
    ribs,
    symmetric,
)


def _goods(parts, ground, **rest) -> Shape:
    return Shape(parts, stands=ground, neck=False, **{"focus": (0, 0), **rest})


def _loop(half, foot, top, thick) -> str:
    """Path data of a handle of one thickness, standing on `foot`."""
    peak = foot + (top - foot) * 4 / 3  # a cubic reaches three quarters of the way to its controls
    low = peak + thick * 4 / 3
    inner = half - thick
    return path(
        (-half, foot),
        (-half * 1.1, peak, half * 1.1, peak, half, foot),
        (inner, foot),
        (inner * 1.1, low, -inner * 1.1, low, -inner, foot),
    )


def hat(look, rng) -> Shape:
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
    return _goods([brim, crown], 48, folds="M0 -42Q-4 -20 -14 -8M0 -42Q6 -22 16 -10", shine="M-26 -34Q-30 -10 -30 2",
                  details=f'<path class="deep" d="{ribbon}"/>', seams=path((-wide + 5, 25), (-50, 46, 0, 46), (50, 46, wide - 5, 25), close=False))  # fmt: skip


def beanie(look, rng) -> Shape:
    dome = symmetric((0, -56), (40, -56, 56, -20, 58, 30), (0, 44))
    cuff = path((-61, 18), (0, 34, 61, 18), (60, 50), (0, 66, -60, 50))
    shape = _goods([dome, cuff], 58, knit="rib", folds=folds_down(rng, 3, 30, -46, 10, spread=1.6))
    shape.details = f'<path class="ribs" d="{ribs(59, 20, 49, sag=8)}"/><path class="seam" d="M-61 18Q0 34 61 18"/>'
    if rng.random() < 0.6:
        shape.parts.insert(0, ellipse(0, -66, 22, 21))
    return shape


def sneaker(look, rng) -> Shape:
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
        (-88, 32), (0, 38, 92, 30), (96, 44 + low, 86, 50 + low), (0, 54 + low, -84, 50 + low), (-92, 44 + low, -88, 32)
    )  # fmt: skip
    heel = path((-86, 34), (-90, 8, -84, -12), (-72, -6, -66, 34))
    laces = "".join(
        f'<path d="M{-26 + 13 * k} {-10 + 5 * k}l15 -8" class="lace"/>' for k in range(4)
    )
    if high:
        laces += "".join(
            f'<path d="M{-42 + 7 * k} {-44 + 12 * k}l16 -4" class="lace"/>' for k in range(3)
        )
    collar = path((-82, top), (-66, top - 6, -44, top + 2), (-60, top + 9, -82, top))
    shape = _goods(
        [upper],
        51 + low,
        folds="M28 10Q36 20 30 32M-20 0Q-34 14 -30 34",
        shine="M-30 4Q10 20 44 22",
    )
    shape.details = (
        f'<path class="deep" d="{collar}"/><path class="light edge" d="{toe}"/><path class="dark" d="{heel}"/>{laces}'
        f'<path class="sole" d="{sole}"/><path d="M-88 {45 + low}Q0 {50 + low} 90 {44 + low}" fill="none" stroke="#b9b6b0" stroke-width="1.5"/>'
    )
    shape.reach = ((-92, 44 + low), (96, 44 + low))
    shape.seams = "M-40 34Q-20 10 12 6"
    return shape


def boot(look, rng) -> Shape:
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
    shape = _goods([leg], low + 17 + thick, folds=f"M12 {low - 52}Q-6 {low - 42} -22 {low - 46}M14 {low - 44}Q0 {low - 30} -20 {low - 32}M-40 {low - 60}Q-22 {low - 54} -8 {low - 60}",
                   shine=f"M-6 {top + 14}Q-2 {low - 70} 0 {low - 58}M26 {low - 24}Q46 {low - 18} 60 {low - 12}")  # fmt: skip
    shape.details = f'<path class="deep" d="{path((-44 - s, top), (-18, top - 6, 10 + s, top), (-18, top + 6, -44 - s, top))}"/><path d="{sole}" class="heel"/>'
    shape.seams = f"M-46 {low - 6}H74M-14 {top + 4}V{low - 50}"
    if not tall:
        shape.details += f'<path d="M-26 {top + 3}L-20 {low - 26}L-2 {low - 26}L0 {top + 3}Z" fill="#26221f" fill-opacity=".8"/>'
    shape.focus = (0, low - 40)
    return shape


def bag(look, rng) -> Shape:
    w, h = rng.uniform(54, 66), rng.uniform(34, 42)
    body = symmetric(
        (0, -14), (w * 0.86, -14), (w, -14, w, h), (w, h + 20, w * 0.85, h + 20), (0, h + 20)
    )
    flap = symmetric((0, -15), (w * 0.88, -15), (w * 0.95, 10, w * 0.7, 20), (0, 26))
    grip = _loop(w * 0.55, -10, -74, 8)
    shape = _goods(
        [grip, body],
        h + 20,
        folds=path((-w * 0.8, h + 2), (0, h + 12, w * 0.8, h + 2), close=False),
        shine=f"M{-w * 0.6:.0f} 2Q0 12 {w * 0.6:.0f} 2M{-w * 0.5:.0f} -14C{-w * 0.5:.0f} -92 {w * 0.5:.0f} -92 {w * 0.5:.0f} -14",
    )
    shape.details = f'<path class="metal" d="M{-w * 0.55 - 4:.1f} -16h8v10h-8ZM{w * 0.55 - 4:.1f} -16h8v10h-8Z"/>'
    if look.view != "back":
        shape.parts.append(flap)
        shape.details += '<rect class="metal" x="-7" y="18" width="14" height="11" rx="2.5"/>'
        shape.seams = symmetric((0, -12), (w * 0.84, -12), (w * 0.9, 8, w * 0.67, 16.5), (0, 22))
    return shape


def backpack(look, rng) -> Shape:
    w = rng.uniform(46, 54)
    body = symmetric((0, -74), (w * 0.9, -74, w, -52, w, -24), (w * 1.06, 74), (w * 0.9, 84, 0, 82))
    sides = both([((w - 2, 14), (w + 10, 14), (w + 14, 44, w + 8, 66), (w - 1, 66))], close=True)
    pocket = symmetric(
        (0, 10), (w * 0.66, 10), (w * 0.8, 12, w * 0.78, 34), (w * 0.78, 66), (w * 0.6, 74, 0, 73)
    )
    shape = _goods(
        [_loop(15, -70, -92, 7), sides, body],
        82,
        folds=both([((w * 0.9, -20), (w * 0.6, -6, w * 0.3, -10))]),
    )
    if look.view == "back":
        shape.details = f'<path class="deep" d="{both([((10, -60), (26, -62), (34, -20, 30, 60), (18, 60), (22, -20, 10, -60))])}"/>'
        return shape
    shape.parts.append(pocket)
    shape.details = f'<path class="zip" d="M{-w * 0.84:.1f} -30Q0 {-66} {w * 0.84:.1f} -30"/><path class="zip" d="M{-w * 0.64:.1f} 22H{w * 0.64:.1f}"/><rect class="metal" x="{w * 0.5:.1f}" y="21" width="4" height="11" rx="2"/>'
    shape.details += '<rect class="trim" x="-12" y="40" width="24" height="12" rx="2"/>'
    return shape


def scarf(look, rng) -> Shape:
    a, b = rng.uniform(66, 82), rng.uniform(52, 72)
    under = path((-4, -40), (26, -40), (34, 10, 40, b), (10, b + 3), (6, 0, -4, -40))
    over = path((-30, -46), (4, -44), (4, 10, -6, a), (-40, a - 2), (-36, 10, -30, -46))
    loop = "M-44 -58C-44 -92 44 -92 44 -58C44 -34 24 -26 0 -26C-24 -26 -44 -34 -44 -58ZM-24 -64C-22 -50 22 -50 24 -64C20 -76 -20 -76 -24 -64Z"
    fringe = "".join(
        f"M{x} {b + 1}l{rng.uniform(-1, 1):.1f} 12" for x in range(12, 40, 4)
    ) + "".join(f"M{x} {a - 2}l{rng.uniform(-1, 1):.1f} 13" for x in range(-38, -6, 4))
    shape = Shape(
        [under, over, loop],
        knit="rib",
        neck=False,
        hang=(-72, 34),
        focus=(0, -30),
        reach=((0, max(a, b) + 12),),
    )
    shape.behind = f'<path class="fringe" d="{fringe}"/><path class="deep" d="M-26 -66Q0 -82 26 -66Q0 -46 -26 -66Z"/>'
    shape.folds = (
        "M-38 -50Q0 -22 38 -50M-30 -44Q0 -28 34 -40M-20 -30Q-16 20 -26 60M20 -20Q26 10 28 50"
    )
    shape.shine = "M-34 -62Q0 -34 34 -62M-10 -20Q-8 20 -14 60"
    return shape
