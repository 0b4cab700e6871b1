"""The cut of everything worn above: a look in, a Shape out."""

from __future__ import annotations

from .drafting import Shape, bodice, both, folds_down, path, ribs, symmetric
from .trimmings import back_collar, band, buttons, collar, waistband


def t_shirt(look, rng) -> Shape:
    bottom = 38 if look.length == "cropped" else 68
    shape = bodice(
        rng, look, top=-bottom, bottom=bottom, unit=1.06, chest=42, waist=40 + rng.uniform(-2, 2), hem=42
    )
    m = shape.measures
    shape.seams += path((-m["hem"], bottom - 5), (0, bottom - 2, m["hem"], bottom - 5), close=False)
    band(shape, 4.5)
    return shape


def shirt(look, rng) -> Shape:
    shape = bodice(
        rng, look, unit=1.12, top=-66, bottom=70, chest=40, waist=37, hem=40, neckline="collar", reach=112
    )
    m = shape.measures
    if look.view == "back":
        shape.details += back_collar(m)
        shape.seams += path((-m["sh"] + 4, -44), (0, -40, m["sh"] - 4, -44), close=False) + path(
            (0, -41), (0, 60), close=False
        )
        return shape
    shape.seams += path((-4, -56), (-4, 72), close=False) + path((4, -56), (4, 72), close=False)
    shape.details += collar(m) + buttons(0, range(-44, 66, 18))
    shape.details += f'<path class="pocket" d="{path((12, -24), (30, -24), (30, -6), (21, -1), (12, -6))}"/>'
    return shape


def tank_top(look, rng) -> Shape:
    shape = bodice(
        rng,
        look,
        unit=1.1,
        top=-66,
        bottom=66,
        chest=36,
        waist=33 + rng.uniform(-3, 3),
        hem=37,
        shoulder=36,
        neck=19,
    )
    m = shape.measures
    shape.seams += path((-m["hem"], 60), (0, 63, m["hem"], 60), close=False)
    shape.seams += both(
        [((m["sh"] - 3, m["tip"]), (m["sh"] - 13, m["tip"] + 30, m["chest"] - 4, m["pit"] + 1))]
    )
    band(shape, 3)
    return shape


def hoodie(look, rng) -> Shape:
    shape = bodice(
        rng,
        look,
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
    m = shape.measures
    hood = symmetric((0, -86), (22, -86, 31, -72, 27, -50), (18, -36, 0, -34))
    if look.view == "back":
        shape.parts.append(symmetric((0, -70), (24, -70, 30, -56, 26, -40), (14, -16, 0, -14)))
        shape.folds += both([((24, -46), (14, -26, 4, -22))])
    else:
        shape.parts.append(hood)
        hole = symmetric((0, -76), (14, -76, 20, -64, 16, -50), (8, -41, 0, -38))
        shape.details += f'<path class="deep" d="{hole}"/><path class="seam" d="{hole}"/>'
        cord = both([((7, -42), (9, -30, 7, rng.uniform(-18, -8)))])
        shape.details += f'<path d="{cord}" fill="none" stroke="#f4f2ee" stroke-width="1.8"/>'
        pouch = symmetric((0, 18), (20, 18), (34, 46), (34, 61), (0, 62))
        shape.details += f'<path class="pocket" d="{pouch}"/>'
    shape.details += waistband(m)
    shape.hang = (-54, m["sh"])
    return shape


def sweater(look, rng) -> Shape:
    shape = bodice(rng, look, unit=1.06, top=-62, bottom=68, chest=44, waist=44, hem=42, loose=1.1)
    shape.knit = "knit"
    m = shape.measures
    shape.details += waistband(m)
    if look.neckline == "turtleneck":
        y = m["top"]
        roll = path((-15, y - 13), (0, y - 16, 15, y - 13), (18, y + 2), (0, y + 9, -18, y + 2))
        shape.details += (
            f'<path class="dark edge" d="{roll}"/><path class="ribs" d="{ribs(16, y - 14, y + 2)}"/>'
        )
    else:
        band(shape, 6)
    return shape


def jacket(look, rng) -> Shape:
    bottom = 46 if look.length == "cropped" else 62
    shape = bodice(
        rng,
        look,
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
    m = shape.measures
    shape.details += waistband(m, 11)
    if look.view == "back":
        shape.details += back_collar(m)
        shape.seams += path((-40, -36), (0, -32, 40, -36), close=False)
        return shape
    zip_end = bottom + 2
    shape.details += collar(m, 1.1, 16, "dark")
    shape.details += f'<path d="M0 -50V{zip_end}" stroke="#c9ccd1" stroke-width="3.4"/><path d="M0 -50V{zip_end}" stroke="#55585e" stroke-width="3.4" stroke-dasharray="1 1.4"/>'
    shape.details += '<rect class="metal" x="-1.8" y="-48" width="3.6" height="9" rx="1.6"/>'
    shape.details += f'<path class="zip" d="{both([((15, 8), (26, 30))])}"/>'
    shape.details += (
        f'<path class="pocket" d="{both([((10, -24), (32, -24), (32, -16), (10, -16), (10, -24))])}"/>'
    )
    return shape


def coat(look, rng) -> Shape:
    long = look.length == "long"
    unit, bottom = (0.7, 93) if long else (0.84, 86)
    top = -86 if long else -78
    shape = bodice(
        rng,
        look,
        unit=unit,
        top=top,
        bottom=bottom,
        chest=45,
        waist=42,
        hem=58,
        neckline="collar",
        loose=1.25,
        reach=118,
    )
    m = shape.measures
    shape.folds += folds_down(rng, 3, m["hem"] * 0.7, m["mid"] + 15, bottom, spread=1.1)
    if look.view == "back":
        shape.details += back_collar(m)
        shape.seams += path((0, m["mid"] + 10), (0, bottom + 3), close=False)
    else:
        u, close = m["u"], top + 62 * m["u"]
        lapel = [
            (m["neck"] * 1.1, top - 4 * u),
            (m["neck"] * 1.9, top + 22 * u),
            (m["neck"] * 1.45, top + 30 * u),
            (m["neck"] * 1.7, top + 34 * u),
        ]
        vee = path((-m["neck"], top - 3), (0, top - 7 * u, m["neck"], top - 3), (1, close))
        shape.details += f'<path class="deep" d="{vee}"/>'
        shape.details += f'<path class="light edge" d="{both([[(2, close), *lapel]], close=True)}"/>'
        shape.seams += path((2, close), (4, bottom + 3), close=False)
        ys = [close + k * 22 * u for k in range(4)]
        shape.details += buttons(-9 * u, ys, 2.6) + buttons(12 * u, ys, 2.6)
    belt_y = m["mid"] - 8
    if rng.random() < 0.5:
        w = m["waist"] + 0.8
        shape.details += f'<path class="dark edge" d="M{-w:.1f} {belt_y:.1f}H{w:.1f}v7H{-w:.1f}Z"/><rect class="metal" x="-5" y="{belt_y - 1:.1f}" width="10" height="9" rx="2" fill-opacity=".0"/>'
    shape.details += f'<path class="pocket" d="{both([((m["waist"] * 0.4, m["mid"] + 18), (m["waist"] * 0.85, m["mid"] + 14))])}"/>'
    shape.focus = (0, top + 48 * unit)
    return shape
