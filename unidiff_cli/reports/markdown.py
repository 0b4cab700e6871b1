"""Text of a catalogue, a recipe or a model in Markdown: it stays text wherever it stands."""

from __future__ import annotations

import re

# What begins a link, an element, emphasis or a cell anywhere in a line. An underscore within a
# word is none of these.
_ANYWHERE = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
# What begins a heading, a list or a quotation at the start of one.
_FIRST = re.compile(r"\s*(?:#+(?=\s|$)|[+-](?=[\s-]|$)|\d+(?=[.)](?:\s|$)))")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Line breaks of any kind; control codes, and marks that turn the direction of text.
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")


def escape(text: str) -> str:
    """A text as a reader of Markdown shows it, on one line, in a sentence or in a cell."""
    text = _BREAKS.sub(" ", text)
    text = re.sub("[&<>]", lambda match: _HTML[match[0]], text)
    text = _ANYWHERE.sub(lambda match: "\\" + match[0], text)
    return _FIRST.sub(_at_the_start, text, count=1) if _FIRST.match(text) else text


def _at_the_start(match: re.Match[str]) -> str:
    marks = match[0].lstrip()
    return f"{marks}\\" if marks[0].isdigit() else f"\\{marks}"
