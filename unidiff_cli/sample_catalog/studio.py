"""The photograph: a garment cut, dyed, printed, posed and lit."""

from __future__ import annotations

import functools
import io
import math
import random

from unidiff_cli.sample_catalog import accessories, bottoms, dresses, objects, tops
from unidiff_cli.sample_catalog.backdrop import ZOOM, backdrop, cast_shadow, props
from unidiff_cli.sample_catalog.drafting import Shape, outline
from unidiff_cli.sample_catalog.fabric import TURNS, cloth, dye, shades
from unidiff_cli.sample_catalog.look import Look, palette
from unidiff_cli.sample_catalog.trimmings import finish

CUTS = {
    "dress": dresses.dress, "t-shirt": tops.t_shirt, "shirt": tops.shirt, "tank top": tops.tank_top, "hoodie": tops.hoodie,
    "sweater": tops.sweater, "jacket": tops.jacket, "coat": tops.coat, "jumpsuit": dresses.jumpsuit, "skirt": bottoms.skirt,
    "trousers": bottoms.trousers, "shorts": bottoms.shorts, "hat": accessories.hat, "beanie": accessories.beanie,
    "sneaker": accessories.sneaker, "boot": accessories.boot, "bag": accessories.bag, "backpack": accessories.backpack,
    "scarf": accessories.scarf,
    "apple": objects.apple, "banana": objects.banana, "orange": objects.orange, "pear": objects.pear,
    "lemon": objects.lemon, "tomato": objects.tomato, "carrot": objects.carrot, "cucumber": objects.cucumber,
    "mug": objects.mug, "bottle": objects.bottle, "milk carton": objects.milk_carton,
    "juice carton": objects.juice_carton, "chair": objects.chair, "lamp": objects.lamp, "ball": objects.ball,
    "car": objects.car, "book": objects.book, "vase": objects.vase, "umbrella": objects.umbrella,
    "clock": objects.clock, "teapot": objects.teapot,
}  # fmt: skip

# How strongly creases and ridges show, by colour.
RELIEF = {
    "black": (0.6, 1.4),
    "white": (0.68, 1),
    "beige": (0.72, 1),
    "yellow": (0.75, 1),
    "orange": (0.75, 1),
    "mustard": (0.75, 1),
}


def _style(tone: dict) -> str:
    return (
        f".base{{fill:{tone['base']}}}.dark{{fill:{tone['dark']}}}.deep{{fill:{tone['deep']}}}.light{{fill:{tone['light']}}}"
        f".trim{{fill:{tone['trim']};stroke:#000;stroke-opacity:.35;stroke-width:.5}}"
        f".metal{{fill:#c8b37a;stroke:#5b4a20;stroke-width:.7}}.heel{{fill:{tone['sole']}}}.sole{{fill:#f3f1ec;stroke:#a9a6a0;stroke-width:.8}}"
        f".edge,.pocket,.seam{{stroke:{tone['line']};stroke-opacity:.6;stroke-width:.9}}.seam{{fill:none}}.pocket{{fill:{tone['fold']};fill-opacity:.1}}"
        f".rim{{fill:none;stroke:{tone['dark']}}}.zip{{fill:none;stroke:{tone['line']};stroke-width:1.8}}"
        f".strap{{stroke:{tone['dark']};stroke-width:6;stroke-linecap:round}}.fringe{{fill:none;stroke:{tone['base']};stroke-width:2}}"
        f".rib{{fill:{tone['rib']}}}.neckrib{{fill:none;stroke:{tone['rib']}}}.contrast{{fill:{tone['contrast']}}}.lace{{stroke:#f7f5f0;stroke-width:3.4;stroke-linecap:round}}.ribs{{fill:none;stroke:#000;stroke-opacity:.25;stroke-width:1.3}}"
    )


