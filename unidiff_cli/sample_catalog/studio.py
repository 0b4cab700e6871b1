"""The studio: renders a look as an image, its garment cut, dyed, printed, posed and lit."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from PIL import Image, ImageChops, ImageFilter

from unidiff_cli.sample_catalog.backdrop import ZOOM, backdrop, cast_shadow, props
from unidiff_cli.sample_catalog.drafting import Shape, outline
from unidiff_cli.sample_catalog.fabric import TURNS, cloth
from unidiff_cli.sample_catalog.garment import fabric, garment, relief, style
from unidiff_cli.sample_catalog.garment import silhouette as pieces
from unidiff_cli.sample_catalog.look import Look

# How strongly creases and ridges show, by colour.
RELIEF = {
    "black": (0.6, 1.4),
    "white": (0.68, 1),
    "beige": (0.72, 1),
    "yellow": (0.75, 1),
    "orange": (0.75, 1),
    "mustard": (0.75, 1),
}


def render(look: Look, size: int = 256) -> Image.Image:
    """The image of a look, RGB, size x size; the same look gives the same pixels."""
    shape, tone, rng = garment(look)
    place = _place(look, shape)
    pose, sheet = f'<g transform="{place.transform}">', style(tone)
    ground = None if shape.stands is None else place.y + shape.stands * place.sy
    # The backdrop is a little out of focus, so half the pixels are enough: a PNG costs 4 ms at 256.
    behind = f"{sheet}{backdrop(look, ground)}{pose}{shape.behind}{props(look, shape)}</g>"
    image = _rasterize(behind, size // 2, "RGB").resize((size, size), Image.Resampling.BICUBIC)
    drape = _rasterize(f"{sheet}{pose}{fabric(shape, tone)}</g>", size, "RGBA")
    alpha, drape = drape.getchannel("A"), drape.convert("RGB")
    _print(drape, look.pattern, shape.knit, tone, rng, place)
    lit = ImageChops.hard_light(drape, _lighting(look, shape, place, size))
    cast_shadow(image, alpha, look, ground, size)
    image.paste(lit, mask=alpha)
    return ImageChops.add(ImageChops.multiply(image, _vignette(size)), _noise(size), 1, -128)


def silhouette(look: Look, size: int = 256) -> Image.Image:
    """Where the fabric is in `render(look)`: an L image, white on the cloth."""
    shape, _, _ = garment(look)
    transform = _place(look, shape).transform
    return _rasterize(f'<g fill="#fff" transform="{transform}">{pieces(shape)}</g>', size, "L")


class _Place(NamedTuple):
    """Where the garment lies on the canvas: shift, degrees, scales; a negative one mirrors."""

    x: float
    y: float
    angle: float
    sx: float
    sy: float

    @property
    def transform(self) -> str:
        return "translate({:.2f} {:.2f}) rotate({:.2f}) scale({:.3f} {:.3f})".format(*self)


def _place(look: Look, shape: Shape) -> _Place:
    flip = -1 if look.mirror else 1
    c, s = math.cos(math.radians(look.angle)), math.sin(math.radians(look.angle))
    points = [p for part in shape.parts for p in outline(part)] + list(shape.reach)
    xs = [flip * x * c - y * s for x, y in points]
    ys = [flip * x * s + y * c for x, y in points] + [shape.stands or 0]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    scale = 200 * look.scale / max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    if look.view == "detail":
        scale *= ZOOM
        x, y = shape.focus[0] * flip, shape.focus[1]
    return _Place(look.dx - x * scale, look.dy - y * scale, look.angle, scale * flip, scale)


def _rasterize(elements: str, size: int, mode: str, half: int = 100) -> Image.Image:
    """An image of SVG elements that lie between -half and half."""
    import resvg_py

    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" '
        f'viewBox="{-half} {-half} {2 * half} {2 * half}">{elements}</svg>'
    )
    data = bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))
    return Image.open(io.BytesIO(data)).convert(mode)


# ---------------------------------------------------------------- prints


def _print(
    drape: Image.Image,
    pattern: str,
    knit: str,
    tone: Mapping[str, str],
    rng: Random,
    place: _Place,
) -> None:
    """Prints the pattern and the stitches on the fabric, wherever its dye is bare."""
    size = drape.width
    layers: list[tuple[str, str, tuple[float, float, float, float]]] = []
    if pattern != "plain":
        turns, low, high = TURNS[pattern]
        drift = 0 if pattern == "colour-block" else 8
        degrees, stretch = float(rng.choice(turns)), rng.uniform(low, high)
        turn = (degrees, stretch, rng.uniform(-drift, drift), rng.uniform(-drift, drift))
        layers.append((pattern, tone["ink"], turn))
        if pattern == "floral":
            layers.append(("hearts", "#e8b23c", turn))
    if knit:
        layers.append((knit, tone["fold"], (0, 1, 0, 0)))
    if not layers:
        return
    # Buttons, zips and soles are far from the dye in colour; pockets and bands take the print too.
    flat = Image.new("RGB", drape.size, tone["base"])
    bare = ImageChops.difference(drape, flat).convert("L")
    bare = bare.point([max(0, min(255, 510 - v * 16)) for v in range(256)])
    for name, ink, turn in layers:
        drape.paste(ink, mask=ImageChops.multiply(_turned(name, turn, place, size), bare))


@functools.cache
def _swatch(name: str, size: int) -> Image.Image:
    """A sheet of one cloth as an L mask, 400 units wide: laid once, then cut to each garment."""
    # resvg takes 50 ms for a turned <pattern>; Pillow turns a sheet in 1.
    sheet = _rasterize(f'<g fill="#fff">{cloth(name)}</g>', size * 5 // 2, "RGBA", half=200)
    return sheet.getchannel("A")


def _turned(
    name: str, turn: tuple[float, float, float, float], place: _Place, size: int
) -> Image.Image:
    """A swatch as an L mask turned by (degrees, stretch, dx, dy) and carried along with `place`."""
    degrees, stretch, ox, oy = turn
    x, y, angle, sx, sy = place
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # Pillow asks where each pixel comes from: pixel -> canvas -> garment -> swatch.
    g = (c / sx, s / sx, -(c * x + s * y) / sx, -s / sy, c / sy, (s * x - c * y) / sy)
    c, s = math.cos(math.radians(degrees)) / stretch, math.sin(math.radians(degrees)) / stretch
    m = [c * g[i] + s * g[i + 3] for i in range(3)] + [c * g[i + 3] - s * g[i] for i in range(3)]
    sheet = _swatch(name, size)
    px, k = 200 / size, sheet.width / 400
    data = [
        v
        for a, b, e, o in ((m[0], m[1], m[2], ox), (m[3], m[4], m[5], oy))
        for v in (a * px * k, b * px * k, (e + o - 100 * (a + b) + 200) * k)
    ]
    return sheet.transform((size, size), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


# ---------------------------------------------------------------- light


def _lighting(look: Look, shape: Shape, place: _Place, size: int) -> Image.Image:
    """How bright each pixel of the cloth is, as an RGB image of grays."""
    # Blur and light are Pillow's: it blurs an image in 0.6 ms where an SVG filter takes 20.
    light = _rasterize(relief(shape, place.transform), size // 2, "L")
    light = light.filter(ImageFilter.GaussianBlur(size / 170))
    light = light.resize((size, size), Image.Resampling.BILINEAR)
    light = ImageChops.add(light, _ramp(round(look.light, 1), size), 1, -128)
    # Multiplying black shows nothing, so black cloth is shaped by its shine; creases in pale cloth
    # are fainter.
    dark, bright = RELIEF.get(look.color, (0.88, 1))
    light = light.point(
        [round(128 + (v - 128) * (dark if v < 128 else bright)) for v in range(256)]
    )
    return Image.merge("RGB", (light,) * 3)


@functools.cache
def _ramp(light: float, size: int) -> Image.Image:
    """Gray 128 where light falls as on the average, brighter towards the lamp."""
    ramp = Image.linear_gradient("L").rotate(70)
    ramp = ramp.resize((size, size), Image.Resampling.BICUBIC, box=(40, 40, 216, 216))
    if light < 0:
        ramp = ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    strength = 0.42 * abs(light)
    return ramp.point(
        [round(128 + (v - 128) * strength * (0.6 if v > 128 else 1)) for v in range(256)]
    )


@functools.cache
def _noise(size: int) -> Image.Image:
    """The sensor noise that every image of this size shares."""
    bytes_ = Random(size).randbytes(size * size * 3)
    noise = Image.frombytes("RGB", (size, size), bytes_)
    return noise.point([122 + v * 12 // 255 for v in range(256)] * 3)


@functools.cache
def _vignette(size: int) -> Image.Image:
    """The darker corners that every image of this size shares."""
    dim = Image.radial_gradient("L").resize((size, size), Image.Resampling.BICUBIC)
    dim = dim.point([round(255 - max(0, v - 90) * 0.28) for v in range(256)])
    return Image.merge("RGB", (dim,) * 3)
