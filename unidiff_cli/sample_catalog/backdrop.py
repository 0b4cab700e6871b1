"""Where a garment is photographed: walls and tables, hangers and mannequins, and its shadow."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from unidiff_cli.sample_catalog.drafting import Shape
from unidiff_cli.sample_catalog.fabric import Rgb, hex_color, mix
from unidiff_cli.sample_catalog.look import Look
from unidiff_cli.sample_catalog.vocabulary import HOUSE

if TYPE_CHECKING:
    from PIL import Image

# How much nearer a detail image looks.
ZOOM = 1.55
PASTELS = (
    (232, 222, 240),
    (220, 234, 240),
    (240, 228, 220),
    (224, 238, 226),
    (244, 236, 214),
    (242, 222, 228),
)
_FULL = 'x="-100" y="-100" width="200" height="200"'


def backdrop(look: Look, ground: float | None) -> str:
    """SVG of the backdrop: its wall, and the shelf or table whose top is at `ground`."""
    rng = Random(look.shade ^ 0x5EED)
    text = _wall(look, ground, rng)
    if look.setting in ("shelf", "table") and ground is not None:
        wood = rng.choice(("#b98d62", "#e9e4da", "#7a5a42"))
        if look.setting == "table":
            # Seen a little from above: its far edge is behind the thing.
            y = ground - rng.uniform(12, 30)
            edge = _strip(y, 3, "#fff", ".25")
            return text + _strip(y, 200, wood) + edge
        y = ground - 2
        text += _strip(y, 120, wood) + _strip(y + 16, 120, "#000", ".22")
    return text


def _strip(y: float, height: float, color: str, opacity: str = "") -> str:
    """SVG of a bar over the whole width, from y down."""
    more = f' fill-opacity="{opacity}"' if opacity else ""
    return f'<rect x="-100" y="{y:.1f}" width="200" height="{height}" fill="{color}"{more}/>'


def _wall(look: Look, ground: float | None, rng: Random) -> str:
    """SVG of the background alone."""
    if look.background == HOUSE:
        return _house(ground, rng)
    if look.background in ("wood", "panelling"):
        return _boards(look.background == "wood", rng)
    if look.background == "linen":
        return _linen(rng)
    return _plain_wall(look, rng)


def _house(ground: float | None, rng: Random) -> str:
    """The sample shop's studio: a sage wall, a cream arch behind the garment, a red-brown floor."""
    sage = mix((150, 174, 156), (168, 190, 172), rng.random())
    floor, w = rng.uniform(70, 78), rng.uniform(66, 72)
    # The floor's edge is behind what stands on it.
    if ground is not None:
        floor = min(floor, ground - 7)
    arch = f"M{-w:.1f} {floor:.1f}V-20A{w:.1f} {w:.1f} 0 0 1 {w:.1f} -20V{floor:.1f}Z"
    return (
        f'<rect {_FULL} fill="{hex_color(sage)}"/><path d="{arch}" fill="#f2e8d2"/>'
        f'<path d="{arch}" fill="none" stroke="#5d7263" stroke-opacity=".35" stroke-width="2"/>'
        + _strip(floor, 200, "#c4764f")
    )


def _boards(wood: bool, rng: Random) -> str:
    """Upright boards: of wood with its grain, or of a painted panelling."""
    painted = ((226, 222, 214), (208, 216, 218))
    tone = rng.choice(((186, 140, 98), (206, 172, 132), (150, 112, 82)) if wood else painted)
    step, text, x = rng.uniform(30, 44), "", -100 - rng.uniform(0, 20)
    while x < 100:
        color = hex_color(mix(tone, (90, 60, 40), rng.uniform(0, 0.16 if wood else 0.02)))
        text += f'<rect x="{x:.1f}" y="-100" width="{step:.1f}" height="200" fill="{color}"/>'
        if wood:
            grain = "".join(_grain(x + rng.uniform(2, step - 2), rng) for _ in range(4))
            text += (
                f'<path d="{grain}" fill="none" stroke="#5a3a20" stroke-opacity=".16" '
                'stroke-width="1"/>'
            )
        gap = f'stroke="#2c1a0c" stroke-opacity="{0.45 if wood else 0.16}" stroke-width="1.2"'
        text += f'<path d="M{x:.1f} -100V100" {gap}/>'
        x += step
    return text


def _grain(x: float, rng: Random) -> str:
    return f"M{x:.1f} -100q{rng.uniform(-5, 5):.1f} 100 {rng.uniform(-3, 3):.1f} 200"


def _linen(rng: Random) -> str:
    tone = rng.choice(((224, 216, 204), (214, 216, 216), (236, 230, 220)))
    weave = "".join(f"M-100 {k}H100M{k} -100V100" for k in range(-100, 101, 4))
    crease = ""
    for _ in range(2):
        a, b, c = (rng.uniform(-100, 100) for _ in range(3))
        crease += f"M{a:.0f} -100Q{b:.0f} 0 {c:.0f} 100"
    return (
        f'<rect {_FULL} fill="{hex_color(tone)}"/>'
        f'<path d="{weave}" stroke="#000" stroke-opacity=".06" stroke-width="1.4"/>'
        f'<path d="{crease}" fill="none" stroke="#fff" stroke-opacity=".25" stroke-width="5"/>'
    )


