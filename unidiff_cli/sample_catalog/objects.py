"""The cut of everyday objects, which the shop does not sell: a look in, a Shape out."""

from __future__ import annotations

import math
from random import Random

from unidiff_cli.sample_catalog.drafting import (
    Shape,
    both,
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


def chair(look: Look, rng: Random) -> Shape:
    w = rng.uniform(40, 45)
    back = [
        path((-w, -96), (-w + 10, -96), (-w + 12, 10), (-w + 2, 10)),
        path((w - 10, -96), (w, -96), (w - 2, 10), (w - 12, 10)),
        path((-w, -94), (0, -100, w, -94), (w, -70), (0, -76, -w, -70)),
        path((-w, -54), (0, -58, w, -54), (w, -36), (0, -40, -w, -36)),
    ]
    legs = [
        both([((w - 14, 14), (w - 4, 14), (w - 4, 76), (w - 12, 76))], close=True),
        both([((w - 2, 22), (w + 11, 22), (w + 13, 96), (w + 3, 96))], close=True),
    ]
    seat = path((-w, 2), (w, 2), (w + 14, 24), (-w - 14, 24))
    apron = path((-w - 14, 24), (w + 14, 24), (w + 14, 34), (-w - 14, 34))
    shape = standing([*legs, *back, apron, seat], 96)
    # The soft rim that rounds cloth would darken slats this thin from both sides.
    shape.edges = seat
    shape.details = f'<path class="light" fill-opacity=".7" d="{seat}"/>{shaded(apron, ".2")}'
    return shape


def lamp(look: Look, rng: Random) -> Shape:
    top, wide = rng.uniform(28, 36), rng.uniform(60, 66)
    shade = path((-top, -92), (0, -98, top, -92), (wide, -4), (0, 8, -wide, -4))
    pole = path((-5, 0), (5, 0), (5, 84), (-5, 84))
    foot = symmetric((0, 76), (36, 78, 36, 94), (0, 97))
    shape = standing([pole, foot, shade], 94)
    shape.shine = f"M{-top * 0.5:.0f} -80L{-wide * 0.5:.0f} -12"
    shape.details = (
        f'<path d="M-{wide:.0f} -4Q0 8 {wide:.0f} -4Q0 18 -{wide:.0f} -4Z" fill="#fff1c4"/>'
    )
    return shape


def ball(look: Look, rng: Random) -> Shape:
    shape = standing([ellipse(0, 0, 80, 80)], 80)
    shape.shine = "M-50 -34Q-62 -6 -50 24"
    turn = rng.uniform(-40, 40)
    seams = "M-80 0Q0 -34 80 0M0 -80Q-34 0 0 80M-58 -55Q-8 -8 -52 61M58 -55Q8 -8 52 61"
    seam_color = "#33302c" if look.color in ("white", "beige", "yellow") else "#fff"
    shape.details = (
        f'<path transform="rotate({turn:.0f})" d="{seams}" fill="none" stroke="{seam_color}" '
        f'stroke-opacity=".85" stroke-width="5"/>{glint(-30, -36, 18, 12, 0.4)}'
    )
    return shape


def car(look: Look, rng: Random) -> Shape:
    roof = rng.uniform(-44, -38)
    body = path(
        (-96, 20),
        (-98, -2, -88, -6, -66, -8),
        (-56, roof + 4, -46, roof, -34, roof),
        (12, roof),
        (30, roof, 40, -12, 52, -8),
        (84, -4, 98, 2, 97, 24),
        (96, 32, 90, 32),
        (-90, 32),
        (-96, 32, -96, 20),
    )
    panes = path(
        (-52, -8), (-44, roof + 10, -40, roof + 8, -34, roof + 8), (-12, roof + 8), (-12, -8)
    )
    panes += path((-5, roof + 8), (8, roof + 8), (24, roof + 8, 34, -8), (-5, -8))
    wheels = "".join(
        f'<circle cx="{x}" cy="30" r="{radius}" fill="{color}"/>'
        for x in (-54, 56)
        for radius, color in ((20, "#222226"), (10.5, "#c6c9ce"), (4, "#6b6e74"))
    )
    shape = standing([body], 50)
    shape.shine = "M-84 4Q0 -6 84 8"
    shape.details = (
        f'<path d="{panes}" fill="#39444f"/>'
        f'<path d="M-44 -12L-36 {roof + 9:.0f}H-28L-36 -12Z" fill="#fff" fill-opacity=".3"/>'
        + styled("seam", "M-8 -6V26M-56 -4Q-50 10 -48 12")
        + styled("seam", "M0 2h12")
        + '<ellipse cx="92" cy="6" rx="5" ry="7" fill="#fff3c8"/>'
        f'<path d="M-97 6h7v12h-7Z" fill="#a8202a"/>{wheels}'
    )
    return shape


def book(look: Look, rng: Random) -> Shape:
    w, h = rng.uniform(56, 64), 82
    cover = path((-w, -h), (w, -h), (w, h), (-w, h))
    spine = path((-w - 12, -h + 4), (-w, -h), (-w, h), (-w - 12, h + 2))
    shape = standing([spine, cover], h)
    shape.shine = f"M{-w + 16:.0f} {-h + 8}V{h - 8}"
    pages = f"M{w - 4:.1f} {-h + 5}H{w + 8:.1f}V{h - 1}H{w - 4:.1f}Z"
    shape.behind = f'<path d="{pages}" fill="#f3eddd" stroke="#b9b09a"/>'
    title = (
        f"M{-w * 0.55:.1f} -56H{w * 0.75:.1f}V-42H{-w * 0.55:.1f}Z"
        f"M{-w * 0.35:.1f} -34H{w * 0.55:.1f}V-26H{-w * 0.35:.1f}Z"
    )
    middle = f'cx="{w * 0.1:.1f}" cy="26"'
    shape.details = (
        shaded(spine, ".28")
        + styled("seam", f"M{-w + 9:.1f} {-h}V{h}")
        + styled("trim", title)
        + f'<circle class="trim" {middle} r="{rng.uniform(18, 24):.1f}"/>'
        + f'<circle class="contrast" {middle} r="12"/>'
    )
    return shape


def umbrella(look: Look, rng: Random) -> Shape:
    canopy = path(
        (-94, 6),
        (-88, -62, -34, -82, 0, -84),
        (34, -82, 88, -62, 94, 6),
        (78, -10, 54, -10, 34, 8),
        (16, -8, -16, -8, -34, 8),
        (-54, -10, -78, -10, -94, 6),
    )
    shape = Shape([canopy], neck=False, focus=(0, -30), reach=((0, -94), (14, 96)))
    stick = "M0 -94V80Q0 94 13 94Q26 94 26 78"
    shape.behind = stroked(stick, "#4b3b2e", 7, ' stroke-linecap="round"')
    shape.folds = "M0 -82Q-30 -50 -34 6M0 -82Q30 -50 34 6"
    shape.shine = "M-12 -76Q-56 -52 -66 -8M4 -70Q8 -40 6 -10"
    shape.seams = "M0 -84Q-30 -50 -34 8M0 -84Q30 -50 34 8M0 -84Q-84 -60 -94 6M0 -84Q84 -60 94 6"
    shape.details = (
        '<path d="M0 -82V-96" stroke="#4b3b2e" stroke-width="5" stroke-linecap="round"/>'
    )
    return shape


def clock(look: Look, rng: Random) -> Shape:
    def at(radius: float, angle: float) -> str:
        return f"{radius * math.sin(angle):.1f} {radius * math.cos(angle):.1f}"

    hours = [k * math.pi / 6 for k in range(12)]
    ticks = "".join(f"M{at(46, angle)}L{at(53, angle)}" for angle in hours)
    hour, minute = rng.uniform(0, 6.283), rng.uniform(0, 6.283)
    hands = f"M0 0L{at(28, hour)}M0 0L{at(44, minute)}"
    feet = both([((44, 66), (58, 58), (66, 92), (56, 94))], close=True)
    shape = standing([feet, ellipse(0, 0, 86, 86)], 92)
    shape.details = (
        '<circle r="58" fill="#f7f5ee" stroke="#000" stroke-opacity=".4" stroke-width="2"/>'
        f'<path d="{ticks}" stroke="#26242a" stroke-width="4.5"/>'
        f'<path d="{hands}" stroke="#26242a" stroke-width="6.5" stroke-linecap="round"/>'
        '<circle r="5" fill="#26242a"/>'
    )
    return shape
