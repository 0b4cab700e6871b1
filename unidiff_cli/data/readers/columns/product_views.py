"""Views of one product by the names of its files: S001_front.jpg, S001_back.jpg."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from unidiff_cli.data.locations import shown

# Words of a view in English, German, French, Spanish and Italian. Colours may be other products,
# and so may numbers.
VIEWS = """
    front back side sides left right top bottom inside interior detail details closeup close-up
    zoom alt main rear hover worn packshot lifestyle mannequin ghost
    vorne hinten seite vorderseite rückseite face dos profil frente espalda lado fronte retro lato
"""
_VIEW = re.compile(
    rf"(.+?)[-_ .]+(?:{'|'.join(map(re.escape, VIEWS.split()))})(?:[-_ ]?\d{{1,2}})?", re.IGNORECASE
)


def product_of(path: str) -> str | None:
    """The path of an image without its view and ending; None for a name without a view."""
    file = PurePosixPath(path.replace("\\", "/"))
    match = _VIEW.fullmatch(file.stem)
    return str(file.with_name(match[1])) if match else None


class ProductViews:
    """The products of images whose names end in a view; of one view alone nothing is said."""

    def __init__(self, paths: Iterable[str]) -> None:
        counts = Counter(filter(None, map(product_of, dict.fromkeys(paths))))
        self._products = {product for product, count in counts.items() if count > 1}

    def __bool__(self) -> bool:
        return bool(self._products)

    def of(self, path: str) -> str | None:
        """The product of an image; None for one without another view."""
        product = product_of(path)
        return product if product in self._products else None

    def describe(self) -> list[str]:
        if not self._products:
            return []
        example = shown(min(self._products))
        return [f"products from views in file names: {len(self._products):,}, such as {example}"]