def _plain_wall(look: Look, rng: Random) -> str:
    """A wall of one tone, with stains if it is of concrete, and with a floor before some."""
    name = look.background
    tone: Rgb
    plain = {"white": (249, 249, 248), "grey": (206, 207, 210), "concrete": (176, 176, 174)}
    if name in plain:
        tone = plain[name]
    else:
        tone = rng.choice(PASTELS)
        if name != "pastel":
            tone = mix(tone, (168, 164, 158), rng.uniform(0.25, 0.7))
    text = f'<rect {_FULL} fill="{hex_color(tone)}"/>'
    if name == "concrete":
        text += "".join(_stain(rng) for _ in range(9))
    if look.setting == "mannequin" or (name == "wall" and look.setting != "hanger"):
        y = rng.uniform(66, 80)
        floor = mix(tone, rng.choice(((120, 92, 66), (150, 150, 152))), 0.45)
        text += _strip(y, 60, hex_color(floor))
        text += _strip(y - 4, 4, hex_color(mix(tone, (255, 255, 255), 0.5)))
    return text


def _stain(rng: Random) -> str:
    place = f'cx="{rng.uniform(-100, 100):.0f}" cy="{rng.uniform(-100, 100):.0f}"'
    size = f'rx="{rng.uniform(15, 45):.0f}" ry="{rng.uniform(8, 30):.0f}"'
    return f'<ellipse {place} {size} fill="#{rng.choice(("fff", "000"))}" fill-opacity=".035"/>'


def props(look: Look, shape: Shape) -> str:
    """SVG of the hanger or mannequin behind a garment."""
    if shape.stands is not None:
        return ""
    if look.setting == "hanger":
        return _hanger(shape) if shape.neck else _clip_hanger(shape)
    if look.setting == "mannequin" and shape.neck:
        return _mannequin(shape)
    return ""


def _hook(y: float, top: float) -> str:
    """SVG of the wire of a hanger, from y up to its hook."""
    return (
        f'<path d="M0 {y:.1f}V{top:.1f}c0 -3 5 -3 5 -7.500c0 -7 -10 -7 -10 -1" fill="none" '
        'stroke="#8d9096" stroke-width="2"/>'
    )


def _hanger(shape: Shape) -> str:
    """A wooden hanger, which holds a garment by its shoulders."""
    y, half = shape.hang
    left = f"M{-half * 0.86:.1f} {y + 11:.1f}Q{-half * 0.2:.1f} {y - 4:.1f} 0 {y - 6:.1f}"
    right = f"Q{half * 0.2:.1f} {y - 4:.1f} {half * 0.86:.1f} {y + 11:.1f}"
    return _hook(y - 7, y - 14) + (
        f'<path d="{left}{right}" fill="none" stroke="#a97c50" stroke-width="5.500" '
        'stroke-linecap="round"/>'
    )


def _clip_hanger(shape: Shape) -> str:
    """A hanger with two clips, which hold a garment by its waistband."""
    y, half = shape.hang
    clips = "".join(
        f'<rect x="{s * half * 0.7 - 3:.1f}" y="{y - 12:.1f}" width="6" height="16" rx="1.5" '
        'fill="#5c5f66"/>'
        for s in (-1, 1)
    )
    rail = f"M{-half:.1f} {y - 9:.1f}H{half:.1f}"
    return _hook(y - 9, y - 15) + (
        f'<path d="{rail}" stroke="#8d9096" stroke-width="2.600"/>{clips}'
    )


def _mannequin(shape: Shape) -> str:
    y, _ = shape.hang
    nk, u = shape.measures.neck * 0.72, shape.measures.unit
    bust = (
        f"M{-nk:.1f} {y - 20 * u:.1f}Q0 {y - 25 * u:.1f} {nk:.1f} {y - 20 * u:.1f}"
        f"L{nk * 1.05:.1f} {y:.1f}L{nk * 1.8:.1f} {y + 9 * u:.1f}V{y + 50 * u:.1f}"
        f"H{-nk * 1.8:.1f}V{y + 9 * u:.1f}L{-nk * 1.05:.1f} {y:.1f}Z"
    )
    return (
        '<path d="M-2.500 0V140" stroke="#6b5745" stroke-width="5"/>'
        f'<path d="{bust}" fill="#ddcbb2"/>'
        f'<ellipse cx="0" cy="{y - 21 * u:.1f}" rx="{nk:.1f}" ry="{3 * u:.1f}" fill="#8a6a4c"/>'
    )


def cast_shadow(
    image: Image.Image, alpha: Image.Image, look: Look, ground: float | None, size: int
) -> None:
    """Darkens the image where the garment, of this alpha, keeps the light away.

    `ground` is what it stands on.
    """
    from PIL import Image, ImageChops, ImageDraw, ImageFilter

    px = size / 200
    flat = look.setting == "flat lay"
    dx, dy, blur, depth = (-2.5 * look.light, 3, 2.2, 0.5) if flat else (-7 * look.light, 4, 5, 0.3)
    if ground is None or flat:
        mask = ImageChops.offset(alpha, round(dx * px), round(dy * px))
    else:
        mask, y = Image.new("L", (size, size)), 100 + ground
        left, _, right, _ = alpha.getbbox() or (0, 0, size, size)
        x, half = (left + right) / 2 / px, (right - left) / 2 / px
        for wide, high, level in ((half, 9, 150), (half * 0.84, 4.5, 255)):
            box = (x - wide - dx, y - high, x + wide + dx, y + high)
            ImageDraw.Draw(mask).ellipse([v * px for v in box], fill=level)
        blur, depth = 4, 0.55
    # A soft shadow has no detail to lose at half the size.
    mask = mask.reduce(2).filter(ImageFilter.GaussianBlur(blur * px / 2))
    mask = mask.resize((size, size), Image.Resampling.BILINEAR)
    image.paste((24, 18, 22), mask=mask.point([round(v * depth) for v in range(256)]))
