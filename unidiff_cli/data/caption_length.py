"""How much of a catalogue's captions, and of prompts, a base reads: counted, divided and said."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, compress
from statistics import quantiles
from typing import Any

import numpy as np

from unidiff_cli.data.captions import same_text
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of, with_captions
from unidiff_cli.data.token_window import TokenWindow

logger = logging.getLogger("unidiff")

# Shares of captions that are cut, and of tokens that are parts of letters, that are warned of.
CUT, UNKNOWN = 0.01, 0.05
# Captions shown as examples, characters of their parts, letters, and prompts that are named.
EXAMPLES, SHOWN, LETTERS, NAMED = 3, 300, 10, 5


@dataclass(frozen=True)
class CaptionTokens:
    """The captions of a catalogue as a base's tokenizer sees them.

    `cut` captions of `captions` are longer than `limit` tokens. `distinct` differ to a person, and
    `distinct_read` to the model. `unknown` is the share of tokens that are only parts of letters:
    the tokenizer spells these letters byte by byte. Examples are (read, cut), and these letters.
    """

    base: str
    limit: int
    captions: int
    median: float
    p95: float
    most: int
    cut: int
    distinct: int
    distinct_read: int
    unknown: float
    cut_examples: list[tuple[str, str]]
    unknown_letters: list[str]

    def plain(self) -> dict[str, Any]:
        """As a receipt keeps it."""
        return asdict(self)

    def doubts(self) -> list[Doubt]:
        """What of the captions the model will not read."""
        doubts, lost = [], self.distinct - self.distinct_read
        if self.cut >= CUT * self.captions:
            merged = f" {lost:,} captions differ from others only there." if lost > 0 else ""
            doubts.append(
                Doubt(
                    f"{self.cut:,} of {self.captions:,} captions ({self.cut / self.captions:.0%}) "
                    f"have more than the {self.limit} tokens that {self.base} reads; the rest is "
                    f"cut.{merged}",
                    "Begin captions with what tells products apart, or train on parts of them: "
                    "--set train.long_captions=split",
                )
            )
        if self.unknown >= UNKNOWN:
            doubts.append(
                Doubt(
                    f"{self.unknown:.0%} of the captions' tokens are parts of letters that the "
                    f"tokenizer of {self.base} does not know: {' '.join(self.unknown_letters)}.",
                    "It learns them from your captions alone. Take a base that knows the language, "
                    "or captions in English.",
                )
            )
        return doubts


def count_tokens(window: TokenWindow, of_images: Iterable[Sequence[str]]) -> CaptionTokens:
    """Counts what a base's tokenizer makes of the captions of images; there is one at least.

    They are gone through twice, and of each 64 bits are held by which it is told apart.
    """
    marks = np.fromiter(map(hash, chain.from_iterable(of_images)), np.int64)
    _, first, counts = np.unique(marks, return_index=True, return_counts=True)
    # Of equal captions the first stands for all.
    uses = np.zeros(len(marks), int)
    uses[first] = counts
    lengths: Counter[int] = Counter()
    keys, plain = array("q"), array("q")
    cuts: list[tuple[str, str]] = []
    letters: Counter[str] = Counter()
    total = unknown = 0
    texts = compress(chain.from_iterable(of_images), uses)
    for (text, tokens), times in zip(window.tokens(texts), uses[uses > 0], strict=True):
        count, times = len(tokens.ids), int(times)
        lengths[count + window.limit - window.room] += times
        keys.append(hash(window.key(tokens)))
        plain.append(hash(same_text(text)))
        if count > window.room and len(cuts) < EXAMPLES:
            end = window.end(tokens, text)
            cuts.append((text[:end][-SHOWN:], text[end : end + SHOWN]))
        total += times * count
        if not text.isascii():
            parts = _parts_of_letters(tokens.offsets)
            unknown += times * sum(parts.values())
            letters.update(text[start:end] for start, end in parts)
    sizes = sorted(lengths.elements())
    cut_points = quantiles(sizes, n=20, method="inclusive") if len(sizes) > 1 else sizes * 19
    return CaptionTokens(
        base=window.name,
        limit=window.limit,
        captions=len(sizes),
        median=cut_points[9],
        p95=cut_points[18],
        most=sizes[-1],
        cut=sum(n for length, n in lengths.items() if length > window.limit),
        distinct=len(np.unique(plain)),
        distinct_read=len(np.unique(keys)),
        unknown=round(unknown / max(1, total), 4),
        cut_examples=cuts,
        unknown_letters=[letter for letter, _ in letters.most_common(LETTERS)],
    )


def _parts_of_letters(offsets: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Where letters stand that have several tokens each, and how many."""
    spans = Counter(offsets)
    return {span: n for span, n in spans.items() if n > 1 and span[1] - span[0] == 1}


# ---------------------------------------------------------------- long captions and prompts


def divide_captions(rows: Sequence[Row], window: TokenWindow) -> Sequence[Row]:
    """Rows whose long captions are several that the tower reads whole.

    The parts that fewest rows share come first: what tells rows apart is their first caption.
    """
    divided = [
        list(dict.fromkeys(part for caption in captions for part in window.parts(caption)))
        for captions in column_of(rows, "captions")
    ]
    uses = Counter(key for parts in divided for key in {window.same(part) for part in parts})
    ordered = [tuple(sorted(parts, key=lambda part: uses[window.same(part)])) for parts in divided]
    return with_captions(rows, ordered)


def warn_of_cut(window: TokenWindow, texts: Iterable[str], what: str) -> None:
    """Says which texts are longer than a model reads, and which of their words are cut.

    `what` says what they are, such as "prompt".
    """
    cut = [(text, rest) for text in dict.fromkeys(texts) if (rest := window.cut(text)[1].strip())]
    for text, rest in cut[:NAMED]:
        words = rest if len(rest) <= SHOWN else f"{rest[:SHOWN]}…"
        logger.warning(
            f"The {what} has {window.count(text):,} tokens and {window.name} reads "
            f"{window.limit}. These words are not read: {words}"
        )
    if len(cut) > NAMED:
        logger.warning(f"{len(cut) - NAMED:,} more {what}s are longer than {window.name} reads.")
