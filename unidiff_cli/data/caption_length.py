"""How much of a caption a text tower reads, by its own tokenizer. No torch.

A tower reads a fixed number of tokens, two of which mark a caption's ends: 77 of CLIP, 40 of nano.
What lies behind them is cut, and captions that differ only there are one caption to the model.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from unidiff_cli.data.captions import same_text
from unidiff_cli.data.doubts import Doubt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from unidiff_cli.data.shards import Row

logger = logging.getLogger("unidiff")

# Captions tokenized at a time, and kept with what equal ones have in common.
CHUNK, KEPT = 1000, 200_000
# Shares of captions that are cut, and of tokens that are parts of letters, that are warned of.
CUT, UNKNOWN = 0.01, 0.05
# Captions shown as examples, characters of their parts, letters, and prompts that are named.
EXAMPLES, SHOWN, LETTERS, NAMED = 3, 300, 10, 5
# Where a long caption may be divided, the best first: sentences, phrases, words.
_ENDS = (
    re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])"),
    re.compile(r"(?<=[,:)])\s+|(?<=[，、：])|\s+(?=[(–—|/]|-\s)"),
    re.compile(r"\s+"),
)


class TokenWindow:
    """The first `limit` tokens of a caption, which are all that a text tower reads.

    `name` is what a person calls the model.
    """

    def __init__(self, tokenizer: Tokenizer, limit: int, name: str = "the model") -> None:
        # Its owner may have set it to cut and to pad: this one is of its own.
        self._words = tokenizer.to_str()
        self.limit, self.name = limit, name
        self._same: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_words": self._words, "limit": self.limit, "name": self.name, "_same": {}}

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self._words)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def room(self) -> int:
        """The tokens between the two marks."""
        return self.limit - self._tokenizer.num_special_tokens_to_add(False)

    def tokens(self, captions: Sequence[str]) -> Iterator[Any]:
        """The tokens of each caption, whole and without marks, as tokenizers gives them."""
        for start in range(0, len(captions), CHUNK):
            chunk = list(captions[start : start + CHUNK])
            yield from self._tokenizer.encode_batch(chunk, add_special_tokens=False)

    def count(self, caption: str) -> int:
        """The tokens of a whole caption, its two marks among them."""
        return len(self._encode(caption).ids) + self.limit - self.room

    def fits(self, caption: str) -> bool:
        """Whether the tower reads all of a caption."""
        return len(self._encode(caption).ids) <= self.room

    def cut(self, caption: str) -> tuple[str, str]:
        """What is read of a caption, and the rest that is not."""
        end = self.end(self._encode(caption), caption)
        return caption[:end], caption[end:]

    def end(self, tokens: Any, caption: str) -> int:
        """The characters of a caption that are read, by its tokens."""
        return len(caption) if len(tokens.ids) <= self.room else tokens.offsets[self.room - 1][1]

    def same(self, caption: str) -> str:
        """What captions have in common that are equal to the tower."""
        if (same := self._same.get(caption)) is None:
            if len(self._same) >= KEPT:
                self._same.clear()
            same = self._same[caption] = self.key(self._encode(caption))
        return same

    def key(self, tokens: Any) -> str:
        """`same` of a caption, by its tokens."""
        return " ".join(map(str, tokens.ids[: self.room]))

    def parts(self, caption: str) -> list[str]:
        """A caption as parts that the tower reads whole.

        They end where sentences do; else where phrases do, else words.
        """
        return [caption] if self.fits(caption) else self._packed(self._pieces(caption, 0))

    def _encode(self, caption: str) -> Any:
        return self._tokenizer.encode(caption, add_special_tokens=False)

    def _pieces(self, text: str, level: int) -> Iterator[str]:
        """Pieces of a text that fit."""
        if self.fits(text):
            yield text
        elif level < len(_ENDS):
            for piece in filter(None, _ENDS[level].split(text)):
                yield from self._pieces(piece, level + 1)
        else:
            yield from self._torn(text)

    def _torn(self, word: str) -> Iterator[str]:
        """A word that is too long, in pieces; one letter at least."""
        while word:
            length = max(1, len(self.cut(word)[0]))
            # Torn elsewhere, a word has other tokens.
            while length > 1 and not self.fits(word[:length]):
                length -= 1
            yield word[:length]
            word = word[length:]

    def _packed(self, pieces: Iterable[str]) -> list[str]:
        """As many pieces after one another as fit, in each part."""
        parts: list[str] = []
        for piece in pieces:
            joined = f"{parts[-1]} {piece}" if parts else piece
            if parts and self.fits(joined):
                parts[-1] = joined
            else:
                parts.append(piece)
        return parts


# ---------------------------------------------------------------- a catalogue's captions


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


def count_tokens(window: TokenWindow, captions: Iterable[str]) -> CaptionTokens:
    """Counts what a base's tokenizer makes of captions; there is one at least."""
    uses = Counter(captions)
    texts = list(uses)
    lengths: Counter[int] = Counter()
    keys: set[str] = set()
    cuts: list[tuple[str, str]] = []
    letters: Counter[str] = Counter()
    total = unknown = 0
    for text, tokens in zip(texts, window.tokens(texts), strict=True):
        count, times = len(tokens.ids), uses[text]
        lengths[count + window.limit - window.room] += times
        keys.add(window.key(tokens))
        if count > window.room and len(cuts) < EXAMPLES:
            end = window.end(tokens, text)
            cuts.append((text[:end][-SHOWN:], text[end : end + SHOWN]))
        total += times * count
        if not text.isascii():
            parts = _parts_of_letters(tokens.offsets)
            unknown += times * sum(parts.values())
            letters.update(text[start:end] for start, end in parts)
    counts = sorted(lengths.elements())
    cut_points = quantiles(counts, n=20, method="inclusive") if len(counts) > 1 else counts * 19
    return CaptionTokens(
        base=window.name,
        limit=window.limit,
        captions=len(counts),
        median=cut_points[9],
        p95=cut_points[18],
        most=counts[-1],
        cut=sum(n for length, n in lengths.items() if length > window.limit),
        distinct=len(set(map(same_text, texts))),
        distinct_read=len(keys),
        unknown=round(unknown / max(1, total), 4),
        cut_examples=cuts,
        unknown_letters=[letter for letter, _ in letters.most_common(LETTERS)],
    )


def _parts_of_letters(offsets: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Where letters stand that have several tokens each, and how many."""
    spans = Counter(offsets)
    return {span: n for span, n in spans.items() if n > 1 and span[1] - span[0] == 1}


# ---------------------------------------------------------------- long captions and prompts


def divide_captions(rows: Iterable[Row], window: TokenWindow) -> list[Row]:
    """Rows whose long captions are several that the tower reads whole.

    The parts that fewest rows share come first: what tells rows apart is their first caption.
    """
    rows = list(rows)
    divided = [
        list(dict.fromkeys(part for caption in row.captions for part in window.parts(caption)))
        for row in rows
    ]
    uses = Counter(key for parts in divided for key in {window.same(part) for part in parts})
    return [
        replace(row, captions=tuple(sorted(parts, key=lambda part: uses[window.same(part)])))
        for row, parts in zip(rows, divided, strict=True)
    ]


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
