"""The cut of everyday things that the shop does not sell: a look in, a Shape out."""

from __future__ import annotations

import math

from unidiff_cli.sample_catalog.drafting import Shape, both, ellipse, path, symmetric

_STEM = 'fill="none" stroke="#5b3f24" stroke-linecap="round"'
_LEAF = "#3f7d3a"


def _thing(parts, ground, **rest) -> Shape:
    return Shape(parts, stands=ground, neck=False, **{"focus": (0, 0), **rest})


def _glint(x, y, rx, ry, opacity=0.3) -> str:
    """SVG of a lamp mirrored in something smooth."""
    return f'<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" fill="#fff" fill-opacity="{opacity}"/>'


def apple(look, rng) -> Shape:
    w = rng.uniform(68, 76)
    body = symmetric((0, -46), (14, -66, w, -66, w, -8), (w, 36, 34, 72, 14, 66), (7, 63, 0, 63))
    lean = rng.uniform(4, 14)
    shape = _thing([body], 66, shine="M-44 -30Q-52 -6 -42 18", reach=((0, -82),))
    shape.details = (
        f'<path d="M0 -44Q2 -62 {lean:.1f} -80" stroke-width="6" {_STEM}/>'
        f'<path d="M5 -58Q18 -82 44 -72Q34 -52 5 -58Z" fill="{_LEAF}"/>'
        f'<path d="M-20 -46Q0 -30 20 -46Q0 -38 -20 -46Z" fill="#000" fill-opacity=".3"/>{_glint(-38, -20, 10, 16)}'
    )
    return shape


def banana(look, rng) -> Shape:
    sag = rng.uniform(66, 80)
    body = path(
        (-86, -34),
        (-76, sag * 0.7, 20, sag * 1.1, 84, -24),
        (90, -40),
        (80, -44),
        (40, sag * 0.35, -34, sag * 0.3, -70, -38),
        (-76, -46),
    )
    shape = _thing([body], sag * 0.66, shine=f"M-66 -8Q-10 {sag * 0.75:.0f} 58 -2")
    shape.details = (
        f'<path d="M80 -44L88 -62L96 -58L90 -40Z" fill="#6b5a26"/><path d="M-88 -32L-84 -48L-74 -44L-74 -34Z" fill="#4a3820"/>'
        f'<path d="M-80 -32Q-50 {sag * 0.62:.0f} 0 {sag * 0.55:.0f}T84 -34" fill="none" stroke="#000" stroke-opacity=".22" stroke-width="3"/>'
    )
    shape.reach = ((96, -62),)
    return shape


def orange(look, rng) -> Shape:
    r = rng.uniform(68, 72)
    pores = "".join(
        f'<circle cx="{rng.uniform(-48, 48):.0f}" cy="{rng.uniform(-48, 48):.0f}" r="1.6" fill="#000" fill-opacity=".14"/>'
        for _ in range(24)
    )
    shape = _thing([ellipse(0, 0, r, r * 0.97)], r * 0.97, shine="M-40 -30Q-50 -6 -42 16")
    shape.details = f'{pores}{_glint(-26, -28, 15, 11)}<path d="M-7 -60L0 -68L8 -60L4 -52L-4 -52Z" fill="#4d5a2a"/><path d="M2 -62Q20 -84 46 -70Q30 -54 2 -62Z" fill="{_LEAF}"/>'
    shape.reach = ((0, -78),)
    return shape


def pear(look, rng) -> Shape:
    w = rng.uniform(54, 60)
    body = symmetric(
        (0, -70), (22, -72, 24, -44, 28, -24), (34, -4, w, 6, w, 38), (w, 76, 24, 82, 0, 78)
    )
    shape = _thing([body], 79, shine="M-16 -50Q-22 -20 -36 20", reach=((0, -96),))
    shape.details = f'<path d="M0 -68Q0 -82 {rng.uniform(4, 12):.1f} -94" stroke-width="6" {_STEM}/>{_glint(-24, 30, 9, 17)}'
    if rng.random() < 0.6:
        shape.details += f'<path d="M4 -76Q22 -94 42 -82Q28 -66 4 -76Z" fill="{_LEAF}"/>'
    return shape


