"""Where a garment is photographed: walls and tables, hangers and mannequins, and the shadow it casts."""

from __future__ import annotations

import random

from unidiff_cli.sample_catalog.drafting import Shape
from unidiff_cli.sample_catalog.fabric import hexa, mix
from unidiff_cli.sample_catalog.look import HOUSE, Look

ZOOM = 1.55  # of a detail image
PASTELS = (
    (232, 222, 240),
    (220, 234, 240),
    (240, 228, 220),
    (224, 238, 226),
    (244, 236, 214),
    (242, 222, 228),
)


def backdrop(look: Look, ground: float | None) -> str:
    """SVG of the backdrop: its wall, and the shelf or table whose top is at `ground`."""
    rng = random.Random(look.shade ^ 0x5EED)
    text = _wall(look, ground, rng)
    if look.setting in ("shelf", "table") and ground is not None:
        wood = rng.choice(("#b98d62", "#e9e4da", "#7a5a42"))
        if look.setting == "table":  # seen a little from above: its far edge is behind the thing
            y = ground - rng.uniform(12, 30)
            return (
                text
                + f'<rect x="-100" y="{y:.1f}" width="200" height="200" fill="{wood}"/><rect x="-100" y="{y:.1f}" width="200" height="3" fill="#fff" fill-opacity=".25"/>'
            )
        y = ground - 2
        text += f'<rect x="-100" y="{y:.1f}" width="200" height="120" fill="{wood}"/><rect x="-100" y="{y + 16:.1f}" width="200" height="120" fill="#000" fill-opacity=".22"/>'
    return text


def _studio(full: str, ground: float | None, rng: random.Random) -> str:
    """The sample shop's own studio: a sage wall, a cream arch behind the garment, a terracotta floor below."""
    sage = mix((150, 174, 156), (168, 190, 172), rng.random())
    floor, width = rng.uniform(70, 78), rng.uniform(66, 72)
    if ground is not None:  # its edge is behind what stands on it
        floor = min(floor, ground - 7)
    arch = (
        f"M{-width:.1f} {floor:.1f}V-20A{width:.1f} {width:.1f} 0 0 1 {width:.1f} -20V{floor:.1f}Z"
    )
    text = f'<rect {full} fill="{hexa(sage)}"/><path d="{arch}" fill="#f2e8d2"/>'
    text += f'<path d="{arch}" fill="none" stroke="#5d7263" stroke-opacity=".35" stroke-width="2"/>'
    return text + f'<rect x="-100" y="{floor:.1f}" width="200" height="200" fill="#c4764f"/>'


def _wall(look: Look, ground: float | None, rng: random.Random) -> str:
    """SVG of the background alone."""
    name = look.background
    full = 'x="-100" y="-100" width="200" height="200"'
    if name == HOUSE:
        return _studio(full, ground, rng)
    if name in ("wood", "panelling"):
        tone = (
            rng.choice(((186, 140, 98), (206, 172, 132), (150, 112, 82)))
            if name == "wood"
            else rng.choice(((226, 222, 214), (208, 216, 218)))
        )
        step, text, x = rng.uniform(30, 44), "", -100 - rng.uniform(0, 20)
        while x < 100:
            text += f'<rect x="{x:.1f}" y="-100" width="{step:.1f}" height="200" fill="{hexa(mix(tone, (90, 60, 40), rng.uniform(0, 0.16 if name == "wood" else 0.02)))}"/>'
            if name == "wood":
                grain = "".join(
                    f"M{x + rng.uniform(2, step - 2):.1f} -100q{rng.uniform(-5, 5):.1f} 100 {rng.uniform(-3, 3):.1f} 200"
                    for _ in range(4)
                )
                text += f'<path d="{grain}" fill="none" stroke="#5a3a20" stroke-opacity=".16" stroke-width="1"/>'
            text += f'<path d="M{x:.1f} -100V100" stroke="#2c1a0c" stroke-opacity="{0.45 if name == "wood" else 0.16}" stroke-width="1.2"/>'
            x += step
        return text
    if name == "linen":
        tone = rng.choice(((224, 216, 204), (214, 216, 216), (236, 230, 220)))
        weave = "".join(f"M-100 {k}H100M{k} -100V100" for k in range(-100, 101, 4))
        crease = "".join(
            f"M{rng.uniform(-100, 100):.0f} -100Q{rng.uniform(-100, 100):.0f} 0 {rng.uniform(-100, 100):.0f} 100"
            for _ in range(2)
        )
        return f'<rect {full} fill="{hexa(tone)}"/><path d="{weave}" stroke="#000" stroke-opacity=".06" stroke-width="1.4"/><path d="{crease}" fill="none" stroke="#fff" stroke-opacity=".25" stroke-width="5"/>'
    plain = {"white": (249, 249, 248), "grey": (206, 207, 210), "concrete": (176, 176, 174)}
    if name in plain:
        tone = plain[name]
    else:
        tone = rng.choice(PASTELS)
        if name != "pastel":
            tone = mix(tone, (168, 164, 158), rng.uniform(0.25, 0.7))
    text = f'<rect {full} fill="{hexa(tone)}"/>'
    if name == "concrete":
        text += "".join(
            f'<ellipse cx="{rng.uniform(-100, 100):.0f}" cy="{rng.uniform(-100, 100):.0f}" rx="{rng.uniform(15, 45):.0f}" ry="{rng.uniform(8, 30):.0f}" fill="#{rng.choice(("fff", "000"))}" fill-opacity=".035"/>'
            for _ in range(9)
        )
    if look.setting == "mannequin" or (name == "wall" and look.setting != "hanger"):
        y = rng.uniform(66, 80)
        floor = mix(tone, rng.choice(((120, 92, 66), (150, 150, 152))), 0.45)
        text += f'<rect x="-100" y="{y:.1f}" width="200" height="60" fill="{hexa(floor)}"/><rect x="-100" y="{y - 4:.1f}" width="200" height="4" fill="{hexa(mix(tone, (255, 255, 255), 0.5))}"/>'
    return text