def _fabric(shape: Shape, tone: dict) -> str:
    """SVG of the pieces of fabric in flat dye."""
    each = "".join(f'<path d="{p}"/>' for p in shape.parts)
    rim = shape.edges or " ".join(shape.parts)
    return f'<g fill="{tone["base"]}">{each}</g><path d="{rim}" fill="none" stroke="{tone["fold"]}" stroke-opacity=".4" stroke-width=".8"/>'


def _sewn(shape: Shape, tone: dict) -> str:
    """SVG of seams and whatever is sewn on the fabric."""
    return f'<path d="{shape.seams}" fill="none" stroke="{tone["line"]}" stroke-opacity=".55" stroke-width=".9"/>{shape.details}'


def _relief(shape: Shape) -> str:
    """SVG of how the cloth lies, before it is blurred: gray where flat, dark in creases, light on ridges."""
    return (
        '<rect x="-100" y="-100" width="200" height="200" fill="#808080"/><g fill="none" stroke-linecap="round" transform="{}">'
        f'<path d="{shape.edges or " ".join(shape.parts)}" stroke="#000" stroke-opacity=".45" stroke-width="6.5"/>'
        f'<path d="{shape.folds}" stroke="#000" stroke-opacity=".5" stroke-width="4"/>'
        f'<path d="{shape.shine}" stroke="#fff" stroke-opacity=".3" stroke-width="5"/></g>'
    )


def _place(look: Look, shape: Shape) -> tuple:
    """Where the garment lies on the canvas: x, y, degrees, x scale, y scale."""
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
    return look.dx - x * scale, look.dy - y * scale, look.angle, scale * flip, scale


def _pose(place: tuple) -> str:
    return "translate({:.2f} {:.2f}) rotate({:.2f}) scale({:.3f} {:.3f})".format(*place)


def _cut(look: Look):
    """The shape and tones of a garment and the generator that made them, all from its shade."""
    rng = random.Random(look.shade)
    tone = shades(dye(look.color, rng, palette(look)), rng)
    shape = CUTS[look.type](look, rng)
    finish(shape, look)
    return shape, tone, rng


@functools.cache
def _stock(name: str, size: int):
    """Images that every image of this size shares: sensor noise, a vignette."""
    from PIL import Image

    if name == "noise":
        bytes_ = random.Random(size).randbytes(size * size * 3)
        return Image.frombytes("RGB", (size, size), bytes_).point(
            [122 + v * 12 // 255 for v in range(256)] * 3
        )
    dim = Image.radial_gradient("L").resize((size, size), Image.Resampling.BICUBIC)
    return Image.merge(
        "RGB", (dim.point([round(255 - max(0, v - 90) * 0.28) for v in range(256)]),) * 3
    )


@functools.cache
def _ramp(light: float, size: int):
    """Gray 128 where light falls as on the average, brighter towards the lamp."""
    from PIL import Image

    ramp = (
        Image.linear_gradient("L")
        .rotate(70)
        .resize((size, size), Image.Resampling.BICUBIC, box=(40, 40, 216, 216))
    )
    if light < 0:
        ramp = ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    strength = 0.42 * abs(light)
    return ramp.point(
        [round(128 + (v - 128) * strength * (0.6 if v > 128 else 1)) for v in range(256)]
    )


def _expose(elements: str, size: int, mode: str, half: int = 100):
    """A PIL image of SVG elements drawn from -half to half."""
    import resvg_py
    from PIL import Image

    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="{-half} {-half} {2 * half} {2 * half}">{elements}</svg>'
    return Image.open(
        io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)))
    ).convert(mode)


@functools.cache
def _swatch(name: str, size: int):
    """A sheet of one cloth as an L mask, 400 units wide: prints are laid once, then cut to each garment."""
    # resvg takes 50 ms for a turned <pattern>; Pillow turns a sheet in 1.
    return _expose(f'<g fill="#fff">{cloth(name)}</g>', size * 5 // 2, "RGBA", half=200).getchannel(
        "A"
    )


