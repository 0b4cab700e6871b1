"""Text of a catalogue as captions: mended, folded, told apart; prompts from a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from unidiff_cli.data import caption_lists
from unidiff_cli.data.locations import locate
from unidiff_cli.data.markup import visible_text
from unidiff_cli.data.sample import Cause, Reason
from unidiff_cli.errors import UsageError

# Bytes of a file of prompts.
MOST_PROMPTS = 1 << 26
# What exports and spreadsheets write for nothing, in small letters and without blanks. Words such
# as "not available" are none: they are values of a column of stocks.
MISSING = frozenset(
    "".join(word.split())
    for word in """
    nan, <nan>, none, null, <null>, nil, n/a, #n/a, n.a., na, <na>, nat, undefined, (null), (none),
    [null], \\n, -, --, ---, ----, -----, –, —, ., .., ..., …, ?, ??, ???, #value!, #ref!, #null!,
    #na, #name?, #div/0!, #num!, #calc!, #spill!, tbd, tba, t.b.d., t.b.a., to be defined,
    to be determined, not applicable, not specified, not set, no data, no caption,
    no description, no description available, description not available, no title, (empty), (blank),
    [empty], <empty>, <blank>, (not set),
    k.a., keine angabe, keine angaben, ohne angabe, o.a., n.v., nicht vorhanden,
    nicht angegeben, entfällt, keine beschreibung, keine beschreibung vorhanden, keine daten,
    kein titel, kein text, (leer), <leer>, [leer], #nv, #wert!, #bezug!, #zahl!, #überlauf!,
    n.d., n/d, n.c., n/c, non renseigné, non renseignée, non défini, non précisé,
    non communiqué, non spécifié, aucune description, pas de description, sans description, (vide),
    #valeur!, #nom?, #nombre!,
    sin datos, sin dato, sin especificar, sin definir, sin descripción, sin título,
    no especificado, no aplica, no definido, s/d, (vacío), (en blanco), #¡valor!, #¡ref!, #¿nombre?,
    #¡num!, #¡div/0!, #n/d,
    nessun dato, non specificato, nessuna descrizione, senza descrizione, senza titolo, (vuoto),
    #valore!, #rif!, #nome?,
    nvt, n.v.t., niet van toepassing, niet opgegeven, niet ingevuld, geen gegevens,
    geen beschrijving, geen omschrijving, (leeg), #waarde!, #verw!, #n/b, #naam?, #getal!,
    brak, brak danych, brak opisu, b/d, b.d., nie dotyczy, nie podano, bez opisu, (puste), #arg!,
    #adr!, #nazwa?, #liczba!,
    sem dados, sem descrição, sem título, não informado, não especificado,
    não se aplica, não aplicável, (vazio), (em branco), #valor!, #núm!
    """.split(",")
)
# A field of a template; one with a question mark may be empty.
_FIELD = re.compile(r"\{([^{}]+?)(\??)\}")
_WHOLE = re.compile(r"^(-?\d+)\.0$")
# Where the words that belong to a field end, and those of the next begin.
_DIVIDERS = " ,;.:|/–—-"
_BORDER = re.compile(r"[)\]]+|[,;.:|/(\[–—]|\s-\s")


def fold(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def is_missing(text: str) -> bool:
    """Whether a cell or a caption says nothing: empty, or a word such as nan, NULL or N/A."""
    return not text or text.isspace() or "".join(text.lower().split()) in MISSING


def clean(text: str) -> str:
    """The caption as a person reads it, on one line.

    HTML is read as a browser shows it. Broken letters (cafÃ©), lone surrogates, control characters
    and terminal escapes are mended by ftfy. Quotes, ligatures and accents stay as they are written.
    """
    if "&" in text or "<" in text:
        text = visible_text(text)
    text = fold(text)
    if not (text.isascii() and text.isprintable()):
        text = fold(_fix_text()(text.replace("\0", " ")))
    return text


@cache
def _fix_text() -> Callable[[str], str]:
    """ftfy's mending of damage, without its changes of style."""
    from ftfy import TextFixerConfig, fix_text

    style = {"fix_latin_ligatures", "fix_character_width", "uncurl_quotes", "fix_line_breaks"}
    config = TextFixerConfig(unescape_html=False, normalization=None, **dict.fromkeys(style, False))
    return partial(fix_text, config=config)


def read_prompts(file: Path) -> list[str]:
    """The prompts of a text file, one a line, without blank lines and lines that start with #.

    Raises UsageError where there is none.
    """
    try:
        data = locate(file).read(MOST_PROMPTS)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise UsageError(
            f"{file} cannot be read as text: line {line} is not UTF-8.", "Save it as UTF-8."
        ) from problem
    except (OSError, ValueError) as problem:
        words = getattr(problem, "strerror", None) or problem
        raise UsageError(f"{file} cannot be read as text: {words}.") from problem
    lines = [line.strip() for line in text.splitlines()]
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise UsageError(f"{file} holds no prompt.", "Write one a line.")
    return prompts


