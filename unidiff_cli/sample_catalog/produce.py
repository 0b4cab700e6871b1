"""The cut of fruit and vegetables, which the shop does not sell: a look in, a Shape out."""

from __future__ import annotations

import math
from random import Random

from unidiff_cli.sample_catalog.drafting import (
    Shape,
    ellipse,
    glint,
    path,
    standing,
    symmetric,
)
from unidiff_cli.sample_catalog.look import Look

_STEM = 'fill="none" stroke="#5b3f24" stroke-linecap="round"'
_LEAF = "#3f7d3a"


def apple(look: Look, rng: Random) -> Shape:
    w = rng.uniform(68, 76)
    body = symmetric((0, -46), (14, -66, w, -66, w, -8), (w, 36, 34, 72, 14, 66), (7, 63, 0, 63))
    lean = rng.uniform(4, 14)
    shape = standing([body], 66)
    shape.shine, shape.reach = "M-44 -30Q-52 -6 -42 18", ((0, -82),)
    shape.details = (
        f'<path d="M0 -44Q2 -62 {lean:.1f} -80" stroke-width="6" {_STEM}/>'
        f'<path d="M5 -58Q18 -82 44 -72Q34 -52 5 -58Z" fill="{_LEAF}"/>'
        '<path d="M-20 -46Q0 -30 20 -46Q0 -38 -20 -46Z" fill="#000" fill-opacity=".3"/>'
        + glint(-38, -20, 10, 16)
    )
    return shape


def banana(look: Look, rng: Random) -> Shape:
    sag = rng.uniform(66, 80)
    body = path(
        (-86, -34),
        (-76, sag * 0.7, 20, sag * 1.1, 84, -24),
        (90, -40),
        (80, -44),
        (40, sag * 0.35, -34, sag * 0.3, -70, -38),
        (-76, -46),
    )
    shape = standing([body], sag * 0.66)
    shape.shine = f"M-66 -8Q-10 {sag * 0.75:.0f} 58 -2"
    shape.details = (
        '<path d="M80 -44L88 -62L96 -58L90 -40Z" fill="#6b5a26"/>'
        '<path d="M-88 -32L-84 -48L-74 -44L-74 -34Z" fill="#4a3820"/>'
        f'<path d="M-80 -32Q-50 {sag * 0.62:.0f} 0 {sag * 0.55:.0f}T84 -34" '
        'fill="none" stroke="#000" stroke-opacity=".22" stroke-width="3"/>'
    )
    shape.reach = ((96, -62),)
    return shape


def orange(look: Look, rng: Random) -> Shape:
    r = rng.uniform(68, 72)
    pores = "".join(
        _pore(rng.uniform(-48, 48), rng.uniform(-48, 48), 1.6, ".14") for _ in range(24)
    )
    shape = standing([ellipse(0, 0, r, r * 0.97)], r * 0.97)
    shape.shine = "M-40 -30Q-50 -6 -42 16"
    shape.details = (
        f"{pores}{glint(-26, -28, 15, 11)}"
        '<path d="M-7 -60L0 -68L8 -60L4 -52L-4 -52Z" fill="#4d5a2a"/>'
        f'<path d="M2 -62Q20 -84 46 -70Q30 -54 2 -62Z" fill="{_LEAF}"/>'
    )
    shape.reach = ((0, -78),)
    return shape


def pear(look: Look, rng: Random) -> Shape:
    w = rng.uniform(54, 60)
    body = symmetric(
        (0, -70), (22, -72, 24, -44, 28, -24), (34, -4, w, 6, w, 38), (w, 76, 24, 82, 0, 78)
    )
    shape = standing([body], 79)
    shape.shine, shape.reach = "M-16 -50Q-22 -20 -36 20", ((0, -96),)
    stem = f"M0 -68Q0 -82 {rng.uniform(4, 12):.1f} -94"
    shape.details = f'<path d="{stem}" stroke-width="6" {_STEM}/>{glint(-24, 30, 9, 17)}'
    if rng.random() < 0.6:
        shape.details += f'<path d="M4 -76Q22 -94 42 -82Q28 -66 4 -76Z" fill="{_LEAF}"/>'
    return shape


def lemon(look: Look, rng: Random) -> Shape:
    h = rng.uniform(52, 58)
    body = path(
        (-90, 4),
        (-82, -6, -72, -8, -64, -22),
        (-40, -h - 8, 40, -h - 8, 64, -22),
        (72, -8, 82, -6, 92, 2),
        (84, 12, 74, 14, 64, 24),
        (40, h + 8, -40, h + 8, -64, 24),
        (-74, 12, -82, 12, -90, 4),
    )
    pores = "".join(
        _pore(rng.uniform(-52, 52), rng.uniform(-28, 28), 1.8, ".12") for _ in range(20)
    )
    shape = standing([body], h - 6)
    shape.shine = "M-44 -22Q-4 -44 34 -30"
    shape.details = f"{pores}{glint(-24, -24, 18, 8)}"
    return shape


