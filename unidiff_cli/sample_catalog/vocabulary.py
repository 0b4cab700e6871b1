"""The words of the sample shop: types, colours, patterns and cuts, and what each comes in."""

from __future__ import annotations

from dataclasses import dataclass, replace

# The colours of garments and objects, as sRGB of 0-255.
COLORS = {
    "red": (200, 30, 40),
    "orange": (240, 128, 28),
    "yellow": (245, 208, 52),
    "green": (44, 132, 72),
    "blue": (38, 86, 184),
    "purple": (122, 62, 158),
    "pink": (242, 142, 178),
    "brown": (108, 66, 40),
    "black": (30, 30, 34),
    "white": (243, 243, 240),
    "gray": (132, 133, 136),
    "beige": (220, 200, 166),
}
PATTERNS = ("plain", "striped", "dotted", "checked", "floral", "colour-block")
VIEWS = ("front", "back", "detail")
AUDIENCES = ("women", "men", "kids")

# A setting and the backgrounds it is photographed against.
SETTINGS = {
    "hanger": ("wall", "white", "grey", "pastel", "panelling"),
    "mannequin": ("wall", "white", "grey", "pastel"),
    "flat lay": ("wood", "linen", "pastel", "concrete", "white"),
    "studio": ("white", "grey", "pastel", "wall"),
    "shelf": ("wall", "pastel", "panelling", "grey"),
    "table": ("white", "pastel", "panelling", "grey"),
}
# A colour and the backgrounds on which it could not be seen.
HIDDEN_ON = {
    "white": ("white",),
    "beige": ("wood", "linen"),
    "brown": ("wood",),
    "orange": ("wood",),
    "gray": ("grey", "concrete"),
}


@dataclass(frozen=True)
class Kind:
    """What a type comes in; an empty tuple means that the word does not apply.

    A value that stands several times is chosen that many times as often.
    """

    sleeves: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    necklines: tuple[str, ...] = ()
    audiences: tuple[str, ...] = AUDIENCES
    settings: tuple[str, ...] = ("hanger", "mannequin", "flat lay", "studio")
    plural: bool = False
    colors: tuple[str, ...] = tuple(COLORS)
    patterns: tuple[str, ...] = ("plain",) * 3 + PATTERNS
    views: tuple[str, ...] = ("front",) * 10 + ("back", "detail")


_SLEEVES = ("sleeveless", "short", "long")
_NECKS = ("round neck", "v-neck")
_TOP = Kind(sleeves=("long",))
_LEGS = Kind(settings=("hanger", "flat lay", "studio"), plural=True)
_GOODS = Kind(settings=("studio", "flat lay", "shelf"))

# The types of garments that the shop may sell.
TYPES = {
    "dress": Kind(_SLEEVES, ("mini", "midi", "maxi"), (*_NECKS, "square neck"), ("women", "kids")),
    "t-shirt": Kind(("short",), ("", "cropped"), _NECKS),
    "shirt": Kind(("short", "long")),
    "tank top": Kind(("sleeveless",), (), (*_NECKS, "square neck")),
    "hoodie": _TOP,
    "sweater": replace(_TOP, necklines=(*_NECKS, "turtleneck")),
    "jacket": replace(_TOP, lengths=("", "cropped")),
    "coat": replace(_TOP, lengths=("knee-length", "long")),
    "jumpsuit": Kind(_SLEEVES, (), _NECKS, ("women", "kids")),
    "skirt": Kind(
        lengths=("mini", "midi", "maxi"),
        audiences=("women", "kids"),
        settings=("hanger", "flat lay", "studio"),
    ),
    "trousers": replace(_LEGS, lengths=("", "cropped")),
    "shorts": _LEGS,
    "hat": _GOODS,
    "beanie": _GOODS,
    "sneaker": replace(_GOODS, lengths=("low-top", "high-top")),
    "boot": replace(_GOODS, lengths=("ankle", "knee-high")),
    "bag": replace(_GOODS, audiences=("women", "men")),
    "backpack": _GOODS,
    "scarf": Kind(settings=("hanger", "flat lay", "studio")),
}

