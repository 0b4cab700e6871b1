"""Paper patterns: outlines as SVG path data, in a box that runs from -100 to 100 both ways."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field


@dataclass
class Shape:
    """One garment laid out: its fabric, and what is drawn behind and upon it."""

    parts: list[str]  # path data of the pieces of fabric, back to front
    folds: str = ""  # path data of soft dark creases
    shine: str = ""  # path data of soft highlights
    seams: str = ""  # path data of thin lines
    details: str = ""  # SVG on top, coloured by class: base dark deep light trim metal sole stitch
    behind: str = ""  # SVG under the fabric: linings, straps
    edges: str = (
        ""  # path data where the cloth turns away from the eye; the parts' outlines if empty
    )
    focus: tuple = (0, -25)  # where a detail image looks
    hang: tuple = (-70, 40)  # y and half width of the shoulders or waistband
    neck: bool = True  # False: hung by clips, and no mannequin has it on
    knit: str = ""  # "rib" or "knit" draws the yarn
    stands: float | None = None  # y of the ground below a thing that stands
    reach: tuple = ()  # points beyond the fabric that belong in the frame too
    measures: dict = field(default_factory=dict)


_SEGMENT = re.compile("([MLQC])([^MLQCZ]*)")


def outline(data: str) -> list[tuple[float, float]]:
    """Points along path data of one segment a letter (M, L, Q, C): ends of lines and four to a curve."""
    points: list[tuple[float, float]] = []
    for letter, numbers in _SEGMENT.findall(data):
        v = [float(n) for n in numbers.split()]
        x, y = points[-1] if points else (v[0], v[1])
        if letter == "Q":
            for t in (0.25, 0.5, 0.75):
                a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
                points.append((a * x + b * v[0] + c * v[2], a * y + b * v[1] + c * v[3]))
        elif letter == "C":
            for t in (0.25, 0.5, 0.75):
                a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
                points.append(
                    (a * x + b * v[0] + c * v[2] + d * v[4], a * y + b * v[1] + c * v[3] + d * v[5])
                )
        points.append((v[-2], v[-1]))
    return points


def ellipse(x, y, rx, ry) -> str:
    """Path data of an ellipse."""
    u, v = rx * 0.5523, ry * 0.5523  # a cubic with these arms is a quarter circle to 0.03 %
    return path(
        (x, y - ry),
        (x + u, y - ry, x + rx, y - v, x + rx, y),
        (x + rx, y + v, x + u, y + ry, x, y + ry),
        (x - u, y + ry, x - rx, y + v, x - rx, y),
        (x - rx, y - v, x - u, y - ry, x, y - ry),
    )


def path(start, *segments, close=True) -> str:
    """Path data from points: two numbers a line, four a quadratic, six a cubic."""
    text = f"M{start[0]:.1f} {start[1]:.1f}"
    for s in segments:
        text += "LQC"[len(s) // 2 - 1] + " ".join(f"{v:.1f}" for v in s)
    return text + ("Z" if close else "")


def symmetric(start, *segments) -> str:
    """Path data of a right half joined to its mirror image on the left."""
    ends = [start] + [s[-2:] for s in segments]
    back = [(-ends[-1][0], ends[-1][1])]
    for i in range(len(segments) - 1, -1, -1):
        points = [segments[i][k : k + 2] for k in range(0, len(segments[i]) - 2, 2)][::-1] + [
            ends[i]
        ]
        back.append(tuple(v for x, y in points for v in (-x, y)))
    return path(start, *segments, *back)


def mirrored(points) -> list[tuple]:
    """The same points left for right."""
    return [tuple(-v if k % 2 == 0 else v for k, v in enumerate(p)) for p in points]


def both(strokes, close=False) -> str:
    """Path data of strokes and their mirror images; each stroke is a sequence of points."""
    return "".join(path(*s, close=close) + path(*mirrored(s), close=close) for s in strokes)


def sleeve(x, y, inner, armpit, *, angle, length, cuff, puff=0.0) -> list[tuple]:
    """Points of the right sleeve from the shoulder (x, y) to the armpit (inner, armpit); angle in degrees off plumb.

    `puff` is how far a sleeve gathered at its cuff swells out.
    """
    a = math.radians(angle)
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


def cuff_line(x, y, *, angle, length, cuff, back=6.0) -> tuple:
    """A stroke across a sleeve, `back` short of its end."""
    a = math.radians(angle)
    dx, dy = math.sin(a), math.cos(a)
    p = (x + dx * (length - back) + 0.5, y + dy * (length - back))
    return (p, (p[0] - dy * cuff * 1.04, p[1] + dx * cuff * 1.04))


def ribs(half, top, bottom, sag=3.0, step=3.6) -> str:
    """Path data of the ribbing of a band `2 half` wide whose edges hang by `sag` in the middle."""
    lines, x = "", -half + step / 2
    while x < half:
        drop = sag * (1 - (x / half) ** 2)
        lines += f"M{x:.1f} {top + drop:.1f}V{bottom + drop:.1f}"
        x += step
    return lines


def folds_down(rng, count, half, top, bottom, *, spread=1.25) -> str:
    """Path data of hanging creases that fan out from top to bottom."""
    text = ""
    for i in range(count):
        x = half * (2 * (i + rng.uniform(0.2, 0.8)) / count - 1)
        y = top + (bottom - top) * rng.uniform(0, 0.35)
        text += path((x * 0.8, y), (x * 0.9, (y + bottom) / 2, x * spread, bottom + 2), close=False)
    return text


def bodice(rng, look, *, unit=1.0, top=-70.0, bottom=70.0, chest=41.0, waist=39.0, hem=41.0, waist_y=None,
           shoulder=45.0, neck=16.0, neckline=None, loose=1.0, reach=118.0, tail=3.0, flare=False) -> Shape:  # fmt: skip
    """A torso with its sleeves and neck opening, sized by `unit`: the start of every upper garment.

    `tail` is how far the hem hangs lower in the middle; `flare` lets it widen from the waist down, as a dress does.
    """
    u = unit
    neckline = look.neckline if neckline is None else neckline
    sh, ch, wa, he, nk = (v * u for v in (shoulder, chest, waist, hem, neck))
    bare = look.sleeve == "sleeveless"
    if bare:
        sh *= 0.74
    if look.cut == "peplum":
        wa, he, flare = wa * 0.78, he * 1.42, True
    tip, pit = top + 9 * u, top + (50 if bare else 45) * u
    mid = (pit + bottom) / 2 if waist_y is None else waist_y
    depth = {"v-neck": 40, "square neck": 26, "turtleneck": -13, "collar": 7}.get(neckline, 17) * u
    if look.view == "back" and neckline != "turtleneck":
        depth, neckline = 5 * u, "round neck"
    opening = {
        "v-neck": [(0, top + depth), (nk, top)],
        "square neck": [(0, top + depth), (nk, top + depth), (nk, top)],
        "turtleneck": [
            (0, top + depth - 1),
            (nk * 0.8, top + depth),
            (nk * 0.85, top - 3 * u, nk, top),
        ],
    }.get(neckline, [(0, top + depth), (nk * 0.75, top + depth, nk, top + depth * 0.5, nk, top)])
    armhole = (sh - (10 if bare else 4) * u, tip + (pit - tip) * 0.65, ch, pit)
    side = [
        (ch, (pit + mid) / 2, wa, mid),
        (wa, mid + (bottom - mid) * 0.4, he, mid + (bottom - mid) * 0.6, he, bottom),
    ]
    if flare:
        side[1] = (wa * 1.15, mid + (bottom - mid) * 0.35, he, bottom)
    foot = (he * 0.55, bottom + tail, 0, bottom + tail)
    # A sewn-in sleeve rounds the shoulder; without one the cloth ends there in a corner.
    corner = (sh, tip) if bare else (sh - 13.5, tip - 4.4)
    torso = symmetric(*opening, corner, armhole, *side, foot)
    edges = both([((nk, top), corner), ((ch, pit), *side, foot)])
    parts, seams, folds = [torso], [], ""
    arms = None
    if not bare:
        arms = {"angle": rng.uniform(13, 24), "length": reach * u, "cuff": 16 * u * loose}
        if look.sleeve == "short":
            arms = {"angle": rng.uniform(30, 40), "length": 44 * u, "cuff": 31 * u * loose}
        arm = sleeve(sh, tip, ch, pit, **arms, puff=20 * u if look.cut == "balloon sleeves" else 0)
        parts = [path(*arm), path(*mirrored(arm)), torso]
        edges += both([arm[:-1]])
        seams.append((corner, armhole))
        seams.append(cuff_line(sh, tip, **arms, back=5 * u))
        a = math.radians(arms["angle"])
        for k in (0.35, 0.55, 0.75):
            x, y = sh + math.sin(a) * arms["length"] * k, tip + math.cos(a) * arms["length"] * k
            folds += both(
                [
                    (
                        (x - 2 * u, y + rng.uniform(-4, 4)),
                        (x - 9 * u, y + 2, x - 19 * u, y - rng.uniform(2, 9)),
                    )
                ]
            )
    else:
        edges += both([(corner, armhole)])
    y = pit + 4
    folds += both([((ch - 2, y), (ch * 0.7, y + 9 * u, ch * 0.45, y + rng.uniform(2, 16) * u))])
    folds += both(
        [((wa - 1, mid), (wa * 0.7, mid + rng.uniform(-2, 6), wa * 0.4, mid + rng.uniform(2, 9)))]
    )
    lining = f'<path class="deep" d="M{-nk:.1f} {top:.1f}Q0 {top - 3 * u:.1f} {nk:.1f} {top:.1f}V{top + max(depth, 1):.1f}H{-nk:.1f}Z"/>'
    return Shape(
        parts, folds, both([((ch * 0.45, pit), (wa * 0.5, mid, he * 0.5, bottom - 12))]), both(seams), edges=edges,
        behind=lining if neckline != "turtleneck" else "",
        hang=(top, sh), focus=(0, top + 40 * u),
        measures={"neck": nk, "top": top, "depth": depth, "pit": pit, "mid": mid, "hem": he, "bottom": bottom,
                  "sh": sh, "tip": tip, "chest": ch, "waist": wa, "u": u, "arms": arms, "opening": opening,
                  "torso": torso, "tail": tail},
    )  # fmt: skip