def lemon(look, rng) -> Shape:
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
        f'<circle cx="{rng.uniform(-52, 52):.0f}" cy="{rng.uniform(-28, 28):.0f}" r="1.8" fill="#000" fill-opacity=".12"/>'
        for _ in range(20)
    )
    return _thing(
        [body], h - 6, shine="M-44 -22Q-4 -44 34 -30", details=f"{pores}{_glint(-24, -24, 18, 8)}"
    )


def tomato(look, rng) -> Shape:
    w = rng.uniform(76, 82)
    body = symmetric((0, -48), (16, -60, w, -62, w, -2), (w, 40, 40, 58, 0, 56))
    crown = "".join(
        f"M0 -46Q{30 * math.cos(a) - 6:.1f} {-48 + 12 * math.sin(a):.1f} {44 * math.cos(a):.1f} {-42 + 22 * math.sin(a):.1f}Q{20 * math.cos(a) + 6:.1f} {-40 + 14 * math.sin(a):.1f} 0 -46Z"
        for a in (-0.3, 0.5, 1.5, 2.6, 3.4)
    )
    shape = _thing(
        [body],
        56,
        shine="M-50 -20Q-60 0 -48 24",
        folds="M22 -40Q40 -30 44 -8M-22 -40Q-40 -30 -44 -8",
    )
    shape.details = f'<path d="{crown}" fill="{_LEAF}" stroke="{_LEAF}" stroke-width="5" stroke-linejoin="round"/><path d="M0 -46L6 -62" stroke="#35662f" stroke-width="7" stroke-linecap="round"/>{_glint(-46, -14, 11, 15)}'
    shape.reach = ((0, -64),)
    return shape


def carrot(look, rng) -> Shape:
    w = rng.uniform(26, 31)
    root = path(
        (-58, -w), (-66, 0, -58, w), (0, w * 1.05, 50, 12, 96, 2), (50, -16, 0, -w * 1.1, -58, -w)
    )
    rings = "".join(
        f"M{x} {-s * w:.1f}Q{x + 5} {-s * w * 0.6:.1f} {x + 2} {-s * w * 0.3:.1f}"
        for x, s in ((-36, 0.9), (-14, -0.9), (8, 0.8), (28, -0.6), (46, 0.5))
    )
    leaves = "".join(
        f'<path d="M-56 {y * 0.3:.0f}Q-78 {y * 0.5:.0f} -98 {y}" stroke="{tone}" stroke-width="9" fill="none" stroke-linecap="round"/>'
        for y, tone in (
            (-30, "#3f7d3a"),
            (28, "#3f7d3a"),
            (-12, "#4f9447"),
            (14, "#4f9447"),
            (0, "#62a456"),
        )
    )
    shape = _thing([root], w, shine="M-46 -10Q0 -14 56 -2", reach=((-102, 0),))
    shape.behind = leaves
    shape.details = (
        f'<path d="{rings}" fill="none" stroke="#000" stroke-opacity=".35" stroke-width="2.4"/>'
    )
    return shape


def cucumber(look, rng) -> Shape:
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
        f'<circle cx="{x + rng.uniform(-6, 6):.0f}" cy="{rng.uniform(-14, 14):.0f}" r="2.2" fill="#dfe8b0" fill-opacity=".5"/>'
        for x in range(-76, 80, 9)
    )
    stripes = "".join(
        f'<path d="M-82 {y}Q0 {y + 8} 80 {y - 6}" fill="none" stroke="#e8f0c0" stroke-opacity=".3" stroke-width="3"/>'
        for y in (-12, 2, 14)
    )
    shape = _thing([body], h + 7, shine=f"M-76 {-h + 10:.0f}Q0 {-h + 16:.0f} 74 {-h + 4:.0f}")
    shape.details = f'{stripes}{bumps}<path d="M-92 2l-8 -5" stroke-width="7" {_STEM}/>'
    return shape


