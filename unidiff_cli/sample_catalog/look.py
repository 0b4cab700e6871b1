"""What a picture shows: the words a shop would use and the numbers a photographer would choose."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

COLORS = {
    "red": (200, 30, 40), "orange": (240, 128, 28), "yellow": (245, 208, 52), "green": (44, 132, 72),
    "blue": (38, 86, 184), "purple": (122, 62, 158), "pink": (242, 142, 178), "brown": (108, 66, 40),
    "black": (30, 30, 34), "white": (243, 243, 240), "gray": (132, 133, 136), "beige": (220, 200, 166),
}  # fmt: skip
PATTERNS = ("plain", "striped", "dotted", "checked", "floral", "colour-block")
VIEWS = ("front", "back", "detail")
AUDIENCES = ("women", "men", "kids")


@dataclass(frozen=True)
class Kind:
    """What a type of garment comes in; an empty tuple means the word does not apply."""

    sleeves: tuple = ()
    lengths: tuple = ()
    necklines: tuple = ()
    audiences: tuple = AUDIENCES
    settings: tuple = ("hanger", "mannequin", "flat lay", "studio")
    plural: bool = False


_SLEEVES = ("sleeveless", "short", "long")
_NECKS = ("round neck", "v-neck")
_LEGS: dict[str, Any] = {"settings": ("hanger", "flat lay", "studio"), "plural": True}
_GOODS: dict[str, Any] = {"settings": ("studio", "flat lay", "shelf")}

TYPES = {
    "dress": Kind(_SLEEVES, ("mini", "midi", "maxi"), (*_NECKS, "square neck"), ("women", "kids")),
    "t-shirt": Kind(("short",), ("", "cropped"), _NECKS),
    "shirt": Kind(("short", "long")),
    "tank top": Kind(("sleeveless",), (), (*_NECKS, "square neck")),
    "hoodie": Kind(("long",)),
    "sweater": Kind(("long",), (), (*_NECKS, "turtleneck")),
    "jacket": Kind(("long",), ("", "cropped")),
    "coat": Kind(("long",), ("knee-length", "long")),
    "jumpsuit": Kind(_SLEEVES, (), _NECKS, ("women", "kids")),
    "skirt": Kind((), ("mini", "midi", "maxi"), (), ("women", "kids"), ("hanger", "flat lay", "studio")),
    "trousers": Kind((), ("", "cropped"), **_LEGS),
    "shorts": Kind(**_LEGS),
    "hat": Kind((), **_GOODS),
    "beanie": Kind((), **_GOODS),
    "sneaker": Kind((), ("low-top", "high-top"), **_GOODS),
    "boot": Kind((), ("ankle", "knee-high"), **_GOODS),
    "bag": Kind((), (), (), ("women", "men"), **_GOODS),
    "backpack": Kind((), **_GOODS),
    "scarf": Kind((), (), (), ("women", "men", "kids"), ("hanger", "flat lay", "studio")),
}  # fmt: skip

SHY = {
    "white": ("white",),
    "beige": ("wood", "linen"),
    "brown": ("wood",),
    "orange": ("wood",),
    "gray": ("grey", "concrete"),
}
HOUSE = "house"  # the sample shop's background: never drawn at random, so that nano has not seen it
SETTINGS = {
    "hanger": ("wall", "white", "grey", "pastel", "panelling"),
    "mannequin": ("wall", "white", "grey", "pastel"),
    "flat lay": ("wood", "linen", "pastel", "concrete", "white"),
    "studio": ("white", "grey", "pastel", "wall"),
    "shelf": ("wall", "pastel", "panelling", "grey"),
}  # a setting and the backgrounds it is photographed against


@dataclass(frozen=True)
class Look:
    """One garment before one camera; `shade` seeds its dye, cut and folds, so two views of it agree."""

    type: str
    color: str
    pattern: str = "plain"
    sleeve: str = ""
    length: str = ""
    neckline: str = ""
    audience: str = ""
    view: str = "front"
    setting: str = "studio"
    background: str = "white"
    scale: float = 0.86
    angle: float = 0.0
    dx: float = 0.0
    dy: float = 0.0
    light: float = -0.5
    mirror: bool = False
    shade: int = 0


def random_look(rng: random.Random, **fixed) -> Look:
    """A garment and a pose drawn independently of every earlier one; `fixed` pins fields."""

    def pick(name, choices):
        # One draw each, pinned or not, so pinning a field leaves the later draws as they were.
        drawn = rng.choice(choices or ("",))
        return fixed.get(name, drawn)

    type_ = pick("type", tuple(TYPES))
    kind = TYPES[type_]
    color = pick("color", tuple(COLORS))
    pattern = pick("pattern", ("plain",) * 3 + PATTERNS)
    setting = pick("setting", kind.settings)
    # A white garment on a white sheet, or a wooden tone on wood, is a picture no shop would keep.
    shy = SHY.get(color, ())
    backgrounds = tuple(b for b in SETTINGS[setting] if b not in shy)
    drawn = {
        "type": type_, "color": color, "pattern": pattern, "setting": setting,
        "sleeve": pick("sleeve", kind.sleeves),
        "length": pick("length", kind.lengths),
        "neckline": pick("neckline", kind.necklines),
        "audience": pick("audience", kind.audiences + ("",)),
        "view": pick("view", ("front",) * 6 + ("back", "detail")),
        "background": pick("background", backgrounds),
        "scale": rng.uniform(0.82, 1.0),
        "angle": rng.gauss(0, 7 if setting == "flat lay" else 2),
        "dx": rng.uniform(-7, 7), "dy": rng.uniform(-5, 5),
        "light": rng.choice((-1, 1)) * rng.uniform(0.3, 1),
        "mirror": rng.random() < 0.5,
        "shade": rng.randrange(1 << 30),
    }  # fmt: skip
    return Look(**{**drawn, **fixed})
