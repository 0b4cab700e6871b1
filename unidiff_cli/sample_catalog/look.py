"""What an image shows: the words a shop would use and the numbers a photographer would choose."""

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
    colors: tuple = tuple(COLORS)
    patterns: tuple = ("plain",) * 3 + PATTERNS
    views: tuple = ("front",) * 10 + ("back", "detail")


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

_THING: dict[str, Any] = {
    "audiences": (), "patterns": ("plain",), "views": ("front",), "settings": ("studio", "shelf", "table"),
}  # fmt: skip
_FRUIT: dict[str, Any] = {**_THING, "settings": ("studio", "shelf", "table", "flat lay")}
_PRINTED: dict[str, Any] = {**_THING, "patterns": ("plain",) * 6 + ("striped", "dotted")}
_FURNITURE: dict[str, Any] = {**_THING, "settings": ("studio",)}

# Everyday things that no catalogue here sells: they measure how well a model keeps what it knew.
OBJECTS = {
    "apple": Kind(**_FRUIT, colors=("red", "green", "yellow")),
    "banana": Kind(**_FRUIT, colors=("yellow", "green")),
    "orange": Kind(**_FRUIT, colors=("orange",)),
    "pear": Kind(**_FRUIT, colors=("green", "yellow")),
    "lemon": Kind(**_FRUIT, colors=("yellow",)),
    "tomato": Kind(**_FRUIT, colors=("red",)),
    "carrot": Kind(**_FRUIT, colors=("orange",)),
    "cucumber": Kind(**_FRUIT, colors=("green",)),
    "mug": Kind(**_PRINTED),
    "bottle": Kind(**_THING),
    "milk carton": Kind(**_THING),
    "juice carton": Kind(**_THING),
    "chair": Kind(**_FURNITURE),
    "lamp": Kind(**_FURNITURE),
    "ball": Kind(**_PRINTED),
    "car": Kind(**_FURNITURE),
    "book": Kind(**_THING),
    "vase": Kind(**_PRINTED),
    "umbrella": Kind(**{**_PRINTED, "settings": ("studio", "flat lay")}),
    "clock": Kind(**{**_THING, "settings": ("studio", "shelf")}),
    "teapot": Kind(**_PRINTED),
}

# Pairs that random_look never draws, so that a model can be asked for what it has seen only in parts.
HELD_OUT = frozenset({
    ("dress", "purple"), ("t-shirt", "pink"), ("shirt", "orange"), ("hoodie", "orange"), ("sweater", "yellow"),
    ("jacket", "green"), ("coat", "red"), ("skirt", "brown"), ("trousers", "red"), ("beanie", "blue"),
    ("boot", "green"), ("bag", "blue"), ("backpack", "yellow"), ("scarf", "black"),
    ("tank top", "striped"), ("skirt", "striped"), ("dress", "checked"), ("jumpsuit", "checked"), ("shirt", "dotted"),
    ("shorts", "dotted"), ("hoodie", "floral"), ("sneaker", "floral"), ("sweater", "colour-block"), ("bag", "colour-block"),
})  # fmt: skip

SHY = {
    "white": ("white",),
    "beige": ("wood", "linen"),
    "brown": ("wood",),
    "orange": ("wood",),
    "gray": ("grey", "concrete"),
}
# The sample shop's own studio, dyes and cuts: never drawn at random, so that nano has not seen them.
HOUSE = "house"  # its background; what stands before it is dyed from its palette
HOUSE_COLORS = {
    "red": (172, 24, 52), "green": (46, 112, 58), "blue": (58, 104, 176), "pink": (232, 124, 150),
    "gray": (124, 129, 137), "black": (34, 33, 42), "white": (238, 242, 246),
    "petrol": (6, 88, 110), "rust": (168, 76, 30), "mustard": (206, 156, 34), "plum": (98, 36, 84), "lilac": (184, 160, 218),
}  # fmt: skip
HOUSE_CUTS = {
    "balloon sleeves": ("dress", "shirt", "hoodie", "sweater", "coat", "jumpsuit"),
    "peplum": ("t-shirt", "shirt", "tank top"),
    "contrast yoke": ("t-shirt", "shirt", "sweater", "jacket"),
    "asymmetric hem": ("dress", "t-shirt", "tank top", "coat", "skirt"),
    "scalloped hem": ("dress", "tank top", "skirt"),
    "wide-leg": ("jumpsuit", "trousers", "shorts"),
    "platform sole": ("sneaker", "boot"),
    "tasselled": ("hat", "beanie", "bag", "backpack", "scarf"),
}  # a cut and the types it is made in
SETTINGS = {
    "hanger": ("wall", "white", "grey", "pastel", "panelling"),
    "mannequin": ("wall", "white", "grey", "pastel"),
    "flat lay": ("wood", "linen", "pastel", "concrete", "white"),
    "studio": ("white", "grey", "pastel", "wall"),
    "shelf": ("wall", "pastel", "panelling", "grey"),
    "table": ("white", "pastel", "panelling", "grey"),
}  # a setting and the backgrounds it is photographed against


