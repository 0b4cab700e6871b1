"""The cut of what covers the whole body: a look in, a Shape out."""

from __future__ import annotations

from random import Random

from unidiff_cli.sample_catalog.bodice import Cut, bodice
from unidiff_cli.sample_catalog.drafting import Shape, both, folds_down, path, styled, symmetric
from unidiff_cli.sample_catalog.look import Look
from unidiff_cli.sample_catalog.trimmings import band, buttons, sash


def dress(look: Look, rng: Random) -> Shape:
    bottom = {"mini": 62, "midi": 78}.get(look.length, 94)
    unit = {"mini": 0.84, "midi": 0.76}.get(look.length, 0.67)
    top = -bottom + rng.uniform(-2, 2)
    flare = rng.uniform(0.9, 1.2)
    waist_y = top + 78 * unit
    cut = Cut(
        unit=unit,
        top=top,
        bottom=bottom,
        chest=36,
        waist=27,
        hem={"mini": 68, "midi": 82}.get(look.length, 98) * flare,
        waist_y=waist_y,
        shoulder=38,
        reach=105,
        tail=8,
        flare=True,
    )
    shape = bodice(rng, look, cut)
    hem = shape.measures.hem
    shape.folds += folds_down(rng, 6, hem * 0.72, waist_y + 6, bottom)
    shape.shine += folds_down(rng, 4, hem * 0.6, waist_y + 14, bottom)
    shape.details += sash(shape.measures)
    border = path(
        (-hem + 2, bottom - 6),
        (0, bottom + 4, hem - 2, bottom - 6),
        (hem, bottom),
        (hem * 0.55, bottom + 8, 0, bottom + 8),
        (-hem * 0.55, bottom + 8, -hem, bottom),
    )
    shape.details += styled("dark edge", border)
    band(shape, 2)
    shape.focus = (0, top + 50 * unit)
    return shape


def jumpsuit(look: Look, rng: Random) -> Shape:
    cut = Cut(
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
    shape = bodice(rng, look, cut)
    gap = rng.uniform(13, 17)
    cuff = rng.uniform(24, 32) + (24 if look.cut == "wide-leg" else 0)
    leg = symmetric(
        (0, -34), (19.5, -34), (29, -15, 29, 0), (gap + cuff, 92), (gap, 94), (4, 4), (0, 0)
    )
    shape.parts.append(leg)
    shape.folds += both([((3, 2), (12, -4, 22, -4)), ((16, 20), (22, 50, gap + 12, 88))])
    shape.details += styled("contrast edge", "M-20.5 -42H20.5V-33H-20.5Z")
    shape.details += '<rect class="metal" x="-5" y="-42.500" width="10" height="10" rx="1.500"/>'
    if look.view != "back":
        shape.seams += path((0, -70), (0, 0), close=False)
        shape.details += buttons(0, (-64, -56, -48), 1.3)
        shape.seams += both([((11, -32), (20, -22))])
    band(shape, 2.2)
    shape.focus = (0, -55)
    return shape