def _pore(x: float, y: float, radius: float, opacity: str) -> str:
    place = f'cx="{x:.0f}" cy="{y:.0f}" r="{radius}"'
    return f'<circle {place} fill="#000" fill-opacity="{opacity}"/>'


def tomato(look: Look, rng: Random) -> Shape:
    w = rng.uniform(76, 82)
    body = symmetric((0, -48), (16, -60, w, -62, w, -2), (w, 40, 40, 58, 0, 56))
    crown = ""
    for a in (-0.3, 0.5, 1.5, 2.6, 3.4):
        x, y = math.cos(a), math.sin(a)
        crown += (
            f"M0 -46Q{30 * x - 6:.1f} {-48 + 12 * y:.1f} {44 * x:.1f} {-42 + 22 * y:.1f}"
            f"Q{20 * x + 6:.1f} {-40 + 14 * y:.1f} 0 -46Z"
        )
    shape = standing([body], 56)
    shape.shine = "M-50 -20Q-60 0 -48 24"
    shape.folds = "M22 -40Q40 -30 44 -8M-22 -40Q-40 -30 -44 -8"
    shape.details = (
        f'<path d="{crown}" fill="{_LEAF}" stroke="{_LEAF}" stroke-width="5" '
        'stroke-linejoin="round"/>'
        '<path d="M0 -46L6 -62" stroke="#35662f" stroke-width="7" stroke-linecap="round"/>'
        + glint(-46, -14, 11, 15)
    )
    shape.reach = ((0, -64),)
    return shape


def carrot(look: Look, rng: Random) -> Shape:
    w = rng.uniform(26, 31)
    root = path(
        (-58, -w), (-66, 0, -58, w), (0, w * 1.05, 50, 12, 96, 2), (50, -16, 0, -w * 1.1, -58, -w)
    )
    rings = "".join(
        f"M{x} {-s * w:.1f}Q{x + 5} {-s * w * 0.6:.1f} {x + 2} {-s * w * 0.3:.1f}"
        for x, s in ((-36, 0.9), (-14, -0.9), (8, 0.8), (28, -0.6), (46, 0.5))
    )
    greens = (
        (-30, "#3f7d3a"),
        (28, "#3f7d3a"),
        (-12, "#4f9447"),
        (14, "#4f9447"),
        (0, "#62a456"),
    )
    shape = standing([root], w)
    shape.shine, shape.reach = "M-46 -10Q0 -14 56 -2", ((-102, 0),)
    shape.behind = "".join(
        f'<path d="M-56 {y * 0.3:.0f}Q-78 {y * 0.5:.0f} -98 {y}" stroke="{tone}" stroke-width="9" '
        'fill="none" stroke-linecap="round"/>'
        for y, tone in greens
    )
    shape.details = (
        f'<path d="{rings}" fill="none" stroke="#000" stroke-opacity=".35" stroke-width="2.4"/>'
    )
    return shape


def cucumber(look: Look, rng: Random) -> Shape:
    h = rng.uniform(23, 28)
    body = path(
        (-94, 8),
        (-96, -h + 2, -74, -h - 4, -40, -h),
        (0, -h + 6, 40, -h, 66, -h - 4),
        (100, -h - 2, 104, h - 14, 84, h - 6),
        (40, h + 6, -30, h + 10, -64, h + 6),
        (-84, h + 2, -92, 20, -94, 8),
    )
    bumps = "".join(
        f'<circle cx="{x + rng.uniform(-6, 6):.0f}" cy="{rng.uniform(-14, 14):.0f}" r="2.2" '
        'fill="#dfe8b0" fill-opacity=".5"/>'
        for x in range(-76, 80, 9)
    )
    stripes = "".join(
        f'<path d="M-82 {y}Q0 {y + 8} 80 {y - 6}" fill="none" stroke="#e8f0c0" '
        'stroke-opacity=".3" stroke-width="3"/>'
        for y in (-12, 2, 14)
    )
    shape = standing([body], h + 7)
    shape.shine = f"M-76 {-h + 10:.0f}Q0 {-h + 16:.0f} 74 {-h + 4:.0f}"
    shape.details = f'{stripes}{bumps}<path d="M-92 2l-8 -5" stroke-width="7" {_STEM}/>'
    return shape
