"""The cut of everything worn above: a look in, a Shape out."""

from __future__ import annotations

from random import Random

from unidiff_cli.sample_catalog.bodice import Cut, bodice
from unidiff_cli.sample_catalog.drafting import (
    Measures,
    Shape,
    both,
    folds_down,
    path,
    ribs,
    stroked,
    styled,
    symmetric,
)
from unidiff_cli.sample_catalog.look import Look
from unidiff_cli.sample_catalog.trimmings import (
    back_collar,
    band,
    buttons,
    collar,
    cuffs,
    waistband,
)


def t_shirt(look: Look, rng: Random) -> Shape:
    bottom = 38 if look.length == "cropped" else 68
    waist = 40 + rng.uniform(-2, 2)
    cut = Cut(top=-bottom, bottom=bottom, unit=1.06, chest=42, waist=waist, hem=42)
    shape = bodice(rng, look, cut)
    hem = shape.measures.hem
    shape.seams += path((-hem, bottom - 5), (0, bottom - 2, hem, bottom - 5), close=False)
    band(shape, 4.5)
    return shape


def shirt(look: Look, rng: Random) -> Shape:
    cut = Cut(
        unit=1.12,
        top=-66,
        bottom=74,
        chest=40,
        waist=37,
        hem=40,
        neckline="collar",
        reach=112,
        # Shirt tails.
        tail=16,
    )
    shape = bodice(rng, look, cut)
    m = shape.measures
    if look.view == "back":
        shape.details += back_collar(m)
        shape.seams += path((-m.shoulder + 4, -44), (0, -40, m.shoulder - 4, -44), close=False)
        shape.seams += path((0, -41), (0, 60), close=False)
        return shape
    placket = path((-6.5, -52), (6.5, -52), (6.5, 89), (-6.5, 89))
    shape.details += styled("light edge", placket)
    shape.details += collar(m, 1.45, 27) + buttons(0, range(-40, 84, 20), 3.2)
    pocket = path((12, -24), (30, -24), (30, -6), (21, -1), (12, -6))
    shape.details += styled("pocket", pocket)
    return shape


def tank_top(look: Look, rng: Random) -> Shape:
    waist = 33 + rng.uniform(-3, 3)
    cut = Cut(unit=1.1, top=-66, bottom=66, chest=36, waist=waist, hem=37, shoulder=36, neck=19)
    shape = bodice(rng, look, cut)
    m = shape.measures
    shape.seams += path((-m.hem, 60), (0, 63, m.hem, 60), close=False)
    armhole = (m.shoulder - 13, m.tip + 30, m.chest - 4, m.pit + 1)
    shape.seams += both([((m.shoulder - 3, m.tip), armhole)])
    band(shape, 3)
    return shape


def hoodie(look: Look, rng: Random) -> Shape:
    cut = Cut(
        unit=1.04,
        top=-54,
        bottom=72,
        chest=44,
        waist=45,
        hem=43,
        loose=1.15,
        neckline="round neck",
        reach=116,
    )
    shape = bodice(rng, look, cut)
    m = shape.measures
    if look.view == "back":
        shape.parts.append(symmetric((0, -76), (34, -76, 42, -56, 36, -38), (20, 2, 0, 6)))
        shape.folds += both([((34, -44), (20, -12, 4, -4))])
    else:
        hood = symmetric((0, -100), (34, -100, 46, -78, 36, -46), (22, -26, 0, -24))
        shape.parts.append(hood)
        hole = symmetric((0, -86), (22, -86, 29, -68, 22, -50), (12, -35, 0, -32))
        shape.details += styled("deep", hole) + styled("seam", hole)
        cord = both([((9, -38), (12, -20, 9, rng.uniform(-8, 4)))])
        shape.details += stroked(cord, "#f4f2ee", 3.4, ' stroke-linecap="round"')
        pouch = symmetric((0, 10), (22, 10), (38, 42), (38, 58), (0, 60))
        shape.details += f'<path class="dark edge" stroke-width="2" d="{pouch}"/>'
    shape.details += waistband(m, 11) + cuffs(m, 10)
    shape.hang = (-54, m.shoulder)
    return shape


