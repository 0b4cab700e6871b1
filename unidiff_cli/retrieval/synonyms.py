"""Words of captions that stand for a value of an attribute: "plaid" where the pattern is checked.

Such a word takes the place of the value's own name. Nearly all images whose captions hold the word
have the value, hardly any of these captions name the value as well, and those of the value's other
images mostly do. "skirt" is no synonym of the gender "women", though every skirt has it: captions
that name the gender name it of skirts too, and elsewhere none does.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unidiff_cli.data.attributes import Attribute, class_columns, named_values
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of
from unidiff_cli.errors import Damaged
from unidiff_cli.retrieval.words import words_of
from unidiff_cli.system import first_line

FILE = "synonyms.json"
# Of the images whose captions hold the word, the share that has the value.
HAVE = 0.9
# Of those, the most whose captions name the value as well; of the value's others, the least.
ALSO, ELSE = 0.2, 0.5
# Products whose captions hold the word.
PRODUCTS = 5


@dataclass(frozen=True)
class Synonym:
    """What a word stands for: of `of` images whose captions hold it, `images` have the value."""

    column: str
    value: str
    images: int
    of: int


@dataclass(frozen=True)
class Offer:
    """A filter for what words of a query stand for. It is offered, and never applied unasked."""

    words: tuple[str, ...]
    synonym: Synonym

    @property
    def where(self) -> str:
        """The filter, as `where` takes it."""
        name = self.synonym.column
        name = name if name.isidentifier() else f"`{name}`"
        value = self.synonym.value.replace("'", "''")
        return f"{name} = '{value}'"

    @property
    def reason(self) -> str:
        """Why it is offered, as a whole sentence."""
        words = " and ".join(f"'{word}'" for word in self.words)
        known, stand = self.synonym, "stands" if len(self.words) == 1 else "stand"
        return (
            f"In captions {words} {stand} for {known.column} '{known.value}', "
            f"in {known.images:,} of {known.of:,} images."
        )


def learn(
    rows: Sequence[Row], attributes: Mapping[str, Attribute] | None = None
) -> dict[str, Synonym]:
    """What words of the captions stand for, by the word in small letters.

    Asked are the attributes whose values are kinds of things, as colours are. A word that stands
    for values of several attributes has the one that more of its images have.
    """
    captions = [" ".join(texts) for texts in column_of(rows, "captions")]
    words = _frequent_words(captions)
    groups = list(column_of(rows, "group"))
    found: dict[str, Synonym] = {}
    columns = class_columns(column_of(rows, "attributes"), attributes)
    for name, values in columns.items():
        if "`" in name:
            continue
        for word, synonym in _of_column(name, values, captions, words, groups):
            if word not in found or found[word].images < synonym.images:
                found[word] = synonym
    return found


def _frequent_words(captions: Sequence[str]) -> list[list[str]]:
    """The words of each caption that as many captions hold as a synonym has products.

    Names and numbers, of which each caption has its own, would fill the memory.
    """
    counts = Counter(word for caption in captions for word in words_of(caption))
    held = {word: word for word, count in counts.items() if count >= PRODUCTS}
    return [[held[word] for word in words_of(caption) if word in held] for caption in captions]


def _of_column(
    name: str,
    values: Sequence[str | None],
    captions: Sequence[str],
    words: Sequence[Sequence[str]],
    groups: Sequence[str],
) -> Iterable[tuple[str, Synonym]]:
    """The synonyms of one attribute's values."""
    named = [value is not None for value in named_values(captions, values)]
    all_with = Counter(value for value in values if value is not None)
    all_named = Counter(v for v, is_named in zip(values, named, strict=True) if is_named)
    holding, pairs, naming = Counter[str](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for value, is_named, held in zip(values, named, words, strict=True):
        holding.update(held)
        if value is None:
            continue
        both = [(word, value) for word in held]
        pairs.update(both)
        if is_named:
            naming.update(both)
    likely = {
        (word, value)
        for (word, value), images in pairs.items()
        if images >= max(PRODUCTS, HAVE * holding[word])
        and naming[word, value] <= ALSO * images
        and all_named[value] - naming[word, value] >= ELSE * (all_with[value] - images) > 0
        and word not in words_of(value)
    }
    products: dict[tuple[str, str], set[str]] = defaultdict(set)
    for value, held, group in zip(values, words, groups, strict=True):
        if value is None:
            continue
        for word in held:
            if (word, value) in likely:
                products[word, value].add(group)
    for pair, those in products.items():
        if len(those) >= PRODUCTS:
            yield pair[0], Synonym(name, pair[1], pairs[pair], holding[pair[0]])


def offers(text: str, known: Mapping[str, Synonym]) -> list[Offer]:
    """The filters that a text's words stand for, those of one value together.

    None is offered for a value that the text names itself, nor two for values of one attribute.
    """
    asked = words_of(text)
    words: dict[tuple[str, str], list[str]] = {}
    for word in asked:
        if synonym := known.get(word):
            words.setdefault((synonym.column, synonym.value), []).append(word)
    columns = Counter(column for column, _ in words)
    return [
        Offer(tuple(those), known[those[0]])
        for (column, value), those in words.items()
        if columns[column] == 1 and not set(words_of(value)) <= set(asked)
    ]


def write_synonyms(folder: Path, known: Mapping[str, Synonym]) -> None:
    """Keeps them in an index's folder."""
    plain = {word: asdict(synonym) for word, synonym in sorted(known.items())}
    (folder / FILE).write_text(json.dumps(plain, ensure_ascii=False, indent=1), encoding="utf-8")


def read_synonyms(folder: Path) -> dict[str, Synonym]:
    """What `write_synonyms` wrote. Raises Damaged for any other file."""
    try:
        plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {word: Synonym(**fields) for word, fields in plain.items()}
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        raise Damaged(
            f"{folder / FILE} is not what was written: {first_line(problem)}.",
            "Run: unidiff index --force",
        ) from problem
