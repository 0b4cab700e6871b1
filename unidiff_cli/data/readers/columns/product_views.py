"""Views of one product by the names of its files: S001_front.jpg, S001_back.jpg."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from unidiff_cli.data.locations import shown

# Words of a view in English, German, French, Spanish and Italian that name no goods, as top and
# retro do. Colours and numbers may be other products.
VIEWS = """
    front back side sides left right rear interior detail details closeup close-up packshot
    lifestyle mannequin hover vorne hinten seite vorderseite rückseite dos profil frente espalda
    lado fronte
"""
# Images of one product at most, and characters of a name that is looked at.
MOST, LONGEST = 12, 255
# The share of the names with a view that have another one, where views mean that.
NEARLY_ALL = 0.8
_VIEW = re.compile(
    rf"(.+?)[-_ .]+({'|'.join(map(re.escape, VIEWS.split()))})(?:[-_ ]?\d{{1,2}})?", re.IGNORECASE
)


def product_of(path: str) -> str | None:
    """The path of an image without its view and ending; None for a name without a view."""
    found = _parts(path)
    return found[0] if found else None


class ProductViews:
    """The products of images whose names end in a view; of one view alone nothing is said."""

    def __init__(self, paths: Iterable[str]) -> None:
        views: dict[str, list[str]] = defaultdict(list)
        for path in dict.fromkeys(paths):
            if found := _parts(path):
                views[found[0]].append(found[1])
        self._products = {
            product
            for product, words in views.items()
            if len(set(words)) > 1 and len(words) <= MOST
        }
        self.is_usual = len(self._products) >= NEARLY_ALL * max(1, len(views))

    def of(self, path: str) -> str | None:
        """The product of an image; None for one without another view."""
        product = product_of(path)
        return product if product in self._products else None

    def describe(self) -> list[str]:
        if not self._products:
            return []
        example = shown(min(self._products))
        return [f"products from views in file names: {len(self._products):,}, such as {example}"]


def _parts(path: str) -> tuple[str, str] | None:
    """The path without view and ending, and the view; None for a name without a view."""
    file = PurePosixPath(path.replace("\\", "/"))
    match = _VIEW.fullmatch(file.stem) if len(file.stem) <= LONGEST else None
    return (str(file.with_name(match[1])), match[2].lower()) if match else None