_OBJECT = Kind(
    audiences=(), patterns=("plain",), views=("front",), settings=("studio", "shelf", "table")
)
_FRUIT = replace(_OBJECT, settings=("studio", "shelf", "table", "flat lay"))
_PRINTED = replace(_OBJECT, patterns=("plain",) * 6 + ("striped", "dotted"))
_FURNITURE = replace(_OBJECT, settings=("studio",))

# Everyday things that no catalogue here sells: they measure how well a model keeps what it knew.
OBJECTS = {
    "apple": replace(_FRUIT, colors=("red", "green", "yellow")),
    "banana": replace(_FRUIT, colors=("yellow", "green")),
    "orange": replace(_FRUIT, colors=("orange",)),
    "pear": replace(_FRUIT, colors=("green", "yellow")),
    "lemon": replace(_FRUIT, colors=("yellow",)),
    "tomato": replace(_FRUIT, colors=("red",)),
    "carrot": replace(_FRUIT, colors=("orange",)),
    "cucumber": replace(_FRUIT, colors=("green",)),
    "mug": _PRINTED,
    "bottle": _OBJECT,
    "milk carton": _OBJECT,
    "juice carton": _OBJECT,
    "chair": _FURNITURE,
    "lamp": _FURNITURE,
    "ball": _PRINTED,
    "car": _FURNITURE,
    "book": _OBJECT,
    "vase": _PRINTED,
    "umbrella": replace(_PRINTED, settings=("studio", "flat lay")),
    "clock": replace(_OBJECT, settings=("studio", "shelf")),
    "teapot": _PRINTED,
}

# Pairs that random_look never chooses: a model that learned from its looks knows the halves only.
HELD_OUT = frozenset(
    {
        ("dress", "purple"),
        ("t-shirt", "pink"),
        ("shirt", "orange"),
        ("hoodie", "orange"),
        ("sweater", "yellow"),
        ("jacket", "green"),
        ("coat", "red"),
        ("skirt", "brown"),
        ("trousers", "red"),
        ("beanie", "blue"),
        ("boot", "green"),
        ("bag", "blue"),
        ("backpack", "yellow"),
        ("scarf", "black"),
        ("tank top", "striped"),
        ("skirt", "striped"),
        ("dress", "checked"),
        ("jumpsuit", "checked"),
        ("shirt", "dotted"),
        ("shorts", "dotted"),
        ("hoodie", "floral"),
        ("sneaker", "floral"),
        ("sweater", "colour-block"),
        ("bag", "colour-block"),
    }
)

# The sample shop's own studio, dyes and cuts: random_look never chooses them, so nano never saw
# them. HOUSE is its background; what stands before it is dyed from its palette.
HOUSE = "house"
HOUSE_COLORS = {
    "red": (172, 24, 52),
    "green": (46, 112, 58),
    "blue": (58, 104, 176),
    "pink": (232, 124, 150),
    "gray": (124, 129, 137),
    "black": (34, 33, 42),
    "white": (238, 242, 246),
    "petrol": (6, 88, 110),
    "rust": (168, 76, 30),
    "mustard": (206, 156, 34),
    "plum": (98, 36, 84),
    "lilac": (184, 160, 218),
}
# A cut and the types it is made in.
HOUSE_CUTS = {
    "balloon sleeves": ("dress", "shirt", "hoodie", "sweater", "coat", "jumpsuit"),
    "peplum": ("t-shirt", "shirt", "tank top"),
    "contrast yoke": ("t-shirt", "shirt", "sweater", "jacket"),
    "asymmetric hem": ("dress", "t-shirt", "tank top", "coat", "skirt"),
    "scalloped hem": ("dress", "tank top", "skirt"),
    "wide-leg": ("jumpsuit", "trousers", "shorts"),
    "platform sole": ("sneaker", "boot"),
    "tasselled": ("hat", "beanie", "bag", "backpack", "scarf"),
}