def fields(template: str) -> list[str]:
    """The columns a template such as "{name} in {color?}" names."""
    return [name for name, _ in _FIELD.findall(template)]


def fill(template: str, cells: Mapping[str, Any]) -> str:
    """The template with its columns' values, without optional fields that are empty.

    Such a field takes along the words between the field before it and itself, and what follows it
    up to a comma or the like that stands before the next field. The words before the first field
    and after the last one stay, but for a label that ends in a colon. Where all fields are empty
    the caption is ''. Raises KeyError naming a field that is empty and not optional, ValueError for
    a cell that looks like a list and cannot be read.
    """
    opening, *rest = _FIELD.split(template)
    names, optional, words = rest[::3], rest[1::3], rest[2::3]
    is_label = opening.rstrip().endswith(":")
    before, parts, filled = ("", [opening], 0) if not is_label else (opening, [], 0)
    for number, name in enumerate(names):
        text = _field_text(cells.get(name))
        if not text and not optional[number]:
            raise KeyError(name)
        own, following = _divided(words[number])
        if text:
            if number and not filled:
                # A comma that divides it from a field before it, where there is none.
                before = f" {before.lstrip(_DIVIDERS)}"
            parts += [before, text, own]
            filled += 1
        else:
            parts.append(_brackets(before + own) + _gap(own, following))
        before = following
    caption = "".join([*parts, before])
    if names and not filled:
        return ""
    return fold(caption if filled == len(names) else _without_empty_brackets(caption))


def _brackets(words: str) -> str:
    """The brackets of words that are left out: other fields may stand in them too."""
    return "".join(f" {char}" if char in "([" else char for char in words if char in "()[]")


def _gap(own: str, following: str) -> str:
    """The blank that left-out words end with, where a bracket or a dash comes next."""
    return " " if own[-1:].isspace() and following[:1] not in ",;.:)]" else ""


def _without_empty_brackets(text: str) -> str:
    text = re.sub(r"([(\[])[\s,;:/|]+", r"\1", text)
    return re.sub(r"\s*(?:\(\)|\[\])", "", text)


def empty_field(name: str) -> Reason:
    """Why a row has no caption where a field of the template is empty."""
    hint = f"where it may be, write {{{name}?}} in prepare.caption"
    return Reason(f"no caption: the column '{name}' is empty; {hint}", Cause.NO_CAPTION)


def unreadable_cell(problem: ValueError) -> Reason:
    """Why a row has no caption where its cell is a damaged list, by the error of reading it."""
    return Reason(f"a caption that cannot be read: {problem}", Cause.UNREAD_CAPTION)


def _divided(words: str) -> tuple[str, str]:
    """The words after a field, divided into its own and those that lead to the next one."""
    border = _BORDER.search(words)
    if border is None:
        return "", words
    own = border.end() if border[0][0] in ")]" else border.start()
    return words[:own], words[own:]


def _field_text(value: Any) -> str:
    """A cell in a template: several values with commas, nothing for nan, N/A and the like.

    Whole numbers have no `.0`, which pandas adds where a column has gaps.
    """
    if isinstance(value, str | dict | list | tuple):
        texts = (text for text in cell_captions(value) if not is_missing(text))
        return ", ".join(_WHOLE.sub(r"\1", text) for text in texts)
    text = cell_text(int(value) if isinstance(value, float) and value.is_integer() else value)
    return "" if is_missing(text) else text


def cell_text(value: Any) -> str:
    """A cell as text; nothing and lists of nothing are ''."""
    if value is None or value != value:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(cell_text, value)))
    return fold(well_formed(str(value)))


def well_formed(text: str) -> str:
    """The text without lone surrogates, halves of a character, which no file can hold."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cell_captions(value: Any) -> list[str]:
    """A caption cell as captions: a list holds several, also one that is written as text.

    Raises ValueError for what looks like a list or an object and cannot be read.
    """
    return [fold(well_formed(text)) for text in caption_lists.read(value)]


def text_captions(text: str) -> list[str]:
    """The captions of a text file: one a line, or a list of JSON or Python.

    Raises ValueError for what looks like a list and cannot be read.
    """
    return cell_captions(text) if caption_lists.looks_parsed(text) else text.splitlines()


def same_text(caption: str) -> str:
    """What equal captions have in common: they may differ in case and blanks."""
    return fold(caption).casefold()


def number_distinct(texts: Iterable[str], same: Callable[[str], str] = same_text) -> list[int]:
    """0 … D − 1 for each caption, one number for equal ones, in the order of their first.

    `same` gives what equal captions have in common.
    """
    numbers: dict[str, int] = {}
    return [numbers.setdefault(same(text), len(numbers)) for text in texts]
