"""Names of folders that are codes: of products (B00A03, id_0002), or of anything (0, A)."""

from __future__ import annotations

import re

# Words of codes of products: id_0003, item-12.
_OF_PRODUCTS = frozenset(
    """
    id sku item product prod art article artikel ref asin ean gtin upc pid model style no nr
    """.split()
)
# Words that number other things and say nothing of them.
_NUMBERED = frozenset(
    "class label category cat folder group cluster batch part set dir img image images cls".split()
)
_TOKEN = re.compile(r"[^\W_]+")
_WORD = re.compile(r"[^\W\d_]+")
# A word and its number: dress12 is no code.
_WORD_AND_NUMBER = re.compile(r"([^\W\d_]{3,})\d+")
_HASH = re.compile(r"(?=.*\d)[0-9a-f-]{8,}", re.IGNORECASE)
# Letters of a word that says nothing, and of one in capitals: 12_ab, KIDS-412.
_FEW, _CAPITALS = 2, 4


def is_product_code(name: str) -> bool:
    """Whether a name is a code with no plain word: B00A03, id_0002, 4711, but not 501_jeans."""
    return any(char.isdigit() for char in name) and all(map(_is_of_code, _TOKEN.findall(name)))


def is_code(name: str) -> bool:
    """Whether a name says nothing of what an image shows: 0, n01440764, SKU001, class_3, A."""
    words = _WORD.findall(name)
    if not words or _HASH.fullmatch(name) or is_product_code(name):
        return True
    if not any(char.isdigit() for char in name):
        return name.isascii() and len(words) == 1 and len(words[0]) == 1
    return all(word.lower() in _NUMBERED for word in words)


def _is_of_code(token: str) -> bool:
    if match := _WORD_AND_NUMBER.fullmatch(token):
        return match[1].lower() in _OF_PRODUCTS or token.isupper()
    # A letter of another alphabet may be a word.
    return token.isascii() and (
        len(token) <= _FEW
        or any(map(str.isdigit, token))
        or token.lower() in _OF_PRODUCTS
        or (token.isupper() and len(token) <= _CAPITALS)
    )
