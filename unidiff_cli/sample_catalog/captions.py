"""What a shop would write under an image."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from unidiff_cli.sample_catalog.look import Look
from unidiff_cli.sample_catalog.vocabulary import OBJECTS, TYPES

# A product's own name: each type can bear each name once.
NAMES = tuple(
    """
    Juno Alma Bruna Cleo Dario Elin Fjord Greta Hugo Ines Jonas Kaia Lior Mika Nola Otis Pia Quinn
    Rhea Saul Tove Ugo Vera Wilma Xenia Yara Zora Aster Birch Clove Dune Ember Fern Gale Harbour
    Isle Jasper Kelp Linden Moss Nettle Opal Pine Quarry Reed Sorrel Thyme Umber Vale Willow
    """.split()
)
PATTERN_WORDS = {
    "plain": ("", "", "", "plain"),
    "striped": ("striped",),
    "dotted": ("dotted", "polka dot"),
    "checked": ("checked", "plaid"),
    "floral": ("floral", "flower print"),
    "colour-block": ("colour-block",),
}
SLEEVE_WORDS = {
    "": "",
    "sleeveless": "sleeveless",
    "short": "short sleeved",
    "long": "long sleeved",
}
SETTING_WORDS = {
    "hanger": ("on a hanger",),
    "mannequin": ("on a mannequin",),
    "flat lay": ("laid flat", "flat lay"),
    "studio": ("in the studio", "studio photo"),
    "shelf": ("on a shelf",),
    "table": ("on a table",),
}
VIEW_WORDS = {"front": "", "back": "back view", "detail": "close-up"}
# Nobody says that a coat has sleeves.
_OBVIOUS = ("coat", "jacket", "hoodie", "sweater", "tank top", "t-shirt")


@dataclass(frozen=True)
class _Words:
    """The words of one look that one caption may use; a word left out is empty."""

    type: str
    color: str
    plural: bool
    pattern: str
    sleeve: str
    length: str
    neckline: str
    owner: str
    place: str
    view: str
    cut: str

    @property
    def noun(self) -> str:
        return _join(self.neckline, self.length, self.type)

    @property
    def whose(self) -> str:
        return self.owner and self.owner + ("'" if self.owner == "kids" else "'s")

    @property
    def for_owner(self) -> str:
        return self.owner and f"for {self.owner}"


def caption(look: Look, rng: Random, name: str = "") -> str:
    """One of many phrasings for a look, always with its colour and type.

    `name` is a product's, such as "Juno dress".
    """
    if look.type in OBJECTS:
        return rng.choice(_object_phrasings(look, rng))
    words = _words(look, rng, bool(name))
    return rng.choice(_product_phrasings(words, name) if name else _phrasings(words))


def _words(look: Look, rng: Random, named: bool) -> _Words:
    def often(word: str, chance: float) -> str:
        return word if rng.random() < chance else ""

    # The order of these lines is the order of the random numbers.
    pattern = often(rng.choice(PATTERN_WORDS[look.pattern]), 0.95 if named else 0.85)
    sleeve = often(SLEEVE_WORDS[look.sleeve], 0.15 if look.type in _OBVIOUS else 0.6)
    length, neckline = often(look.length, 0.75), often(look.neckline, 0.4)
    owner = often(look.audience, 0.5)
    place = often(rng.choice(SETTING_WORDS[look.setting]), 0.2)
    view = VIEW_WORDS[look.view] if named else often(VIEW_WORDS[look.view], 0.6)
    # No random number for a look without a cut: the captions nano learned from stay as they were.
    cut = look.cut and often(look.cut, 0.75)
    return _Words(
        look.type,
        look.color,
        TYPES[look.type].plural,
        pattern,
        sleeve,
        length,
        neckline,
        owner,
        place,
        view,
        cut,
    )


def _product_phrasings(w: _Words, name: str) -> tuple[str, ...]:
    """The captions a product of this name may have."""
    given = name.removesuffix(w.type).strip()
    return (
        f"{_join(given, w.length, w.type)} in {w.color}"
        + _tail(w.pattern, w.sleeve, w.neckline, w.cut, w.owner, w.view),
        f"{given}: {_join(w.sleeve, w.pattern, w.color, w.noun)}"
        + _tail(w.cut, w.for_owner, w.view),
        _join(given, w.sleeve, w.noun) + _tail(_join(w.pattern, w.color), w.cut, w.owner, w.view),
        f"{_join(w.whose, w.color, w.pattern, w.noun)} {given}" + _tail(w.sleeve, w.cut, w.view),
        _join(given, w.pattern, w.type)
        + _tail(w.color, w.sleeve, w.length, w.neckline, w.cut, w.owner, w.view),
    )


def _phrasings(w: _Words) -> tuple[str, ...]:
    """The captions a garment without a name may have."""
    phrase = _join(w.sleeve, w.pattern, w.color, w.noun)
    return (
        f"{w.color} {w.type}",
        _join(w.pattern, w.color, w.type),
        phrase,
        _join(w.whose, phrase),
        _join(phrase, w.for_owner, w.place),
        _article(phrase, w.plural) + _tail(w.view),
        f"a photo of {_article(_join(w.pattern, w.color, w.type), w.plural)}",
        _join(f"a photo of {_article(phrase, w.plural)}", w.for_owner),
        f"{_join(w.whose, w.sleeve, w.noun)} in {w.color}" + _tail(w.pattern, w.view),
        f"{w.color} {w.noun}" + _tail(w.pattern, w.sleeve, w.owner, w.place),
        f"{_join(w.pattern, w.type)}, {w.color}" + _tail(w.length, w.sleeve, w.owner),
    )


def _object_phrasings(look: Look, rng: Random) -> tuple[str, ...]:
    """The captions an everyday thing may have."""
    # Nobody says "an orange orange".
    color = "" if look.color == look.type else look.color
    pattern = rng.choice(PATTERN_WORDS[look.pattern])
    thing = _join(color, look.type)
    printed = _join(pattern, thing)
    place = rng.choice(SETTING_WORDS[look.setting])
    where = place if place.startswith("on ") else ""
    return (
        thing,
        printed,
        _article(thing),
        _article(printed),
        f"a photo of {_article(thing)}",
        f"a photo of {_article(printed)}",
        _join("a photo of", _article(printed), where),
        _join(printed, where),
        f"{printed}, {place}",
        f"the {printed}",
        ", ".join(word for word in (look.type, color, pattern) if word),
    )


def _article(noun_phrase: str, plural: bool = False) -> str:
    if plural:
        return f"a pair of {noun_phrase}"
    return ("an " if noun_phrase[0] in "aeiou" else "a ") + noun_phrase


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def _tail(*words: str) -> str:
    """The words that are not empty, each after a comma."""
    return "".join(f", {word}" for word in words if word)
