"""A torso with its sleeves and neck opening: the start of every upper garment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from unidiff_cli.sample_catalog.drafting import (
    Arms,
    Measures,
    Point,
    Shape,
    both,
    mirrored,
    path,
    styled,
    symmetric,
)
from unidiff_cli.sample_catalog.look import Look


@dataclass(frozen=True)
class Cut:
    """The size of a bodice.

    `top` and `bottom` are heights; `chest`, `waist`, `hem`, `shoulder` and `neck` half widths that
    `unit` scales. `waist_y` is the height of the waist, if it is not half-way down from the armpit.
    `neckline` replaces the look's, `loose` widens the sleeves, `reach` is the length of a long one.
    `tail` is how far the hem hangs lower in the middle. `flare` lets the bodice widen from the
    waist down, as a dress does.
    """

    top: float = -70.0
    bottom: float = 70.0
    chest: float = 41.0
    waist: float = 39.0
    hem: float = 41.0
    shoulder: float = 45.0
    neck: float = 16.0
    unit: float = 1.0
    waist_y: float | None = None
    neckline: str | None = None
    loose: float = 1.0
    reach: float = 118.0
    tail: float = 3.0
    flare: bool = False


def bodice(rng: Random, look: Look, cut: Cut) -> Shape:
    """The torso of a look with its sleeves and its neck opening."""
    u, bare = cut.unit, look.sleeve == "sleeveless"
    m, flare = _measures(look, cut), cut.flare or look.cut == "peplum"
    neckline = look.neckline if cut.neckline is None else cut.neckline
    m.opening, depth = _opening(look, neckline, m)

    armhole = (m.shoulder - (10 if bare else 4) * u, m.tip + (m.pit - m.tip) * 0.65, m.chest, m.pit)
    half_way = m.mid + (m.bottom - m.mid) * 0.4
    side: list[Point] = [
        (m.chest, (m.pit + m.mid) / 2, m.waist, m.mid),
        (m.waist, half_way, m.hem, m.mid + (m.bottom - m.mid) * 0.6, m.hem, m.bottom),
    ]
    if flare:
        side[1] = (m.waist * 1.15, m.mid + (m.bottom - m.mid) * 0.35, m.hem, m.bottom)
    foot = (m.hem * 0.55, m.bottom + m.tail, 0, m.bottom + m.tail)
    # A sewn-in sleeve rounds the shoulder; without one the cloth ends there in a corner.
    corner = (m.shoulder, m.tip) if bare else (m.shoulder - 13.5, m.tip - 4.4)
    m.torso = symmetric(*m.opening, corner, armhole, *side, foot)

    shape = Shape([m.torso], focus=(0, m.top + 40 * u), hang=(m.top, m.shoulder), measures=m)
    shape.edges = both([((m.neck, m.top), corner), ((m.chest, m.pit), *side, foot)])
    if bare:
        shape.edges += both([(corner, armhole)])
    else:
        _sew_sleeves(shape, rng, look, cut.loose, cut.reach)
        seam = _cuff_line(m.shoulder, m.tip, m.arms, back=5 * u)
        shape.seams = both([(corner, armhole), seam])
        shape.folds = _sleeve_creases(rng, m)
    shape.folds += _creases(rng, m)
    shine = ((m.chest * 0.45, m.pit), (m.waist * 0.5, m.mid, m.hem * 0.5, m.bottom - 12))
    shape.shine = both([shine])
    # The back of the neckband, seen through the opening; a turtleneck hides it.
    if neckline != "turtleneck":
        shape.behind = styled("deep", _lining(m, depth))
    return shape


def _measures(look: Look, cut: Cut) -> Measures:
    """The cut's numbers at its scale, as the look's sleeves and finish change them."""
    u, bare = cut.unit, look.sleeve == "sleeveless"
    shoulder, chest, waist, hem, neck = (
        v * u for v in (cut.shoulder, cut.chest, cut.waist, cut.hem, cut.neck)
    )
    if bare:
        shoulder *= 0.74
    if look.cut == "peplum":
        waist, hem = waist * 0.78, hem * 1.42
    tip, pit = cut.top + 9 * u, cut.top + (50 if bare else 45) * u
    mid = (pit + cut.bottom) / 2 if cut.waist_y is None else cut.waist_y
    return Measures(
        neck=neck,
        shoulder=shoulder,
        chest=chest,
        waist=waist,
        hem=hem,
        top=cut.top,
        tip=tip,
        pit=pit,
        mid=mid,
        bottom=cut.bottom,
        tail=cut.tail,
        unit=u,
    )


def _opening(look: Look, neckline: str, m: Measures) -> tuple[list[Point], float]:
    """The right half of the neck opening as a stroke, and its depth."""
    u, nk, top = m.unit, m.neck, m.top
    depth = {"v-neck": 40, "square neck": 26, "turtleneck": -13, "collar": 7}.get(neckline, 17) * u
    if look.view == "back" and neckline != "turtleneck":
        depth, neckline = 5 * u, "round neck"
    if neckline == "v-neck":
        return [(0, top + depth), (nk, top)], depth
    if neckline == "square neck":
        return [(0, top + depth), (nk, top + depth), (nk, top)], depth
    if neckline == "turtleneck":
        rise = (nk * 0.85, top - 3 * u, nk, top)
        return [(0, top + depth - 1), (nk * 0.8, top + depth), rise], depth
    curve = (nk * 0.75, top + depth, nk, top + depth * 0.5, nk, top)
    return [(0, top + depth), curve], depth


def _lining(m: Measures, depth: float) -> str:
    """Path data of the back of the neckband."""
    nk, top = m.neck, m.top
    curve = f"M{-nk:.1f} {top:.1f}Q0 {top - 3 * m.unit:.1f} {nk:.1f} {top:.1f}"
    return f"{curve}V{top + max(depth, 1):.1f}H{-nk:.1f}Z"


def _sew_sleeves(shape: Shape, rng: Random, look: Look, loose: float, reach: float) -> None:
    """Puts both sleeves under the torso and their edges on the shape."""
    m = shape.measures
    u = m.unit
    m.arms = Arms(angle=rng.uniform(13, 24), length=reach * u, cuff=16 * u * loose)
    if look.sleeve == "short":
        m.arms = Arms(angle=rng.uniform(30, 40), length=44 * u, cuff=31 * u * loose)
    arm = _sleeve(m, puff=20 * u if look.cut == "balloon sleeves" else 0)
    shape.parts[:0] = [path(*arm), path(*mirrored(arm))]
    shape.edges += both([arm[:-1]])


def _sleeve(m: Measures, puff: float) -> list[Point]:
    """Points of the right sleeve from the shoulder to the armpit.

    `puff` is how far a sleeve gathered at its cuff swells out.
    """
    (x, y), length, cuff = (m.shoulder, m.tip), m.arms.length, m.arms.cuff
    inner, armpit = m.chest, m.pit
    a = math.radians(m.arms.angle)
    dx, dy = math.sin(a), math.cos(a)
    tip = (x + dx * length, y + dy * length)
    end = (tip[0] - dy * cuff, tip[1] + dx * cuff)
    if puff:
        out = (dy * puff, -dx * puff)
        return [
            (x - 14, y - 4.6),
            (x + 6 + out[0], y + out[1] * 0.6, tip[0] + out[0] * 2.2, tip[1] + out[1] * 2.2, *tip),
            end,
            (end[0] - out[0], end[1] - out[1], inner + 2, armpit + 30, inner + 0.5, armpit + 1),
            (inner - 9, armpit - 8),
        ]
    bow = length * 0.05
    return [
        (x - 14, y - 4.6),
        (x + 4, y + 1, x + dx * length * 0.4 + bow, y + dy * length * 0.3, *tip),
        end,
        (inner + dx * length * 0.3, armpit + dy * length * 0.3, inner + 0.5, armpit + 1),
        (inner - 9, armpit - 8),
    ]


def _cuff_line(x: float, y: float, arms: Arms, back: float) -> tuple[Point, Point]:
    """A stroke across a sleeve from the shoulder (x, y), `back` short of its end."""
    a = math.radians(arms.angle)
    dx, dy = math.sin(a), math.cos(a)
    p = (x + dx * (arms.length - back) + 0.5, y + dy * (arms.length - back))
    return p, (p[0] - dy * arms.cuff * 1.04, p[1] + dx * arms.cuff * 1.04)


def _sleeve_creases(rng: Random, m: Measures) -> str:
    u, a, text = m.unit, math.radians(m.arms.angle), ""
    for k in (0.35, 0.55, 0.75):
        x = m.shoulder + math.sin(a) * m.arms.length * k
        y = m.tip + math.cos(a) * m.arms.length * k
        start = (x - 2 * u, y + rng.uniform(-4, 4))
        text += both([(start, (x - 9 * u, y + 2, x - 19 * u, y - rng.uniform(2, 9)))])
    return text


def _creases(rng: Random, m: Measures) -> str:
    """Path data of the creases below the armpits and at the waist."""
    u, y = m.unit, m.pit + 4
    below = (m.chest * 0.7, y + 9 * u, m.chest * 0.45, y + rng.uniform(2, 16) * u)
    text = both([((m.chest - 2, y), below)])
    side = (m.waist * 0.7, m.mid + rng.uniform(-2, 6), m.waist * 0.4, m.mid + rng.uniform(2, 9))
    return text + both([((m.waist - 1, m.mid), side)])
