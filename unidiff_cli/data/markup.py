"""HTML of a shop's texts as a browser shows it; what only looks like markup stays as it is.

Python's own parser reads it, since its events say where each tag stood. Tags that are words, such
as <S-XXL> or <NEW>, are told apart before it sees them.
"""

from __future__ import annotations

import re
from html import unescape
from html.entities import html5
from html.parser import HTMLParser

# Texts that were escaped twice (&amp;lt;p&amp;gt;) are read until nothing is left to read.
ROUNDS = 3
# Elements without content.
_VOID = frozenset("area base br col embed hr img image input link meta source track wbr".split())
# Elements that break no line: their text goes on where it stands.
_INLINE = frozenset(
    """
    a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q rp rt
    ruby s samp small span strike strong sub sup time tt u var wbr
    """.split()
)
# Elements whose content no browser shows as text.
_UNSHOWN = frozenset(
    """
    audio canvas datalist head iframe math noembed noframes noscript object script select style svg
    template textarea title video
    """.split()
)
# Elements that nobody writes as a word, and <image>, which marks the image's place in LLaVA.
_SURE = frozenset(
    """
    br blockquote div dd dl dt h1 h2 h3 h4 h5 h6 hr html image img iframe li meta ol p pre span
    tbody td tfoot th thead tr ul
    """.split()
)
_KNOWN = frozenset(
    """
    address article aside body button caption center colgroup details dialog dir fieldset figcaption
    figure footer form frame frameset header hgroup legend main map marquee menu meter nav optgroup
    option output param picture progress search section slot summary table
    """.split()
)
_KNOWN = _KNOWN | _VOID | _INLINE | _UNSHOWN | _SURE
# Elements that are sizes too: <S>, <small>.
_SIZES = frozenset(("s", "small", "big"))
# Elements that the next of their kind ends.
_ENDED_BY_NEXT = frozenset("dd dt li option p td th tr".split())

_ENTITY = re.compile(r"&(?:(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});)?")
# Entities that browsers read without a semicolon too, and no word begins with.
_OPEN_ENTITY = re.compile(r"&(amp|gt|lt|nbsp|quot)(?![a-zA-Z0-9;])")
_COMMENT = re.compile(
    r"<!--.*?(?:-->|$)|<[!?](?:\[endif|\[if|doctype|xml)[^<>]{0,300}>", re.I | re.S
)
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>")
_TAG = re.compile(
    r"""<(?P<end>/?)(?P<name>[a-z][a-z0-9:._-]{0,60})
    (?P<rest>[\s/](?:"[^"]{0,4000}"|'[^']{0,4000}'|[^<>"']){0,2000})?>""",
    re.IGNORECASE | re.VERBOSE,
)
_VALUE = re.compile(r"[\w:-]\s*=")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def visible_text(text: str) -> str:
    """The text that a browser shows of a piece of HTML; text without markup stays as it is.

    Entities are read where they end in a semicolon: pen&notebook is no pen¬ebook. Scripts, styles,
    comments and hidden elements are dropped; elements that break a line give a blank. A tag counts
    as markup where HTML knows its name, or it has attributes, or is closed: <S-XXL> is text.
    """
    for _ in range(ROUNDS):
        before, text = text, _read(text)
        if text == before:
            break
    return text


def _read(text: str) -> str:
    if "<" in text:
        text = _COMMENT.sub(" ", _CDATA.sub("", text))
    if "&" in text:
        text = _ENTITY.sub(_entity, _OPEN_ENTITY.sub(r"&\1;", text))
    if "<" not in text:
        return unescape(text)
    parser = _VisibleText()
    parser.feed(_without_false_tags(text))
    parser.close()
    return "".join(parser.parts)


def _entity(match: re.Match[str]) -> str:
    """An entity as it is; an ampersand that begins none, escaped."""
    name = match[1]
    if name and (name[0] == "#" or f"{name};" in html5):
        return match[0]
    return f"&amp;{match[0][1:]}"


def _without_false_tags(text: str) -> str:
    """The text with every < escaped that begins no tag of HTML."""
    tags = list(_TAG.finditer(text))
    opened = {tag["name"].lower() for tag in tags if not tag["end"]}
    paired = opened & {tag["name"].lower() for tag in tags if tag["end"]}
    is_html = any(_is_sure(tag) for tag in tags)
    parts, place = [], 0
    for tag in tags:
        name = tag["name"].lower()
        in_html = is_html and name in _KNOWN and name not in _SIZES
        is_tag = in_html or name in paired or _is_sure(tag)
        parts.append(text[place : tag.start()].replace("<", "&lt;"))
        parts.append(tag[0] if is_tag else tag[0].replace("<", "&lt;"))
        place = tag.end()
    return "".join([*parts, text[place:].replace("<", "&lt;")])


def _is_sure(tag: re.Match[str]) -> bool:
    """Whether a tag is markup, whatever stands around it."""
    name = tag["name"].lower()
    if name in _SURE or (name in _KNOWN and tag["end"]):
        return True
    # <o:p> of word processors, and elements of a shop's own with attributes.
    return ":" in name or bool(_VALUE.search(tag["rest"] or ""))


class _VisibleText(HTMLParser):
    """Collects the text that is shown."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        # The open elements from the first hidden one on.
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)
        if tag == "body" or (tag in _ENDED_BY_NEXT and self._hidden == [tag]):
            self._hidden.clear()
        if tag not in _VOID and (self._hidden or tag in _UNSHOWN or _is_hidden(attrs)):
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._break(tag)
        if tag in self._hidden:
            while self._hidden.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)

    def _break(self, tag: str) -> None:
        if tag not in _INLINE:
            self.parts.append(" ")


def _is_hidden(attrs: list[tuple[str, str | None]]) -> bool:
    values = dict(attrs)
    return "hidden" in values or bool(_HIDDEN.search(values.get("style") or ""))