def _turned(name: str, turn: tuple, place: tuple, size: int):
    """A swatch as an L mask turned by (degrees, stretch, dx, dy) and carried along with the garment's place."""
    from PIL import Image

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
        for a, b, e, o in ((*m[:3], ox), (*m[3:], oy))
        for v in (a * px * k, b * px * k, (e + o - 100 * (a + b) + 200) * k)
    ]
    return sheet.transform((size, size), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


def _print(fabric, pattern: str, knit: str, tone: dict, rng: random.Random, place: tuple) -> None:
    """Prints the pattern and the stitches on the fabric image, wherever its dye is bare."""
    from PIL import Image, ImageChops

    size = fabric.width
    layers = []
    if pattern != "plain":
        turns, low, high = TURNS[pattern]
        drift = 0 if pattern == "colour-block" else 8
        turn = (
            rng.choice(turns),
            rng.uniform(low, high),
            rng.uniform(-drift, drift),
            rng.uniform(-drift, drift),
        )
        layers = [(pattern, tone["ink"], turn)] + [("hearts", "#e8b23c", turn)] * (
            pattern == "floral"
        )
    if knit:
        layers.append((knit, tone["fold"], (0, 1, 0, 0)))
    if layers:
        # Buttons, zips and soles are far from the dye in colour; pockets and bands are near and take the print too.
        bare = ImageChops.difference(fabric, Image.new("RGB", fabric.size, tone["base"])).convert(
            "L"
        )
        bare = bare.point([max(0, min(255, 510 - v * 16)) for v in range(256)])
    for name, ink, turn in layers:
        fabric.paste(ink, mask=ImageChops.multiply(_turned(name, turn, place, size), bare))


def silhouette(look: Look, size: int = 256):
    """Where the fabric is in `draw(look)`: an L image, white on the cloth."""
    shape, _, _ = _cut(look)
    each = "".join(f'<path d="{p}"/>' for p in shape.parts)
    return _expose(f'<g fill="#fff" transform="{_pose(_place(look, shape))}">{each}</g>', size, "L")


def draw(look: Look, size: int = 256):
    """The photograph of a look as an RGB PIL image, size x size; the same look gives the same pixels."""
    from PIL import Image, ImageChops, ImageFilter

    shape, tone, rng = _cut(look)
    place = _place(look, shape)
    pose, style = f'<g transform="{_pose(place)}">', f"<style>{_style(tone)}</style>"
    ground = None if shape.stands is None else place[1] + shape.stands * place[4]
    # The room is a little out of focus, so half the pixels are enough: a PNG costs 4 ms at 256.
    room = _expose(
        f"{style}{backdrop(look, ground)}{pose}{shape.behind}{props(look, shape)}</g>",
        size // 2,
        "RGB",
    )
    room = room.resize((size, size), Image.Resampling.BICUBIC)
    cloth = _expose(f"{style}{pose}{_fabric(shape, tone)}{_sewn(shape, tone)}</g>", size, "RGBA")
    alpha, cloth = cloth.getchannel("A"), cloth.convert("RGB")
    _print(cloth, look.pattern, shape.knit, tone, rng, place)
    # Blur and light are Pillow's: it blurs an image in 0.6 ms where an SVG filter takes 20.
    relief = _expose(_relief(shape).format(_pose(place)), size // 2, "L").filter(
        ImageFilter.GaussianBlur(size / 170)
    )
    relief = relief.resize((size, size), Image.Resampling.BILINEAR)
    relief = ImageChops.add(relief, _ramp(round(look.light, 1), size), 1, -128)
    # Multiplying black shows nothing, so black cloth is drawn by its shine; creases in pale cloth are fainter.
    dark, bright = RELIEF.get(look.color, (0.88, 1))
    relief = relief.point(
        [round(128 + (v - 128) * (dark if v < 128 else bright)) for v in range(256)]
    )
    cloth = ImageChops.hard_light(cloth, Image.merge("RGB", (relief,) * 3))
    cast_shadow(room, alpha, look, ground, size)
    room.paste(cloth, mask=alpha)
    return ImageChops.add(
        ImageChops.multiply(room, _stock("vignette", size)), _stock("noise", size), 1, -128
    )
