"""Amazon's inventory file: a parent row says what its variations share, and has no image."""

from __future__ import annotations

from unidiff_cli.data.readers.columns.feed import Feed, FeedRow, Read
from unidiff_cli.data.readers.rows.cells import Cells
from unidiff_cli.data.sample import Reason

_LEVEL = ("parentchild", "parentage", "parentagelevel")
_SKU = ("itemsku", "sellersku", "sku", "contributionsku")


class Amazon(Feed):
    title = "Amazon's inventory file"
    needs = (_LEVEL, ("parentsku",), _SKU, ("itemname", "productname", "title"))
    captions = ("itemname", "productname", "title")
    ids = _SKU
    grouped_by = "parent_sku, else the SKU"

    def _survey(self, read: Read) -> None:
        # The SKUs that variations refer to.
        self._parents: set[str] = set()
        for _, cells in read():
            if not isinstance(cells, Reason) and (parent := self._value(cells, "parentsku")):
                self._parents.add(parent)

    def _row(self, number: int, cells: Cells) -> FeedRow:
        sku = self._value(cells, *_SKU)
        says_parent = self._value(cells, *_LEVEL).lower() == "parent"
        # A parent without variations is a product that lost them: a bad row.
        is_parent = says_parent and sku in self._parents
        return FeedRow(number, cells, self._value(cells, "parentsku") or sku, is_parent)
