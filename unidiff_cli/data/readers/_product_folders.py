"""Folders of one product each: dress/B00A03/front.jpg, back.jpg. The class is the folder above.

Names that are codes tell such folders. Many small folders with words as their names may be products
or classes, and a person is asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data.doubts import Doubt

Folders = tuple[str, ...]
# Images of one product at most, in most of its folders.
FEW = 12
# Folders that are enough to tell, by codes and by words.
CODES, WORDS = 3, 20
# The share of folders that have to be alike.
MOST = 0.8
# Words of codes: id_0003, item-12.
OF_CODES = frozenset(
    """
    id sku item product prod art article artikel ref asin ean gtin upc pid model style no nr
    """.split()
)
# Folders of all products, which are no class.
OF_ALL = frozenset(
    """
    product products item items article articles sku skus catalog catalogue shop store media
    """.split()
)
_TOKENS = re.compile(r"[^\W_]+")
# A word and its number: dress12 is no code.
_NUMBERED = re.compile(r"([^\W\d_]{3,})\d+", re.IGNORECASE)
ACTION = (
    "Say what such a folder is: --set prepare.folders=products (its images are of one product, and "
    "the class is the folder above) or --set prepare.folders=classes"
)


class ProductFolders:
    """The product of an image by its folders, without those of splits.

    `form` is what is known of folders: products, classes or None.
    """

    def __init__(self, paths: Iterable[Folders], options: Prepare) -> None:
        self.form = options.folders
        self._counts = Counter(path for path in paths if path)
        self._example = ""
        self._doubts: list[Doubt] = []
        # Whether folders with codes are products; their class is above.
        self.has_codes = self.form is None and self._has_codes()
        if self.form is None and not self.has_codes:
            self._doubts = list(self._unclear())

    def of(self, folders: Sequence[str]) -> tuple[str | None, list[str]]:
        """The product of an image, and the folders of its class."""
        place = _place_of_code(folders)
        if self.form == "products" and folders:
            place = len(folders) - 1 if place is None else place
        elif not self.has_codes or place is None:
            return None, list(folders)
        classes = _classes(folders[:place])
        if not classes and not is_code(folders[place]):
            classes = [folders[place]]
        return "/".join(folders[: place + 1]), classes

    def describe(self) -> list[str]:
        count = len({product for path in self._counts if (product := self.of(path)[0])})
        if not count:
            return []
        example = next(product for path in self._counts if (product := self.of(path)[0]))
        return [
            f"products from folders: {count:,}, such as {example}; the class is the folder above"
        ]

    def doubts(self) -> list[Doubt]:
        return self._doubts

    def _has_codes(self) -> bool:
        """Whether nearly all images lie in small folders with codes, below folders of classes."""
        sizes: Counter[Folders] = Counter()
        for path, count in self._counts.items():
            place = _place_of_code(path)
            if place is not None and _classes(path[:place]):
                sizes[path[: place + 1]] += count
        covered = sizes.total() >= MOST * self._counts.total()
        return covered and len(sizes) >= CODES and median(sizes.values()) <= FEW

    def _unclear(self) -> Iterator[Doubt]:
        counts = self._counts
        small = {path: count for path, count in counts.items() if count <= FEW}
        if not small or len(small) < MOST * len(counts):
            return
        codes = [path for path in small if is_code(path[-1]) and not _classes(path[:-1])]
        if len(codes) >= max(CODES, MOST * len(counts)):
            yield Doubt(
                f"{len(codes):,} folders such as '{codes[0][-1]}' have codes as names, and no "
                "folder above them names a class. They are read as classes.",
                f"{ACTION}; a text beside each image, or a table, says what it shows.",
                stops=True,
            )
            return
        names = {path[-1].lower() for path in small}
        views = sum(count > 1 for count in small.values())
        is_many = len(small) >= WORDS and len(names) >= MOST * len(small)
        if is_many and views >= MOST * len(small):
            example = "/".join(next(iter(small)))
            yield Doubt(
                f"{len(small):,} folders such as '{example}' hold at most {FEW} images each: "
                "they may be products or classes. They are read as classes.",
                ACTION,
                stops=True,
            )


def is_code(name: str) -> bool:
    """Whether a name is a code with no plain word: B00A03, id_0002, 4711, but not 501_jeans."""
    tokens = _TOKENS.findall(name)
    return any(char.isdigit() for char in name) and all(map(_is_of_code, tokens))


def _is_of_code(token: str) -> bool:
    if numbered := _NUMBERED.fullmatch(token):
        return numbered[1].lower() in OF_CODES or token.isupper()
    is_short = len(token) <= 2
    return (
        is_short
        or any(map(str.isdigit, token))
        or token.lower() in OF_CODES
        or (token.isupper() and len(token) <= 4)
    )


def _classes(folders: Sequence[str]) -> list[str]:
    return [name for name in folders if name.lower() not in OF_ALL]


def _place_of_code(folders: Sequence[str]) -> int | None:
    """The innermost folder whose name is a code."""
    return next((n for n in reversed(range(len(folders))) if is_code(folders[n])), None)
