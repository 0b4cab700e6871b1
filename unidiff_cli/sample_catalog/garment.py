"""A garment or an everyday thing of a look: its shape, its tones, and its layers as SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from unidiff_cli.sample_catalog import (
    accessories,
    bottoms,
    containers,
    dresses,
    footwear,
    objects,
    produce,
    tops,
)
from unidiff_cli.sample_catalog.drafting import Shape
from unidiff_cli.sample_catalog.fabric import dye, shades
from unidiff_cli.sample_catalog.look import Look, palette
from unidiff_cli.sample_catalog.trimmings import finish

Tones = Mapping[str, str]

CUTS: dict[str, Callable[[Look, Random], Shape]] = {
    "dress": dresses.dress,
    "t-shirt": tops.t_shirt,
    "shirt": tops.shirt,
    "tank top": tops.tank_top,
    "hoodie": tops.hoodie,
    "sweater": tops.sweater,
    "jacket": tops.jacket,
    "coat": tops.coat,
    "jumpsuit": dresses.jumpsuit,
    "skirt": bottoms.skirt,
    "trousers": bottoms.trousers,
    "shorts": bottoms.shorts,
    "hat": accessories.hat,
    "beanie": accessories.beanie,
    "sneaker": footwear.sneaker,
    "boot": footwear.boot,
    "bag": accessories.bag,
    "backpack": accessories.backpack,
    "scarf": accessories.scarf,
    "apple": produce.apple,
    "banana": produce.banana,
    "orange": produce.orange,
    "pear": produce.pear,
    "lemon": produce.lemon,
    "tomato": produce.tomato,
    "carrot": produce.carrot,
    "cucumber": produce.cucumber,
    "mug": containers.mug,
    "bottle": containers.bottle,
    "milk carton": containers.milk_carton,
    "juice carton": containers.juice_carton,
    "chair": objects.chair,
    "lamp": objects.lamp,
    "ball": objects.ball,
    "car": objects.car,
    "book": objects.book,
    "vase": containers.vase,
    "umbrella": objects.umbrella,
    "clock": objects.clock,
    "teapot": containers.teapot,
}


def garment(look: Look) -> tuple[Shape, dict[str, str], Random]:
    """The shape and tones of a look and the generator that made them, all from its shade."""
    rng = Random(look.shade)
    tone = shades(dye(look.color, rng, palette(look)), rng)
    shape = CUTS[look.type](look, rng)
    finish(shape, look)
    return shape, tone, rng


def style(tone: Tones) -> str:
    """The style sheet of the classes that details are coloured by."""
    line, dark = tone["line"], tone["dark"]
    rules = (
        f".base{{fill:{tone['base']}}}",
        f".dark{{fill:{dark}}}",
        f".deep{{fill:{tone['deep']}}}",
        f".light{{fill:{tone['light']}}}",
        f".trim{{fill:{tone['trim']};stroke:#000;stroke-opacity:.35;stroke-width:.5}}",
        ".metal{fill:#c8b37a;stroke:#5b4a20;stroke-width:.7}",
        f".heel{{fill:{tone['sole']}}}",
        ".sole{fill:#f3f1ec;stroke:#a9a6a0;stroke-width:.8}",
        f".edge,.pocket,.seam{{stroke:{line};stroke-opacity:.6;stroke-width:.9}}",
        ".seam{fill:none}",
        f".pocket{{fill:{tone['fold']};fill-opacity:.1}}",
        f".rim{{fill:none;stroke:{dark}}}",
        f".zip{{fill:none;stroke:{line};stroke-width:1.8}}",
        f".strap{{stroke:{dark};stroke-width:6;stroke-linecap:round}}",
        f".fringe{{fill:none;stroke:{tone['base']};stroke-width:2}}",
        f".rib{{fill:{tone['rib']}}}",
        f".neckrib{{fill:none;stroke:{tone['rib']}}}",
        f".contrast{{fill:{tone['contrast']}}}",
        ".lace{stroke:#f7f5f0;stroke-width:3.4;stroke-linecap:round}",
        ".ribs{fill:none;stroke:#000;stroke-opacity:.25;stroke-width:1.3}",
    )
    return f"<style>{''.join(rules)}</style>"


def fabric(shape: Shape, tone: Tones) -> str:
    """SVG of the pieces of fabric in flat dye, with seams and whatever is sewn on them."""
    rim = shape.edges or " ".join(shape.parts)
    return (
        f'<g fill="{tone["base"]}">{silhouette(shape)}</g>'
        f'<path d="{rim}" fill="none" stroke="{tone["fold"]}" stroke-opacity=".4" '
        'stroke-width=".8"/>'
        f'<path d="{shape.seams}" fill="none" stroke="{tone["line"]}" stroke-opacity=".55" '
        f'stroke-width=".9"/>{shape.details}'
    )


def silhouette(shape: Shape) -> str:
    """SVG of the pieces of fabric without a colour."""
    return "".join(f'<path d="{part}"/>' for part in shape.parts)


def relief(shape: Shape, pose: str) -> str:
    """SVG of how the cloth lies, posed: gray where flat, dark in creases, light on ridges."""
    rim = shape.edges or " ".join(shape.parts)
    return (
        '<rect x="-100" y="-100" width="200" height="200" fill="#808080"/>'
        f'<g fill="none" stroke-linecap="round" transform="{pose}">'
        f'<path d="{rim}" stroke="#000" stroke-opacity=".45" stroke-width="6.5"/>'
        f'<path d="{shape.folds}" stroke="#000" stroke-opacity=".5" stroke-width="4"/>'
        f'<path d="{shape.shine}" stroke="#fff" stroke-opacity=".3" stroke-width="5"/></g>'
    )
