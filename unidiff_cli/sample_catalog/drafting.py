"""Paper patterns: outlines as SVG path data, in a box from -100 to 100 both ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

Point = tuple[float, ...]
Stroke = Sequence[Point]


@dataclass(frozen=True)
class Arms:
    """The sleeves of a garment: degrees off plumb, length, and width of the cuff."""

    angle: float = 0.0
    length: float = 0.0
    cuff: float = 0.0


@dataclass
class Measures:
    """Where the parts of a garment are, for what is sewn on it; zero where it has no such part.

    `neck`, `shoulder`, `chest`, `waist` and `hem` are half widths. `top`, `tip` (of the shoulder),
    `pit` (of the arm), `mid` (the waist) and `bottom` are heights. `tail` is how far the hem hangs
    lower in the middle, `unit` the scale of the garment. `opening` is the stroke of the right half
    of the neck opening, `torso` the path data of the body.
    """

    neck: float = 0.0
    shoulder: float = 0.0
    chest: float = 0.0
    waist: float = 0.0
    hem: float = 0.0
    top: float = 0.0
    tip: float = 0.0
    pit: float = 0.0
    mid: float = 0.0
    bottom: float = 0.0
    tail: float = 0.0
    unit: float = 1.0
    opening: Stroke = ()
    torso: str = ""
    arms: Arms = Arms()


@dataclass
class Shape:
    """One garment laid out: its fabric, and what is behind and upon it.

    All but `parts`, `details` and `behind` is path data or numbers:

    - `parts`: path data of the pieces of fabric, back to front.
    - `folds`, `shine`: soft dark creases, soft highlights.
    - `seams`: thin lines.
    - `details`: SVG on top, coloured by class (base dark deep light trim metal sole stitch).
    - `behind`: SVG under the fabric, such as linings and straps.
    - `edges`: where the cloth turns away from the eye; the parts' outlines if empty.
    - `focus`: where a detail image looks.
    - `hang`: height and half width of the shoulders or the waistband.
    - `neck`: False for what clips hold and no mannequin wears.
    - `knit`: "rib" or "knit" shows the yarn.
    - `stands`: height of the ground below a thing that stands.
    - `reach`: points beyond the fabric that belong in the frame too.
    """

    parts: list[str]
    folds: str = ""
    shine: str = ""
    seams: str = ""
    details: str = ""
    behind: str = ""
    edges: str = ""
    focus: tuple[float, float] = (0, -25)
    hang: tuple[float, float] = (-70, 40)
    neck: bool = True
    knit: str = ""
    stands: float | None = None
    reach: tuple[Point, ...] = ()
    measures: Measures = field(default_factory=Measures)


def standing(parts: list[str], ground: float) -> Shape:
    """The shape of a thing that stands on the ground and is seen whole."""
    return Shape(parts, stands=ground, neck=False, focus=(0, 0))


_SEGMENT = re.compile("([MLQC])([^MLQCZ]*)")


def outline(data: str) -> list[Point]:
    """Points along path data of one segment a letter (M, L, Q, C).

    They are the ends of its lines and four points to a curve.
    """
    points: list[Point] = []
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


def path(start: Point, *segments: Point, close: bool = True) -> str:
    """Path data from points: two numbers a line, four a quadratic, six a cubic."""
    text = f"M{start[0]:.1f} {start[1]:.1f}"
    for s in segments:
        text += "LQC"[len(s) // 2 - 1] + " ".join(f"{v:.1f}" for v in s)
    return text + ("Z" if close else "")


def ellipse(x: float, y: float, rx: float, ry: float) -> str:
    """Path data of an ellipse."""
    # A cubic with these arms is a quarter circle to 0.03 %.
    u, v = rx * 0.5523, ry * 0.5523
    return path(
        (x, y - ry),
        (x + u, y - ry, x + rx, y - v, x + rx, y),
        (x + rx, y + v, x + u, y + ry, x, y + ry),
        (x - u, y + ry, x - rx, y + v, x - rx, y),
        (x - rx, y - v, x - u, y - ry, x, y - ry),
    )


def symmetric(start: Point, *segments: Point) -> str:
    """Path data of a right half joined to its mirror image on the left."""
    ends = [start] + [s[-2:] for s in segments]
    back: list[Point] = [(-ends[-1][0], ends[-1][1])]
    for i in range(len(segments) - 1, -1, -1):
        controls = [segments[i][k : k + 2] for k in range(0, len(segments[i]) - 2, 2)]
        points = [*controls[::-1], ends[i]]
        back.append(tuple(v for x, y in points for v in (-x, y)))
    return path(start, *segments, *back)


def mirrored(points: Iterable[Point]) -> list[Point]:
    """The same points left for right."""
    return [tuple(-v if k % 2 == 0 else v for k, v in enumerate(p)) for p in points]


def both(strokes: Iterable[Stroke], close: bool = False) -> str:
    """Path data of strokes and their mirror images; each stroke is a sequence of points."""
    return "".join(path(*s, close=close) + path(*mirrored(s), close=close) for s in strokes)


def styled(css: str, data: str) -> str:
    """SVG of path data in classes of the garment's style sheet."""
    return f'<path class="{css}" d="{data}"/>'


def stroked(data: str, color: str, width: float | str, more: str = "") -> str:
    """SVG of path data as a line; `more` is further attributes."""
    return f'<path d="{data}" fill="none" stroke="{color}" stroke-width="{width}"{more}/>'


def glint(x: float, y: float, rx: float, ry: float, opacity: float = 0.3) -> str:
    """SVG of a lamp mirrored in something smooth."""
    place = f'cx="{x}" cy="{y}" rx="{rx}" ry="{ry}"'
    return f'<ellipse {place} fill="#fff" fill-opacity="{opacity}"/>'


def shaded(data: str, opacity: str) -> str:
    """SVG of a face that is turned away from the lamp."""
    return f'<path d="{data}" fill="#000" fill-opacity="{opacity}"/>'


def ribs(half: float, top: float, bottom: float, sag: float = 3.0, step: float = 3.6) -> str:
    """Path data of the ribbing of a band `2 half` wide whose edges hang by `sag` in the middle."""
    lines, x = "", -half + step / 2
    while x < half:
        drop = sag * (1 - (x / half) ** 2)
        lines += f"M{x:.1f} {top + drop:.1f}V{bottom + drop:.1f}"
        x += step
    return lines


def folds_down(
    rng: Random, count: int, half: float, top: float, bottom: float, *, spread: float = 1.25
) -> str:
    """Path data of hanging creases that fan out from top to bottom."""
    text = ""
    for i in range(count):
        x = half * (2 * (i + rng.uniform(0.2, 0.8)) / count - 1)
        y = top + (bottom - top) * rng.uniform(0, 0.35)
        text += path((x * 0.8, y), (x * 0.9, (y + bottom) / 2, x * spread, bottom + 2), close=False)
    return text