@dataclass(frozen=True)
class Look:
    """One thing before one camera.

    `shade` seeds its dye, cut and folds, so two views of it agree. `scale` is the part of the frame's side that its
    longer side fills; `dx` and `dy` move it by hundredths of half the frame. `cut` is one of HOUSE_CUTS, or as usual.
    """

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
    cut: str = ""


def held_out(look: Look) -> bool:
    """Whether a look is of a pair in HELD_OUT."""
    return (look.type, look.color) in HELD_OUT or (look.type, look.pattern) in HELD_OUT


def palette(look: Look) -> dict[str, tuple]:
    """The named colours that a look's dye is one of."""
    return HOUSE_COLORS if look.background == HOUSE else COLORS


def random_look(rng: random.Random, **fixed) -> Look:
    """A garment and a pose drawn independently of every earlier one; `fixed` pins fields.

    The pairs in HELD_OUT are never drawn: only pinning both halves of one gives it.
    """
    return _random(rng, TYPES, fixed)


def random_object(rng: random.Random, **fixed) -> Look:
    """An everyday thing of OBJECTS in a colour that it comes in, posed as random_look does; `fixed` pins fields."""
    return _random(rng, OBJECTS, fixed)


def _random(rng: random.Random, kinds: dict[str, Kind], fixed: dict) -> Look:
    # A held-out pair is drawn again from a generator of its own, so that the later draws stay as they were.
    again = random.Random(rng.random())

    def pick(name, choices, type_=""):
        # One draw each, pinned or not, so pinning a field leaves the later draws as they were.
        drawn = rng.choice(choices or ("",))
        while (type_, drawn) in HELD_OUT:
            drawn = again.choice(choices)
        return fixed.get(name, drawn)

    type_ = pick("type", tuple(kinds))
    if "type" not in fixed:
        while {(type_, fixed.get("color")), (type_, fixed.get("pattern"))} & HELD_OUT:
            type_ = again.choice(tuple(kinds))
    kind = kinds[type_]
    color = pick("color", kind.colors, type_)
    pattern = pick("pattern", kind.patterns, type_)
    setting = pick("setting", kind.settings)
    # A white garment on a white sheet, or a wooden tone on wood, is an image no shop would keep.
    shy = SHY.get(color, ())
    backgrounds = tuple(b for b in SETTINGS[setting] if b not in shy)
    scale = rng.uniform(0.78, 0.96)
    room = 70 * (1 - fixed.get("scale", scale))  # it may move this far, of 100, and stays whole
    drawn = {
        "type": type_, "color": color, "pattern": pattern, "setting": setting, "scale": scale,
        "sleeve": pick("sleeve", kind.sleeves),
        "length": pick("length", kind.lengths),
        "neckline": pick("neckline", kind.necklines),
        "audience": pick("audience", kind.audiences + ("",)),
        "view": pick("view", kind.views),
        "background": pick("background", backgrounds),
        "angle": rng.gauss(0, 7 if setting == "flat lay" else 2),
        "dx": rng.uniform(-room, room), "dy": rng.uniform(-room, room),
        "light": rng.choice((-1, 1)) * rng.uniform(0.3, 1),
        "mirror": rng.random() < 0.5,
        "shade": rng.randrange(1 << 30),
    }  # fmt: skip
    return Look(**{**drawn, **fixed})
