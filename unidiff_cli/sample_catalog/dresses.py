"""The cut of what covers the whole body: a look in, a Shape out."""

from __future__ import annotations

from .drafting import Shape, bodice, both, folds_down, path, symmetric
from .trimmings import band, buttons


def dress(look, rng) -> Shape:
    bottom = {"mini": 62, "midi": 78}.get(look.length, 94)
    unit = {"mini": 0.84, "midi": 0.76}.get(look.length, 0.67)
    top = -bottom + rng.uniform(-2, 2)
    flare = rng.uniform(0.9, 1.3)
    waist_y = top + 78 * unit
    hem = {"mini": 50, "midi": 62}.get(look.length, 76) * flare
    shape = bodice(
        rng,
        look,
        unit=unit,
        top=top,
        bottom=bottom,
        chest=36,
        waist=27,
        hem=hem,
        waist_y=waist_y,
        shoulder=38,
        reach=105,
    )
    m = shape.measures
    shape.folds += folds_down(rng, 6, m["hem"] * 0.72, waist_y + 6, bottom)
    shape.shine += folds_down(rng, 4, m["hem"] * 0.6, waist_y + 14, bottom)
    sash = path(
        (-m["waist"], waist_y - 3),
        (0, waist_y + 1, m["waist"], waist_y - 3),
        (m["waist"] + 0.6, waist_y + 3),
        (0, waist_y + 7, -m["waist"] - 0.6, waist_y + 3),
    )
    shape.details += f'<path class="dark" d="{sash}"/>'
    shape.seams += path((-m["hem"] + 1, bottom - 5), (0, bottom, m["hem"] - 1, bottom - 5), close=False)
    band(shape, 2)
    shape.focus = (0, top + 50 * unit)
    return shape


def jumpsuit(look, rng) -> Shape:
    shape = bodice(
        rng,
        look,
        unit=0.64,
        top=-93,
        bottom=-22,
        chest=38,
        waist=30,
        hem=33,
        waist_y=-40,
        shoulder=40,
        reach=112,
    )
    leg = symmetric(
        (0, -34), (19.5, -34), (26, -15, 25, 0), (rng.uniform(26, 33), 92), (7, 94), (2, 16), (0, 14)
    )
    shape.parts.append(leg)
    shape.folds += both([((3, 14), (12, 8, 20, 8)), ((14, 30), (15, 60, 18, 88))])
    shape.details += '<path class="dark edge" d="M-20 -40H20V-34H-20Z"/>'
    if look.view != "back":
        shape.seams += path((0, -70), (0, 12), close=False)
        shape.details += buttons(0, (-64, -56, -48), 1.3)
        shape.seams += both([((11, -32), (20, -22))])
    band(shape, 2.2)
    shape.focus = (0, -55)
    return shape