def sweater(look: Look, rng: Random) -> Shape:
    cut = Cut(unit=1.06, top=-62, bottom=68, chest=44, waist=44, hem=42, loose=1.1)
    shape = bodice(rng, look, cut)
    shape.knit = "knit"
    m = shape.measures
    shape.details += waistband(m, 16, "rib") + cuffs(m, 17, "rib")
    if look.neckline == "turtleneck":
        y = m.top
        roll = path((-17, y - 19), (0, y - 22, 17, y - 19), (21, y + 3), (0, y + 11, -21, y + 3))
        shape.details += styled("rib edge", roll) + styled("ribs", ribs(18, y - 19, y + 3))
    else:
        band(shape, 13, "neckrib")
    return shape


def jacket(look: Look, rng: Random) -> Shape:
    bottom = 46 if look.length == "cropped" else 62
    cut = Cut(
        unit=1.08,
        top=-60,
        bottom=bottom,
        chest=44,
        waist=43,
        hem=42,
        neckline="collar",
        loose=1.2,
        reach=110,
    )
    shape = bodice(rng, look, cut)
    m = shape.measures
    shape.details += waistband(m, 14, "contrast") + cuffs(m, 14, "contrast")
    if look.view == "back":
        shape.details += back_collar(m, "contrast")
        shape.seams += path((-40, -36), (0, -32, 40, -36), close=False)
        return shape
    # Half-way between the teeth is what 64 pixels show, so the tape beside them is dark and wide.
    zipper = f'<path d="M0 -52V{bottom + 2}"'
    shape.details += (
        f'{zipper} stroke="#2b2c30" stroke-width="9"/>'
        f'{zipper} stroke="#d6d9de" stroke-width="4.6"/>'
        f'{zipper} stroke="#6a6d73" stroke-width="4.6" stroke-dasharray="1 2"/>'
    )
    shape.details += collar(m, 1.15, 15, "contrast")
    shape.details += '<rect class="metal" x="-3" y="-44" width="6" height="12" rx="2"/>'
    shape.details += f'<path class="zip" stroke-width="3" d="{both([((16, 6), (28, 30))])}"/>'
    breast = ((10, -24), (32, -24), (32, -16), (10, -16), (10, -24))
    shape.details += styled("pocket", both([breast]))
    return shape


def coat(look: Look, rng: Random) -> Shape:
    long = look.length == "long"
    unit, top, bottom = (0.62, -86, 93) if long else (0.74, -80, 88)
    cut = Cut(
        unit=unit,
        top=top,
        bottom=bottom,
        chest=45,
        waist=42,
        hem=rng.uniform(50, 58),
        neckline="collar",
        loose=1.25,
        reach=138,
    )
    shape = bodice(rng, look, cut)
    m = shape.measures
    shape.folds += folds_down(rng, 3, m.hem * 0.7, m.mid + 15, bottom, spread=1.1)
    if look.view == "back":
        shape.details += back_collar(m)
        shape.seams += path((0, m.mid + 10), (0, bottom + 3), close=False)
    else:
        _front_of_coat(shape, m)
    if rng.random() < 0.5:
        w, y = m.waist + 0.8, m.mid - 8
        shape.details += styled("dark edge", f"M{-w:.1f} {y:.1f}H{w:.1f}v7H{-w:.1f}Z")
        shape.details += (
            f'<rect class="metal" x="-5" y="{y - 1:.1f}" width="10" height="9" rx="2" '
            'fill-opacity=".0"/>'
        )
    pocket = ((m.waist * 0.4, m.mid + 18), (m.waist * 0.85, m.mid + 14))
    shape.details += styled("pocket", both([pocket]))
    shape.focus = (0, top + 48 * unit)
    return shape


def _front_of_coat(shape: Shape, m: Measures) -> None:
    """Adds lapels, the front seam and two rows of buttons."""
    u, top = m.unit, m.top
    close = top + 88 * u
    lapel = [
        (m.neck * 1.1, top - 5 * u),
        (m.neck * 2.3, top + 24 * u),
        (m.neck * 1.6, top + 34 * u),
        (m.neck * 2.2, top + 42 * u),
    ]
    vee = path((-m.neck * 1.3, top - 2), (0, top - 7 * u, m.neck * 1.3, top - 2), (2, close))
    shape.details += styled("deep", vee)
    shape.details += styled("contrast edge", both([[(2, close), *lapel]], close=True))
    shape.seams += path((2, close), (4, m.bottom + 3), close=False)
    ys = [close + (6 + k * 26) * u for k in range(4)]
    shape.details += buttons(-14 * u, ys, 3.6) + buttons(17 * u, ys, 3.6)
