"""A look: one thing as one image shows it, in a shop's words and a photographer's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from unidiff_cli.sample_catalog.vocabulary import (
    COLORS,
    HELD_OUT,
    HIDDEN_ON,
    HOUSE,
    HOUSE_COLORS,
    OBJECTS,
    SETTINGS,
    TYPES,
    Kind,
)


@dataclass(frozen=True)
class Look:
    """One thing before one camera.

    `shade` seeds its dye, cut and folds, so that two views of it agree. `scale` is the part of the
    frame's side that its longer side fills. `dx` and `dy` move it by hundredths of half the frame.
    `cut` is one of HOUSE_CUTS, or empty for the usual one.
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


def palette(look: Look) -> dict[str, tuple[int, int, int]]:
    """The named colours that a look's dye is one of."""
    return HOUSE_COLORS if look.background == HOUSE else COLORS


def random_look(rng: Random, **fixed: Any) -> Look:
    """A garment and a pose, independent of every earlier one; `fixed` pins fields.

    The pairs in HELD_OUT are never chosen: only pinning both halves of one gives it.
    """
    return _random(rng, TYPES, fixed)


def random_object(rng: Random, **fixed: Any) -> Look:
    """An everyday thing of OBJECTS in a colour that it comes in, posed as random_look does.

    `fixed` pins fields.
    """
    return _random(rng, OBJECTS, fixed)


def _random(rng: Random, kinds: Mapping[str, Kind], fixed: Mapping[str, Any]) -> Look:
    # A held-out pair is replaced by another generator's choice, so that the later ones stay.
    spare = Random(rng.random())

    def pick(name: str, choices: tuple[str, ...], type_: str = "") -> Any:
        # One number each, pinned or not, so that pinning a field leaves the later choices.
        choice = rng.choice(choices or ("",))
        while (type_, choice) in HELD_OUT:
            choice = spare.choice(choices)
        return fixed.get(name, choice)

    type_ = pick("type", tuple(kinds))
    if "type" not in fixed:
        while {(type_, fixed.get("color")), (type_, fixed.get("pattern"))} & HELD_OUT:
            type_ = spare.choice(tuple(kinds))
    kind = kinds[type_]
    color = pick("color", kind.colors, type_)
    pattern = pick("pattern", kind.patterns, type_)
    setting = pick("setting", kind.settings)
    # A white garment on a white sheet, or a wooden tone on wood: no shop would keep that image.
    hidden = HIDDEN_ON.get(color, ())
    backgrounds = tuple(name for name in SETTINGS[setting] if name not in hidden)
    scale = rng.uniform(0.78, 0.96)
    # It may move this far, in hundredths, and stays whole.
    slack = 70 * (1 - fixed.get("scale", scale))
    fields = {
        "type": type_,
        "color": color,
        "pattern": pattern,
        "setting": setting,
        "scale": scale,
        "sleeve": pick("sleeve", kind.sleeves),
        "length": pick("length", kind.lengths),
        "neckline": pick("neckline", kind.necklines),
        "audience": pick("audience", (*kind.audiences, "")),
        "view": pick("view", kind.views),
        "background": pick("background", backgrounds),
        "angle": rng.gauss(0, 7 if setting == "flat lay" else 2),
        "dx": rng.uniform(-slack, slack),
        "dy": rng.uniform(-slack, slack),
        "light": rng.choice((-1, 1)) * rng.uniform(0.3, 1),
        "mirror": rng.random() < 0.5,
        "shade": rng.randrange(1 << 30),
    }
    return Look(**{**fields, **fixed})