def mug(look, rng) -> Shape:
    h = rng.uniform(56, 66)
    body = path((-62, -h), (42, -h), (40, h - 12), (38, h, 24, h), (-44, h), (-58, h, -60, h - 12))
    grip = path(
        (38, -h + 22),
        (100, -h + 8, 100, h - 8, 38, h - 26),
        (38, h - 42),
        (76, h - 30, 76, -h + 34, 38, -h + 38),
    )
    shape = _thing(
        [grip, body, ellipse(-10, -h, 52, 13)], h, shine=f"M-44 {-h + 22:.0f}L-43 {h - 20:.0f}"
    )
    shape.details = f'<path class="dark edge" d="{ellipse(-10, -h, 52, 13)}"/><path class="deep" d="{ellipse(-10, -h + 2, 45, 9)}"/>'
    return shape


def bottle(look, rng) -> Shape:
    w = rng.uniform(33, 39)
    body = symmetric(
        (0, -82),
        (11, -82),
        (11, -46),
        (12, -30, w, -24, w, -2),
        (w, 86),
        (w, 94, w - 8, 94),
        (0, 94),
    )
    shape = _thing([body], 94, shine=f"M{-w * 0.6:.0f} 0V82M-5 -70V-44")
    shape.details = f'<path d="M-14 -97H14V-78H-14Z" fill="#ece7da" stroke="#8b8577" stroke-width="1.5"/><path class="trim" d="M{-w:.1f} 18H{w:.1f}V60H{-w:.1f}Z"/>'
    shape.details += f'<path class="contrast" d="M{-w * 0.6:.1f} 32H{w * 0.6:.1f}V37H{-w * 0.6:.1f}ZM{-w * 0.4:.1f} 43H{w * 0.4:.1f}V47H{-w * 0.4:.1f}Z"/>'
    shape.reach = ((0, -97),)
    return shape


def _carton(w, side) -> tuple[list[str], str]:
    """The faces of a box seen from a corner, and SVG of the shade on the one turned away."""
    front = path((-w, -46), (w * 0.5, -46), (w * 0.5, 94), (-w, 94))
    turned = path((w * 0.5, -46), (w * 0.5 + side, -54), (w * 0.5 + side, 84), (w * 0.5, 94))
    return [front, turned], f'<path d="{turned}" fill="#000" fill-opacity=".16"/>'


def milk_carton(look, rng) -> Shape:
    w, side = rng.uniform(42, 48), 30
    faces, shade = _carton(w, side)
    roof = path((-w, -46), (-w + 12, -82), (w * 0.5 + 6, -84), (w * 0.5, -46))
    gable = path((w * 0.5, -46), (w * 0.5 + 6, -84), (w * 0.5 + side, -54))
    ridge = path((-w + 10, -98), (w * 0.5 + 8, -99), (w * 0.5 + 8, -82), (-w + 10, -80))
    shape = _thing([*faces, roof, gable, ridge], 94, edges=faces[0])
    splash = path(
        (-w, 54), (-w * 0.6, 36, -w * 0.3, 54), (0, 72, w * 0.5, 48), (w * 0.5, 94), (-w, 94)
    )
    shape.details = (
        f'{shade}<path d="{gable}" fill="#000" fill-opacity=".24"/><path class="trim" d="{splash}"/>'
        f'<path class="seam" stroke-width="2" d="{roof}{ridge}"/><circle class="trim" cx="{w * 0.12 - 14:.1f}" cy="-62" r="9"/>'
    )
    return shape


def juice_carton(look, rng) -> Shape:
    w, side = rng.uniform(42, 48), 30
    faces, shade = _carton(w, side)
    lid = path((-w, -46), (-w + side, -56), (w * 0.5 + side, -54), (w * 0.5, -46))
    shape = _thing([*faces, lid], 94, edges=faces[0], reach=((0, -98),))
    fruit = ellipse(-w * 0.25, 28, w * 0.44, w * 0.44)
    shape.details = (
        f'{shade}<path class="trim" d="{fruit}"/><path class="contrast" d="{ellipse(-w * 0.25, 28, w * 0.3, w * 0.3)}"/>'
        f'<path class="trim" d="M{-w * 0.8:.1f} -34H{w * 0.3:.1f}V-24H{-w * 0.8:.1f}Z"/>'
    )
    shape.behind = '<path d="M4 -50V-92L26 -98" fill="none" stroke="#fbfaf6" stroke-width="8"/><path d="M4 -60V-92" fill="none" stroke="#c0392b" stroke-width="3"/>'
    return shape


