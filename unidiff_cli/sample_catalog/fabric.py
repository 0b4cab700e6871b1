"""Dye and cloth: the exact colour of one garment, its shades, and the pattern printed on it."""

from __future__ import annotations

import colorsys
import math
import random

from unidiff_cli.sample_catalog.look import COLORS


def lab(rgb) -> tuple:
    """CIELAB of an sRGB colour of 0-255 (D65): where equal distances look equally different."""
    r, g, b = (((v / 255 + 0.055) / 1.055) ** 2.4 if v > 10.3 else v / 3295 for v in rgb)
    x, y, z = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distances(rgb, palette=COLORS) -> dict[str, float]:
    """How far a colour is from each colour of a palette."""
    here = lab(rgb)
    return {
        name: sum((a - b) ** 2 for a, b in zip(here, lab(named), strict=True)) ** 0.5
        for name, named in palette.items()
    }


def dye(color: str, rng: random.Random, palette=COLORS) -> tuple:
    """A shade of the named colour that nobody would call by another name."""
    hue, light, rich = colorsys.rgb_to_hls(*(v / 255 for v in palette[color]))
    stray = 1.0 if palette is COLORS else 0.4  # a house dyes by its card
    for _ in range(12):
        dh, dl, ds = (
            rng.gauss(0, 0.01 * stray),
            rng.gauss(0, 0.035 * stray),
            rng.gauss(0, 0.06 * stray),
        )
        parts = colorsys.hls_to_rgb(
            (hue + dh) % 1,
            min(max(light + dl, 0.08), 0.97),
            min(max(rich + ds * (rich > 0.1), 0), 1),
        )
        rgb = tuple(round(v * 255) for v in parts)
        away = distances(rgb, palette)
        # Folds and light move a colour further: keep twice as near as the next name.
        if away[color] * 2 < min(v for k, v in away.items() if k != color):
            return rgb
    return palette[color]


def mix(a, b, t: float) -> tuple:
    """The colour a part `t` of the way from a to b."""
    return tuple(round(p + (q - p) * t) for p, q in zip(a, b, strict=True))


def hexa(rgb) -> str:
    """A colour as SVG writes it."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def shades(rgb, rng: random.Random) -> dict[str, str]:
    """The tones one garment is drawn in."""
    bright = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]
    white = (250, 249, 246)
    # Stripes on a pale cloth go darker in its own hue, on any other white or paler.
    if bright > 175:
        ink = mix(rgb, tuple(v * 0.42 for v in rgb), rng.uniform(0.5, 0.75))
    else:
        ink = mix(rgb, white, rng.uniform(0.62, 0.97))
    dark_cloth = bright < 60
    return {
        "base": hexa(rgb), "ink": hexa(ink),
        "dark": hexa(mix(rgb, (0, 0, 0), 0.16) if not dark_cloth else mix(rgb, white, 0.07)),
        "light": hexa(mix(rgb, white, 0.1)),
        "contrast": hexa(mix(rgb, (22, 18, 28), 0.55) if not dark_cloth else mix(rgb, white, 0.3)),
        "rib": hexa(mix(rgb, (22, 18, 28), 0.3) if not dark_cloth else mix(rgb, white, 0.18)),
        # A lining darker than black cloth could not be told from it, nor kept free of its print.
        "deep": hexa(mix(rgb, (12, 8, 14), 0.5) if not dark_cloth else mix(rgb, white, 0.22)),
        "fold": hexa(mix(rgb, (0, 0, 0), 0.62 if bright < 200 else 0.5)),
        "line": hexa(mix(rgb, (0, 0, 0), 0.5) if not dark_cloth else mix(rgb, white, 0.3)),
        "sole": "#8a6a48" if bright < 90 else "#3a2a20",
        "trim": hexa((247, 243, 234) if bright < 150 else mix(rgb, (40, 28, 22), 0.75)),
    }  # fmt: skip


def _disc(x, y, r) -> str:
    return f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0"


def _bars(step, width) -> str:
    return "".join(f"M-200 {y}h400v{width}h-400Z" for y in range(-200, 200, step))


def _flowers() -> tuple[str, str]:
    rng, petals, hearts = random.Random(4), "", ""
    for i, y in enumerate(range(-200, 201, 14)):
        for x in range(-200 + i % 2 * 14, 201, 28):
            u, v, turn = x + rng.uniform(-3, 3), y + rng.uniform(-3, 3), rng.uniform(0, 1.25)
            for k in range(5):
                petals += _disc(
                    u + 3.4 * math.cos(turn + k * 1.2566),
                    v + 3.4 * math.sin(turn + k * 1.2566),
                    2.7,
                )
            petals += f"M{u + 7:.1f} {v + 3:.1f}q4 0 5 5q-5 0 -5 -5"
            hearts += _disc(u, v, 2)
    return petals, hearts


def cloth(name: str) -> str:
    """SVG of a printed or knitted cloth in white on nothing, from -200 to 200 both ways."""
    if name == "striped":
        return f'<path d="{_bars(14, 4)}"/>'
    if name == "dotted":
        return f'<path d="{"".join(_disc(x + y % 2 * 8, y * 8, 3.5) for x in range(-200, 200, 16) for y in range(-25, 25))}"/>'
    if name == "checked":
        one = f'<path fill-opacity=".5" d="{_bars(22, 5)}"/><path d="{_bars(22, 1.2)}" transform="translate(0 14)"/>'
        return f'{one}<g transform="rotate(90)">{one}</g>'
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


# How far a print may be turned (degrees, one of) and stretched (from, to).
TURNS = {
    "striped": ((0, 0, 0, 90), 0.95, 1.6), "dotted": ((0,), 0.8, 1.25), "checked": ((0, 0, 45), 1, 1.5),
    "floral": ((0,), 0.8, 1.2), "colour-block": ((0, 0, -28, 28), 0.9, 1.2),
}  # fmt: skip
