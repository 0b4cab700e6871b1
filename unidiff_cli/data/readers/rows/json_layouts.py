"""Rows of JSON as captioning sets write them, made plain: image, caption, split.

COCO:       {"images": [{id, file_name}], "annotations": [{image_id, caption}]}, one row an image
Karpathy:   {"images": [{filename, filepath, sentences: [{raw}], split}]}, Flickr30k's the same
Nested:     {"cursor": "x", "node": {title, image}} of GraphQL, {"_id": 7, "_source": {…}} of
            Elasticsearch, {"id": 7, "attributes": {…}} of JSON:API: the object is the row
LLaVA:      {image, conversations: [{from: gpt, value}]}, or messages: [{role: assistant, content}]
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from unidiff_cli.data.columns import has
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows.cells import Cells
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Reason
from unidiff_cli.errors import UsageError

COCO = {"images", "annotations"}
# Who speaks in a conversation when the image is described.
_ANSWERING = ("gpt", "assistant", "model", "bot")
# Karpathy's third part of COCO, which everybody trains on.
_SPLITS = {"restval": "train"}
LATER = "conversations with several answers: the first is the caption"
ACTIONS = "lines of Elasticsearch that say what to do with the next one, left out"
_ACTIONS = ("index", "create", "update", "delete")
TURNS = ("conversations", "conversation", "messages")
# Words that a text has at least, and characters of a cell that are looked at.
_WORDS, _LONGEST = 3, 1000
_LETTER = re.compile(r"[^\W\d_]")

Row = Cells | Reason


def coco(file: Location, annotations: Iterator[Any], images: Iterator[Any]) -> Iterator[Row]:
    """One row an image, with a list of its captions. Raises UsageError where there are none."""
    captions: dict[Any, list[str]] = {}
    for note in annotations:
        if isinstance(note, dict) and isinstance(note.get("caption"), str):
            captions.setdefault(_key(note.get("image_id")), []).append(note["caption"])
    if not captions:
        raise UsageError(
            f"{file} holds no captions: its annotations have no 'caption'.",
            "COCO's captions are in captions_train2017.json and the like.",
        )
    seen = set()
    for image in images:
        if isinstance(image, Reason) or not isinstance(image.get("file_name"), str):
            yield image if isinstance(image, Reason) else Reason("an image without file_name")
            continue
        key = _key(image.get("id"))
        seen.add(key)
        row = {"image": image["file_name"], "caption": captions.get(key, []), "id": image.get("id")}
        yield row | ({"split": image["split"]} if "split" in image else {})
    for _ in captions.keys() - seen:
        yield Reason("captions of an image that is not listed")


def understood(rows: Iterable[Any], notes: Counter[str]) -> Iterator[Row]:
    """Rows with the columns that their layout means; other rows as they are."""
    for row in rows:
        yield row if isinstance(row, Reason) else row_of(row, notes)


def row_of(row: Cells, notes: Counter[str]) -> Cells:
    """One row with the columns that its layout means."""
    if isinstance(row.get("sentences"), list) and isinstance(row.get("filename"), str):
        return _karpathy(row)
    for name in TURNS:
        if isinstance(row.get(name), list) and "caption" not in row:
            return _conversation(row, name, notes)
    return _unpacked(row)


def is_action(row: Cells) -> bool:
    """Whether a line is one of Elasticsearch's bulk format, {"index": {"_id": "7"}}, and no row."""
    if len(row) != 1:
        return False
    ((name, value),) = row.items()
    return name in _ACTIONS and isinstance(value, dict) and all(k[:1] == "_" for k in value)


def _unpacked(row: Cells) -> Cells:
    """A row whose image and caption lie in one of its objects, with what stands beside that."""
    objects = [name for name, value in row.items() if isinstance(value, dict)]
    # Whether it is a row itself is asked first: most are, and this runs for every row.
    if not objects or _is_row(k for k, value in row.items() if not isinstance(value, dict)):
        return row
    inside = [name for name in objects if has("image", row[name]) and has("caption", row[name])]
    if len(inside) != 1:
        return row
    others = {key: value for key, value in row.items() if key != inside[0]}
    # {sku, packshot, wording, brand: {name, image}} is a product, not its brand.
    is_whole = _is_row(others) or any(_is_image(cell) or _is_text(cell) for cell in others.values())
    return row if is_whole else others | row[inside[0]]


def _is_row(names: Iterable[str]) -> bool:
    """Whether names of columns are those of an image or a caption."""
    names = list(names)
    return has("image", names) or has("caption", names)


def _is_image(cell: Any) -> bool:
    """Whether a cell names images: alone, in a list or in an object."""
    if isinstance(cell, str):
        return _names_image(cell)
    names = cell.values() if isinstance(cell, dict) else cell if isinstance(cell, list) else ()
    return any(isinstance(name, str) and _names_image(name) for name in names)


def _names_image(name: str) -> bool:
    path = name[:_LONGEST].partition("?")[0].strip()
    return posixpath.splitext(path)[1].lower() in IMAGE_SUFFIXES or path.startswith("data:image/")


def _is_text(cell: Any) -> bool:
    """Whether a cell is a text of some words; a date is none."""
    if not isinstance(cell, str):
        return False
    parts = cell[:_LONGEST].split()
    text = "".join(parts)
    return sum(map(bool, map(_LETTER.search, parts))) >= _WORDS and 2 * sum(
        map(str.isdigit, text)
    ) < len(text)


def _karpathy(row: Cells) -> Cells:
    folder = row.get("filepath")
    image = posixpath.join(folder if isinstance(folder, str) else "", row["filename"])
    captions = [
        sentence["raw"]
        for sentence in row["sentences"]
        if isinstance(sentence, dict) and isinstance(sentence.get("raw"), str)
    ]
    split = row.get("split")
    identity = row.get("cocoid", row.get("imgid"))
    row = {"image": image, "caption": captions, "id": identity}
    return row | ({"split": _SPLITS.get(split, split)} if isinstance(split, str) else {})


def _conversation(row: Cells, name: str, notes: Counter[str]) -> Cells:
    answers = []
    for turn in row[name]:
        if not isinstance(turn, dict):
            continue
        speaker = turn.get("from", turn.get("role"))
        if isinstance(speaker, str) and speaker.lower() in _ANSWERING:
            answers.append(_words(turn.get("value", turn.get("content"))))
    if len(answers) > 1:
        notes[LATER] += 1
    others = {key: value for key, value in row.items() if key != name}
    return others | {"caption": answers[0] if answers else None}


def _words(content: Any) -> str | None:
    """What a turn says: a text, or the texts of a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return " ".join(text for text in texts if isinstance(text, str))
    return None


def _key(value: Any) -> Any:
    """An id that is compared: 12 and "12" are one."""
    return str(value)
