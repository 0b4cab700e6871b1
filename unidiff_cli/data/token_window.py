"""The part of a caption that a text tower reads, by its own tokenizer. No torch.

A tower reads a fixed number of tokens, two of which mark a caption's ends: 77 of CLIP, 40 of nano.
What lies behind them is cut, and captions that differ only there are one caption to the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Captions tokenized at a time, and kept with what equal ones have in common.
CHUNK, KEPT = 1000, 200_000
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

    def tokens(self, captions: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """Each caption and its tokens, whole and without marks, as tokenizers gives them."""
        rest = iter(captions)
        while chunk := list(islice(rest, CHUNK)):
            found = self._tokenizer.encode_batch(chunk, add_special_tokens=False)
            yield from zip(chunk, found, strict=True)

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