def props(look: Look, shape: Shape) -> str:
    """SVG of the hanger or mannequin behind a garment."""
    y, half = shape.hang
    if shape.stands is not None:
        return ""
    if look.setting == "hanger":
        wire = '<path d="M0 {0:.1f}V{1:.1f}c0 -3 5 -3 5 -7.500c0 -7 -10 -7 -10 -1" fill="none" stroke="#8d9096" stroke-width="2"/>'
        if not shape.neck:
            clips = "".join(
                f'<rect x="{s * half * 0.7 - 3:.1f}" y="{y - 12:.1f}" width="6" height="16" rx="1.5" fill="#5c5f66"/>'
                for s in (-1, 1)
            )
            return (
                wire.format(y - 9, y - 15)
                + f'<path d="M{-half:.1f} {y - 9:.1f}H{half:.1f}" stroke="#8d9096" stroke-width="2.600"/>{clips}'
            )
        rail = f'<path d="M{-half * 0.86:.1f} {y + 11:.1f}Q{-half * 0.2:.1f} {y - 4:.1f} 0 {y - 6:.1f}Q{half * 0.2:.1f} {y - 4:.1f} {half * 0.86:.1f} {y + 11:.1f}" fill="none" stroke="#a97c50" stroke-width="5.500" stroke-linecap="round"/>'
        return wire.format(y - 7, y - 14) + rail
    if look.setting == "mannequin" and shape.neck:
        nk, u = shape.measures["neck"] * 0.72, shape.measures["u"]
        return (
            f'<path d="M-2.500 0V140" stroke="#6b5745" stroke-width="5"/>'
            f'<path d="M{-nk:.1f} {y - 20 * u:.1f}Q0 {y - 25 * u:.1f} {nk:.1f} {y - 20 * u:.1f}L{nk * 1.05:.1f} {y:.1f}L{nk * 1.8:.1f} {y + 9 * u:.1f}V{y + 50 * u:.1f}H{-nk * 1.8:.1f}V{y + 9 * u:.1f}L{-nk * 1.05:.1f} {y:.1f}Z" fill="#ddcbb2"/>'
            f'<ellipse cx="0" cy="{y - 21 * u:.1f}" rx="{nk:.1f}" ry="{3 * u:.1f}" fill="#8a6a4c"/>'
        )
    return ""


def cast_shadow(image, alpha, look: Look, ground: float | None, size: int):
    """Darkens the image where the garment, of this alpha, keeps the light away; `ground` is what it stands on."""
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
    mask = (
        mask.reduce(2)
        .filter(ImageFilter.GaussianBlur(blur * px / 2))
        .resize((size, size), Image.Resampling.BILINEAR)
        .point([round(v * depth) for v in range(256)])
    )
    image.paste((24, 18, 22), mask=mask)
