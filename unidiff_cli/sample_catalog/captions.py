"""What a shop would write under an image."""

from __future__ import annotations

import random

from unidiff_cli.sample_catalog.look import OBJECTS, TYPES, Look

NAMES = (
    "Juno", "Alma", "Bruna", "Cleo", "Dario", "Elin", "Fjord", "Greta", "Hugo", "Ines", "Jonas", "Kaia", "Lior", "Mika",
    "Nola", "Otis", "Pia", "Quinn", "Rhea", "Saul", "Tove", "Ugo", "Vera", "Wilma", "Xenia", "Yara", "Zora", "Aster",
    "Birch", "Clove", "Dune", "Ember", "Fern", "Gale", "Harbour", "Isle", "Jasper", "Kelp", "Linden", "Moss", "Nettle",
    "Opal", "Pine", "Quarry", "Reed", "Sorrel", "Thyme", "Umber", "Vale", "Willow",
)  # fmt: skip
PATTERN_WORDS = {
    "plain": ("", "", "", "plain"), "striped": ("striped",), "dotted": ("dotted", "polka dot"),
    "checked": ("checked", "plaid"), "floral": ("floral", "flower print"), "colour-block": ("colour-block",),
}  # fmt: skip
SLEEVE_WORDS = {
    "": "",
    "sleeveless": "sleeveless",
    "short": "short sleeved",
    "long": "long sleeved",
}
SETTING_WORDS = {
    "hanger": ("on a hanger",), "mannequin": ("on a mannequin",), "flat lay": ("laid flat", "flat lay"),
    "studio": ("in the studio", "studio photo"), "shelf": ("on a shelf",), "table": ("on a table",),
}  # fmt: skip
VIEW_WORDS = {"front": "", "back": "back view", "detail": "close-up"}
# Nobody says that a coat has sleeves.
_OBVIOUS = ("coat", "jacket", "hoodie", "sweater", "tank top", "t-shirt")


def _article(noun_phrase: str, plural: bool) -> str:
    if plural:
        return f"a pair of {noun_phrase}"
    return ("an " if noun_phrase[0] in "aeiou" else "a ") + noun_phrase


def _join(*words: str) -> str:
    return " ".join(w for w in words if w)


def caption(look: Look, rng: random.Random, name: str = "") -> str:
    """One of many phrasings for a look, always with its colour and type; `name` is a product's, such as "Juno dress"."""

    def often(word, chance):
        return word if rng.random() < chance else ""

    if look.type in OBJECTS:
        return _object(look, rng)
    kind = TYPES[look.type]
    pattern = often(rng.choice(PATTERN_WORDS[look.pattern]), 0.95 if name else 0.85)
    sleeve = often(SLEEVE_WORDS[look.sleeve], 0.15 if look.type in _OBVIOUS else 0.6)
    length, neck = often(look.length, 0.75), often(look.neckline, 0.4)
    owner = often(look.audience, 0.5)
    whose = owner and owner + ("'" if owner == "kids" else "'s")
    place = often(rng.choice(SETTING_WORDS[look.setting]), 0.2)
    view = VIEW_WORDS[look.view] if name else often(VIEW_WORDS[look.view], 0.6)
    # No draw where there is none: nano's own captions stay as they were.
    cut = look.cut and often(look.cut, 0.75)
    noun = _join(neck, length, look.type)

    def tail(*words):
        return "".join(f", {w}" for w in words if w)

    if name:
        given = name.removesuffix(look.type).strip()
        return rng.choice((
            f"{_join(given, length, look.type)} in {look.color}{tail(pattern, sleeve, neck, cut, owner, view)}",
            f"{given}: {_join(sleeve, pattern, look.color, noun)}{tail(cut, owner and 'for ' + owner, view)}",
            f"{_join(given, sleeve, noun)}{tail(_join(pattern, look.color), cut, owner, view)}",
            f"{_join(whose, look.color, pattern, noun)} {given}{tail(sleeve, cut, view)}",
            f"{_join(given, pattern, look.type)}{tail(look.color, sleeve, length, neck, cut, owner, view)}",
        ))  # fmt: skip
    phrase = _join(sleeve, pattern, look.color, noun)
    return rng.choice((
        f"{look.color} {look.type}",
        _join(pattern, look.color, look.type),
        phrase,
        _join(whose, phrase),
        _join(phrase, owner and f"for {owner}", place),
        f"{_article(_join(sleeve, pattern, look.color, noun), kind.plural)}{tail(view)}",
        f"a photo of {_article(_join(pattern, look.color, look.type), kind.plural)}",
        f"a photo of {_article(phrase, kind.plural)}{' for ' + owner if owner else ''}",
        f"{_join(whose, sleeve, noun)} in {look.color}{tail(pattern, view)}",
        f"{look.color} {noun}{tail(pattern, sleeve, owner, place)}",
        f"{_join(pattern, look.type)}, {look.color}{tail(length, sleeve, owner)}",
    ))  # fmt: skip


def _object(look: Look, rng: random.Random) -> str:
    """One of many phrasings for an everyday thing."""
    # Nobody says "an orange orange".
    color = "" if look.color == look.type else look.color
    pattern = rng.choice(PATTERN_WORDS[look.pattern])
    thing = _join(color, look.type)
    printed = _join(pattern, thing)
    place = rng.choice(SETTING_WORDS[look.setting])
    where = place if place.startswith("on ") else ""
    return rng.choice((
        thing,
        printed,
        _article(thing, False),
        _article(printed, False),
        f"a photo of {_article(thing, False)}",
        f"a photo of {_article(printed, False)}",
        _join("a photo of", _article(printed, False), where),
        _join(printed, where),
        f"{printed}, {place}",
        f"the {printed}",
        ", ".join(w for w in (look.type, color, pattern) if w),
    ))  # fmt: skip