def chair(look, rng) -> Shape:
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
    # The soft rim that rounds cloth would darken slats this thin from both sides.
    shape = _thing([*legs, *back, apron, seat], 96, edges=seat)
    shape.details = f'<path class="light" fill-opacity=".7" d="{seat}"/><path d="{apron}" fill="#000" fill-opacity=".2"/>'
    return shape


def lamp(look, rng) -> Shape:
    top, wide = rng.uniform(28, 36), rng.uniform(60, 66)
    shade = path((-top, -92), (0, -98, top, -92), (wide, -4), (0, 8, -wide, -4))
    pole, foot = (
        path((-5, 0), (5, 0), (5, 84), (-5, 84)),
        symmetric((0, 76), (36, 78, 36, 94), (0, 97)),
    )
    shape = _thing([pole, foot, shade], 94, shine=f"M{-top * 0.5:.0f} -80L{-wide * 0.5:.0f} -12")
    shape.details = (
        f'<path d="M-{wide:.0f} -4Q0 8 {wide:.0f} -4Q0 18 -{wide:.0f} -4Z" fill="#fff1c4"/>'
    )
    return shape


def ball(look, rng) -> Shape:
    shape = _thing([ellipse(0, 0, 80, 80)], 80, shine="M-50 -34Q-62 -6 -50 24")
    turn = rng.uniform(-40, 40)
    seams = "M-80 0Q0 -34 80 0M0 -80Q-34 0 0 80M-58 -55Q-8 -8 -52 61M58 -55Q8 -8 52 61"
    shape.details = f'<path transform="rotate({turn:.0f})" d="{seams}" fill="none" stroke="#fff" stroke-opacity=".85" stroke-width="5"/>{_glint(-30, -36, 18, 12, 0.4)}'
    if look.color in ("white", "beige", "yellow"):
        shape.details = shape.details.replace('stroke="#fff"', 'stroke="#33302c"')
    return shape


def car(look, rng) -> Shape:
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
        f'<circle cx="{x}" cy="30" r="20" fill="#222226"/><circle cx="{x}" cy="30" r="10.5" fill="#c6c9ce"/><circle cx="{x}" cy="30" r="4" fill="#6b6e74"/>'
        for x in (-54, 56)
    )
    shape = _thing([body], 50, shine="M-84 4Q0 -6 84 8")
    shape.details = (
        f'<path d="{panes}" fill="#39444f"/><path d="M-44 -12L-36 {roof + 9:.0f}H-28L-36 -12Z" fill="#fff" fill-opacity=".3"/>'
        '<path class="seam" d="M-8 -6V26M-56 -4Q-50 10 -48 12"/><path class="seam" d="M0 2h12"/>'
        f'<ellipse cx="92" cy="6" rx="5" ry="7" fill="#fff3c8"/><path d="M-97 6h7v12h-7Z" fill="#a8202a"/>{wheels}'
    )
    return shape


def book(look, rng) -> Shape:
    w, h = rng.uniform(56, 64), 82
    cover = path((-w, -h), (w, -h), (w, h), (-w, h))
    spine = path((-w - 12, -h + 4), (-w, -h), (-w, h), (-w - 12, h + 2))
    shape = _thing([spine, cover], h, shine=f"M{-w + 16:.0f} {-h + 8}V{h - 8}")
    shape.behind = f'<path d="M{w - 4:.1f} {-h + 5}H{w + 8:.1f}V{h - 1}H{w - 4:.1f}Z" fill="#f3eddd" stroke="#b9b09a"/>'
    shape.details = (
        f'<path d="{spine}" fill="#000" fill-opacity=".28"/><path class="seam" d="M{-w + 9:.1f} {-h}V{h}"/>'
        f'<path class="trim" d="M{-w * 0.55:.1f} -56H{w * 0.75:.1f}V-42H{-w * 0.55:.1f}ZM{-w * 0.35:.1f} -34H{w * 0.55:.1f}V-26H{-w * 0.35:.1f}Z"/>'
        f'<circle class="trim" cx="{w * 0.1:.1f}" cy="26" r="{rng.uniform(18, 24):.1f}"/><circle class="contrast" cx="{w * 0.1:.1f}" cy="26" r="12"/>'
    )
    return shape


