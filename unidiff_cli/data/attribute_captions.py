"""Captions that say what kind of product an image shows and no more, and captions without colours.

Both are made of a catalogue's class columns: see `attributes.class_columns`. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from unidiff_cli.data.attributes import (
    COLOURS,
    KINDS,
    Attribute,
    class_columns,
    column_for,
    named_values,
    value_pattern,
)
from unidiff_cli.data.captions import fill, fold
from unidiff_cli.data.prompts import load_prompts
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of

TEMPLATES = load_prompts().attribute_captions
# Captions kept once made.
KEPT = 100_000
_DIVIDERS = " ,;:/|&+-–—"


class AttributeCaptions:
    """The captions that rows have by their attributes.

    `kind` and `colour` are the columns that name kinds of products and their colours, None where
    there is none. `details` are the other class columns whose values captions name, without those
    that name single products.
    """

    def __init__(self, rows: Sequence[Row], known: Mapping[str, Attribute] | None = None) -> None:
        """`known` are the attributes of the catalogue, found from these rows where not given."""
        classes = class_columns(column_of(rows, "attributes"), known)
        self.kind, self.colour = column_for(classes, KINDS), column_for(classes, COLOURS)
        nothing: list[str | None] = [None] * len(rows)
        self.kinds = classes.pop(self.kind or "", nothing)
        self.colours = classes.pop(self.colour or "", nothing)
        groups = column_of(rows, "group")
        texts = [" | ".join(captions) for captions in column_of(rows, "captions")]
        named = {
            name: values
            for name, cells in classes.items()
            if not _names_products(cells, groups) and any(values := named_values(texts, cells))
        }
        self.details = list(named)
        self._details = [
            ", ".join(_spaced(value) for value in values if value)
            for values in (zip(*named.values(), strict=True) if named else [()] * len(rows))
        ]
        self._pattern = _colour_pattern({value for value in self.colours if value})

    def caption(self, index: int, template: int = 0, colour: bool = True) -> str | None:
        """A row's caption by one of TEMPLATES; None where the row has no kind.

        It names the row's kind, its colour where it has one, and those details that one of the
        row's captions names. Without `colour` it names none.
        """
        kind = self.kinds[index]
        if kind is None:
            return None
        value = (self.colours[index] if colour else None) or ""
        text = _filled(template, kind, value, self._details[index])
        return text if colour else self.without_colour(text)

    def without_colour(self, text: str) -> str:
        """A text without every colour that the catalogue names; as it is where it has none."""
        return text if self._pattern is None else _without(self._pattern, text)


@lru_cache(maxsize=KEPT)
def _filled(template: int, kind: str, colour: str, details: str) -> str:
    cells = {"kind": _spaced(kind), "colour": colour, "details": details}
    return fill(TEMPLATES[template], cells)


@lru_cache(maxsize=KEPT)
def _without(pattern: re.Pattern[str], text: str) -> str:
    """A text without what a pattern finds, its brackets and commas in order."""
    if not pattern.search(text):
        return text
    text = re.sub(r"\(\s*\)|\[\s*\]", "", pattern.sub("", text))
    text = re.sub(r"\s+([,;:.)\]])", r"\1", fold(text))
    return re.sub(r"([,;])(?:\s*[,;])+", r"\1", text).strip(_DIVIDERS)


def _names_products(column: Sequence[str | None], groups: Sequence[str]) -> bool:
    """Whether most values of a column are each of one product only."""
    groups_of: dict[str, set[str]] = {}
    for value, group in zip(column, groups, strict=True):
        if value is not None:
            groups_of.setdefault(value, set()).add(group)
    single = sum(len(of) == 1 for of in groups_of.values())
    return 2 * single > len(groups_of)


def _spaced(value: str) -> str:
    return value.replace("_", " ")


def _colour_pattern(colours: set[str]) -> re.Pattern[str] | None:
    """Finds colours with the words and signs that lead to them; None where there is no colour."""
    if not colours:
        return None
    prompts = load_prompts()
    before, between = (
        "|".join(map(re.escape, words))
        for words in (prompts.before_colours, prompts.between_colours)
    )
    value = "|".join(value_pattern(c).pattern for c in sorted(colours, key=len, reverse=True))
    leads = rf"(?:(?<!\w)(?:{before})\W+|[/&+–—-]\s*)*"
    return re.compile(rf"{leads}(?:{value})(?:\s*(?:{between}|[/&+–—-])\s*(?:{value}))*", re.I)
