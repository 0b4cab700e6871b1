"""Shopify's product export: its CSV of many years, and the columns of 2025."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from unidiff_cli.data import captions, columns
from unidiff_cli.data.readers.columns.feed import Feed, FeedRow, Read
from unidiff_cli.data.readers.columns.image_cells import parts_of
from unidiff_cli.data.readers.rows.cells import Cells
from unidiff_cli.data.sample import Reason


class Shopify(Feed):
    """Rows of one Handle are one product. Only its first row has the product's words.

    A row lists an image and a variant side by side that need not belong together. So a variant's
    cells are those of an image where `Variant Image` says so, or where all variants agree.
    """

    title = "Shopify's product export"
    needs = (("handle", "urlhandle"), ("title",), ("imagesrc", "productimageurl"))
    captions = ("title", "bodyhtml", "description")
    images = ("imagesrc", "productimageurl")
    ids = ("variantsku", "sku")
    grouped_by = "Handle"

    _HANDLE = ("handle", "urlhandle")
    _IMAGE = re.compile(r"imagesrc|productimageurl|imageposition|imagealttext")
    _VARIANT = re.compile(
        r"variant.*|option\d+(?:value|linkedto)|costperitem|sku|barcode|price|compareatprice"
        r"|unitprice.*|chargetax|taxcode|inventory.*|continueselling.*|weight.*|requiresshipping"
        r"|fulfillmentservice"
    )

    def rows(self, read: Read) -> Iterator[FeedRow]:
        # A table that was sorted has a product's rows apart: its words are known all the same.
        self._words: dict[str, Cells] = {}
        for _, cells in read():
            if not isinstance(cells, Reason) and (handle := self._value(cells, *self._HANDLE)):
                words = self._words.setdefault(handle, {})
                for name, cell in cells.items():
                    if captions.cell_text(cell) and self._is_word(name):
                        words.setdefault(name, cell)
        run: list[tuple[int, Cells]] = []
        current = ""
        for number, cells in read():
            if isinstance(cells, Reason):
                yield FeedRow(number, cells)
                continue
            handle = self._value(cells, *self._HANDLE)
            if run and (handle != current or not handle):
                yield from self._product(current, run)
                run = []
            run.append((number, cells))
            current = handle
        yield from self._product(current, run)

    def _is_word(self, name: str) -> bool:
        name = columns.plain(name)
        return not self._IMAGE.fullmatch(name) and not self._VARIANT.fullmatch(name)

    def _product(self, handle: str, run: Sequence[tuple[int, Cells]]) -> Iterator[FeedRow]:
        words = self._words.get(handle, {})
        shown: set[tuple[str, ...]] = set()
        for number, cells in run:
            source = self._value(cells, *self.images)
            sources = [(source, cells)] if source else []
            if own := self._value(cells, "variantimage", "variantimageurl"):
                sources.append((own, {}))
            for name, image_cells in sources:
                if _file_key(name) in shown:
                    continue
                shown.add(_file_key(name))
                yield FeedRow(number, self._image(name, image_cells, words, run), handle)
            if not sources:
                yield FeedRow(number, cells | words, handle, is_variant=self._has_image(run))

    def _has_image(self, run: Sequence[tuple[int, Cells]]) -> bool:
        names = (*self.images, "variantimage", "variantimageurl")
        return any(self._value(cells, *names) for _, cells in run)

    def _image(
        self, name: str, image_cells: Cells, words: Cells, run: Sequence[tuple[int, Cells]]
    ) -> Cells:
        """The cells of one image: the product's words, its own cells, and those of its variant."""
        variants = [
            cells
            for _, cells in run
            if _file_key(self._value(cells, "variantimage", "variantimageurl")) == _file_key(name)
        ]
        all_variants = [
            cells for _, cells in run if self._value(cells, "option1value", "variantsku", "sku")
        ]
        variant = variants[0] if variants else self._agreed(all_variants)
        row: Cells = {}
        for column in run[0][1]:
            plain_name = columns.plain(column)
            if self._IMAGE.fullmatch(plain_name):
                row[column] = image_cells.get(column, "")
            elif self._VARIANT.fullmatch(plain_name):
                row[column] = variant.get(column, "")
            else:
                row[column] = words.get(column, "")
        return row | {self.columns(self.images)[0]: name}

    def _agreed(self, variants: Sequence[Cells]) -> Cells:
        """The cells that are the same for all variants."""
        if not variants:
            return {}
        first, *others = variants
        return {
            name: cell
            for name, cell in first.items()
            if all(other.get(name) == cell for other in others)
        }


def _file_key(name: str) -> tuple[str, ...]:
    """What two names of one image have in common: `?v=1` and the host may differ."""
    return parts_of(name) or (name,)