def vase(look, rng) -> Shape:
    belly = rng.uniform(48, 58)
    body = symmetric(
        (0, -84), (28, -86), (22, -72, 16, -58, 18, -44), (26, -22, belly, -10, belly, 22), (belly, 58, 32, 74, 28, 88), (0, 92)
    )  # fmt: skip
    shape = _thing(
        [body], 90, shine=f"M{-belly * 0.55:.0f} 0Q{-belly * 0.7:.0f} 30 {-belly * 0.4:.0f} 62"
    )
    shape.details = (
        f'<path class="deep" d="{ellipse(0, -85, 27, 6)}"/>{_glint(-belly * 0.5, 16, 6, 18, 0.25)}'
    )
    return shape


def umbrella(look, rng) -> Shape:
    canopy = path(
        (-94, 6),
        (-88, -62, -34, -82, 0, -84),
        (34, -82, 88, -62, 94, 6),
        (78, -10, 54, -10, 34, 8),
        (16, -8, -16, -8, -34, 8),
        (-54, -10, -78, -10, -94, 6),
    )
    shape = Shape([canopy], neck=False, focus=(0, -30), reach=((0, -94), (14, 96)))
    shape.behind = '<path d="M0 -94V80Q0 94 13 94Q26 94 26 78" fill="none" stroke="#4b3b2e" stroke-width="7" stroke-linecap="round"/>'
    shape.folds = "M0 -82Q-30 -50 -34 6M0 -82Q30 -50 34 6"
    shape.shine = "M-12 -76Q-56 -52 -66 -8M4 -70Q8 -40 6 -10"
    shape.seams = "M0 -84Q-30 -50 -34 8M0 -84Q30 -50 34 8M0 -84Q-84 -60 -94 6M0 -84Q84 -60 94 6"
    shape.details = (
        '<path d="M0 -82V-96" stroke="#4b3b2e" stroke-width="5" stroke-linecap="round"/>'
    )
    return shape


def clock(look, rng) -> Shape:
    ticks = "".join(
        f"M{46 * math.sin(a):.1f} {46 * math.cos(a):.1f}L{53 * math.sin(a):.1f} {53 * math.cos(a):.1f}"
        for a in (k * math.pi / 6 for k in range(12))
    )
    hour, minute = rng.uniform(0, 6.283), rng.uniform(0, 6.283)
    hands = f"M0 0L{28 * math.sin(hour):.1f} {28 * math.cos(hour):.1f}M0 0L{44 * math.sin(minute):.1f} {44 * math.cos(minute):.1f}"
    feet = both([((44, 66), (58, 58), (66, 92), (56, 94))], close=True)
    shape = _thing([feet, ellipse(0, 0, 86, 86)], 92)
    shape.details = (
        f'<circle r="58" fill="#f7f5ee" stroke="#000" stroke-opacity=".4" stroke-width="2"/><path d="{ticks}" stroke="#26242a" stroke-width="4.5"/>'
        f'<path d="{hands}" stroke="#26242a" stroke-width="6.5" stroke-linecap="round"/><circle r="5" fill="#26242a"/>'
    )
    return shape


def teapot(look, rng) -> Shape:
    w = rng.uniform(52, 57)
    body = symmetric((0, -34), (28, -36, w, -24, w, 14), (w, 44, 40, 58, 24, 60), (0, 62))
    spout = path((w - 10, 26), (72, 22, 66, -22, 92, -34), (98, -26), (84, -14, 86, 44, w - 14, 46))
    grip = path(
        (-w + 8, -18),
        (-106, -46, -106, 52, -w + 8, 38),
        (-w + 6, 26),
        (-82, 34, -82, -24, -w + 8, -6),
    )
    lid = symmetric((0, -52), (22, -52, 32, -42, 34, -30), (0, -24))
    shape = _thing(
        [grip, spout, body, lid, ellipse(0, -58, 9, 9)], 61, shine="M-34 -14Q-44 12 -32 38"
    )
    shape.details = f'<path class="seam" stroke-width="2" d="M-34 -30Q0 -20 34 -30"/>{_glint(-26, 4, 9, 14, 0.28)}'
    return shape
