"""Folders of one product each: dress/B00A03/front.jpg, back.jpg. The class is the folder above.

Names that are codes tell such folders. Many small folders with words as their names may be products
or classes, and a person is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers.folders.codes import is_product_code

Folders = tuple[str, ...]
# Images of one product at most, in most of its folders.
FEW = 12
# Folders that are enough to tell, by codes and by words.
CODES, WORDS = 3, 20
# The share of folders that have to be alike.
MOST = 0.8
# Folders of all products, which are no class.
OF_ALL = frozenset(
    """
    product products item items article articles sku skus catalog catalogue shop store media
    """.split()
)
ACTION = (
    "Say what such a folder is: --set prepare.folders=products (its images are of one product, and "
    "the class is the folder above) or --set prepare.folders=classes"
)


class ProductFolders:
    """The product of an image by its folders, without those of splits.

    `form` is what is known of folders: products, classes or None. `asks_of_codes` says whether
    folders with codes have no class above them, so that nobody but a person knows what they are.
    """

    def __init__(self, paths: Iterable[Folders], options: Prepare) -> None:
        self.form = options.folders
        self._counts = Counter(path for path in paths if path)
        # Whether folders with codes are products; their class is above.
        self.has_codes = self.form is None and self._has_codes()
        is_open = self.form is None and not self.has_codes
        self._small = self._small_folders() if is_open else {}
        codes = [p for p in self._small if is_product_code(p[-1]) and not _classes(p[:-1])]
        self._codes = codes if len(codes) >= max(CODES, MOST * len(self._counts)) else []
        self.asks_of_codes = bool(self._codes)

    def of(self, folders: Sequence[str]) -> tuple[str | None, list[str]]:
        """The product of an image, and the folders of its class."""
        place = _place_of_code(folders)
        if self.form == "products" and folders:
            place = len(folders) - 1 if place is None else place
        elif not self.has_codes or place is None:
            return None, list(folders)
        classes = _classes(folders[:place])
        if not classes and not is_product_code(folders[place]):
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

    def doubts(self, has_names: bool) -> Iterator[Doubt]:
        """Whether folders are products or classes; `has_names`: a file names these classes."""
        if self._codes and not has_names:
            yield Doubt(
                f"{len(self._codes):,} folders such as '{self._codes[0][-1]}' have codes as names, "
                "and no folder above them names a class. They are read as classes.",
                f"{ACTION}; a text beside each image, a table, or classes.json "
                '({"CODE": "NAME", …}) says what it shows.',
                stops=True,
            )
        elif not self._codes and self._has_small_words():
            example = "/".join(next(iter(self._small)))
            yield Doubt(
                f"{len(self._small):,} folders such as '{example}' hold at most {FEW} images each: "
                "they may be products or classes. They are read as classes.",
                ACTION,
                stops=True,
            )

    def _has_codes(self) -> bool:
        """Whether nearly all images lie in small folders with codes, below folders of classes."""
        sizes: Counter[Folders] = Counter()
        for path, count in self._counts.items():
            place = _place_of_code(path)
            if place is not None and _classes(path[:place]):
                sizes[path[: place + 1]] += count
        covered = sizes.total() >= MOST * self._counts.total()
        return covered and len(sizes) >= CODES and median(sizes.values()) <= FEW

    def _small_folders(self) -> dict[Folders, int]:
        """Folders of few images and how many they hold; none where not nearly all are small."""
        small = {path: count for path, count in self._counts.items() if count <= FEW}
        return small if len(small) >= MOST * len(self._counts) else {}

    def _has_small_words(self) -> bool:
        """Whether there are many small folders, nearly all of different words and several views."""
        names = {path[-1].lower() for path in self._small}
        views = sum(count > 1 for count in self._small.values())
        few = MOST * len(self._small)
        return len(self._small) >= WORDS and len(names) >= few and views >= few


def _classes(folders: Sequence[str]) -> list[str]:
    return [name for name in folders if name.lower() not in OF_ALL]


def _place_of_code(folders: Sequence[str]) -> int | None:
    """The innermost folder whose name is a code."""
    return next((n for n in reversed(range(len(folders))) if is_product_code(folders[n])), None)
