"""Dye and cloth: the exact colour of one garment, its shades, and the pattern printed on it."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping
from random import Random

from unidiff_cli.sample_catalog.vocabulary import COLORS

Rgb = tuple[float, float, float]
Palette = Mapping[str, tuple[int, int, int]]
_BLACK, _WHITE = (0, 0, 0), (250, 249, 246)


def lab(rgb: Rgb) -> Rgb:
    """CIELAB of an sRGB colour of 0-255 (D65): where equal distances look equally different."""
    r, g, b = (((v / 255 + 0.055) / 1.055) ** 2.4 if v > 10.3 else v / 3295 for v in rgb)
    x, y, z = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distances(rgb: Rgb, palette: Palette = COLORS) -> dict[str, float]:
    """How far a colour is from each colour of a palette, in CIELAB."""
    place = lab(rgb)
    return {
        name: sum((a - b) ** 2 for a, b in zip(place, lab(named), strict=True)) ** 0.5
        for name, named in palette.items()
    }


def dye(color: str, rng: Random, palette: Palette = COLORS) -> Rgb:
    """A shade of the named colour that nobody would call by another name."""
    hue, light, rich = colorsys.rgb_to_hls(*(v / 255 for v in palette[color]))
    # A house dyes by its card.
    stray = 1.0 if palette is COLORS else 0.4
    for _ in range(12):
        dh, dl, ds = (rng.gauss(0, spread * stray) for spread in (0.01, 0.035, 0.06))
        parts = colorsys.hls_to_rgb(
            (hue + dh) % 1,
            min(max(light + dl, 0.08), 0.97),
            min(max(rich + ds * (rich > 0.1), 0), 1),
        )
        red, green, blue = (round(v * 255) for v in parts)
        away = distances((red, green, blue), palette)
        # Folds and light move a colour further: keep twice as near as the next name.
        if away[color] * 2 < min(v for k, v in away.items() if k != color):
            return red, green, blue
    return palette[color]


def mix(a: Rgb, b: Rgb, t: float) -> Rgb:
    """The colour a part `t` of the way from a to b."""
    red, green, blue = (round(p + (q - p) * t) for p, q in zip(a, b, strict=True))
    return red, green, blue


def hex_color(rgb: Rgb) -> str:
    """A colour as SVG writes it."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def shades(rgb: Rgb, rng: Random) -> dict[str, str]:
    """The tones one garment is rendered in."""
    bright = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]

    def tone(target: Rgb, t: float, on_dark_cloth: float = 0.0) -> str:
        """The dye towards a target; on dark cloth towards white, or darker could not be seen."""
        if on_dark_cloth and bright < 60:
            return hex_color(mix(rgb, _WHITE, on_dark_cloth))
        return hex_color(mix(rgb, target, t))

    # Stripes on a pale cloth go darker in its own hue, on any other white or paler.
    if bright > 175:
        red, green, blue = (v * 0.42 for v in rgb)
        ink = mix(rgb, (red, green, blue), rng.uniform(0.5, 0.75))
    else:
        ink = mix(rgb, _WHITE, rng.uniform(0.62, 0.97))
    return {
        "base": hex_color(rgb),
        "ink": hex_color(ink),
        "dark": tone(_BLACK, 0.16, on_dark_cloth=0.07),
        "light": tone(_WHITE, 0.1),
        "contrast": tone((22, 18, 28), 0.55, on_dark_cloth=0.3),
        "rib": tone((22, 18, 28), 0.3, on_dark_cloth=0.18),
        # A lining darker than black cloth would look like it, and take its print.
        "deep": tone((12, 8, 14), 0.5, on_dark_cloth=0.22),
        "fold": tone(_BLACK, 0.62 if bright < 200 else 0.5),
        "line": tone(_BLACK, 0.5, on_dark_cloth=0.3),
        "sole": "#8a6a48" if bright < 90 else "#3a2a20",
        "trim": hex_color((247, 243, 234)) if bright < 150 else tone((40, 28, 22), 0.75),
    }


# How far a print may be turned (degrees, one of) and stretched (from, to).
TURNS: dict[str, tuple[tuple[int, ...], float, float]] = {
    "striped": ((0, 0, 0, 90), 0.95, 1.6),
    "dotted": ((0,), 0.8, 1.25),
    "checked": ((0, 0, 45), 1, 1.5),
    "floral": ((0,), 0.8, 1.2),
    "colour-block": ((0, 0, -28, 28), 0.9, 1.2),
}


def cloth(name: str) -> str:
    """SVG of a printed or knitted cloth in white on nothing, from -200 to 200 both ways."""
    if name == "striped":
        return f'<path d="{_bars(14, 4)}"/>'
    if name == "dotted":
        places = ((x + y % 2 * 8, y * 8) for x in range(-200, 200, 16) for y in range(-25, 25))
        return f'<path d="{"".join(_disc(x, y, 3.5) for x, y in places)}"/>'
    if name == "checked":
        thin = f'<path d="{_bars(22, 1.2)}" transform="translate(0 14)"/>'
        lines = f'<path fill-opacity=".5" d="{_bars(22, 5)}"/>{thin}'
        return f'{lines}<g transform="rotate(90)">{lines}</g>'
    if name == "floral":
        return f'<path d="{_flowers()[0]}"/>'
    if name == "hearts":
        return f'<path d="{_flowers()[1]}"/>'
    if name == "colour-block":
        return '<path d="M-200 26h400v200h-400Z"/>'
    if name == "rib":
        return f'<path fill-opacity=".15" d="{_bars(5, 1.8)}" transform="rotate(90)"/>'
    stitches = "".join(f"M-200 {y}" + "l3 3l3 -3" * 67 for y in range(-200, 200, 5))
    return (
        f'<path d="{stitches}" fill="none" stroke="#fff" stroke-opacity=".17" stroke-width="1.6"/>'
    )


def _disc(x: float, y: float, r: float) -> str:
    half = f"a{r:.1f} {r:.1f} 0 1 0"
    return f"M{x - r:.1f} {y:.1f}{half} {2 * r:.1f} 0{half} {-2 * r:.1f} 0"


def _bars(step: int, width: float) -> str:
    return "".join(f"M-200 {y}h400v{width}h-400Z" for y in range(-200, 200, step))


def _flowers() -> tuple[str, str]:
    """Path data of petals with leaves, and of the hearts of the same flowers."""
    rng, petals, hearts = Random(4), "", ""
    for i, y in enumerate(range(-200, 201, 14)):
        for x in range(-200 + i % 2 * 14, 201, 28):
            u, v, turn = x + rng.uniform(-3, 3), y + rng.uniform(-3, 3), rng.uniform(0, 1.25)
            for k in range(5):
                angle = turn + k * 1.2566
                petals += _disc(u + 3.4 * math.cos(angle), v + 3.4 * math.sin(angle), 2.7)
            petals += f"M{u + 7:.1f} {v + 3:.1f}q4 0 5 5q-5 0 -5 -5"
            hearts += _disc(u, v, 2)
    return petals, hearts
