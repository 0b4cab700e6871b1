"""Exports of shop systems, recognised by their columns: which rows are one product, and its words.

Columns as their public documentation has them: Shopify's product CSV (also the one of 2025),
WooCommerce's product CSV schema, Magento 2's catalog_product, Akeneo's product export, Google
Merchant's product data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from unidiff_cli.data import captions, columns
from unidiff_cli.data.readers._cells import Cells, Record
from unidiff_cli.data.readers._image_cells import parts_of
from unidiff_cli.data.sample import Reason

Read = Callable[[], Iterator[Record]]


@dataclass(frozen=True)
class FeedRow:
    """A row of a feed with the product it belongs to; a variant needs no image of its own."""

    number: int
    cells: Cells | Reason
    product: str = ""
    is_variant: bool = False


class Feed:
    """An export of a shop system. Names of columns are compared as `columns.plain` has them.

    `captions` are the columns of its words, of which the first that is filled is the caption;
    `images` those of its images, the main one first. None: found as in any table.
    """

    title: ClassVar[str] = ""
    # Each a choice of columns of which one must be there.
    needs: ClassVar[tuple[tuple[str, ...], ...]] = ()
    captions: ClassVar[tuple[str, ...]] = ()
    images: ClassVar[tuple[str, ...]] = ()
    ids: ClassVar[tuple[str, ...]] = ()
    # What makes rows one product, for a person.
    grouped_by: ClassVar[str] = ""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {columns.plain(name): name for name in reversed(names)}

    @classmethod
    def matches(cls, names: Sequence[str]) -> bool:
        """Whether a table with these columns is such an export."""
        known = {columns.plain(name) for name in names}
        return all(known & set(choice) for choice in cls.needs)

    def columns(self, plain_names: Sequence[str]) -> list[str]:
        """The table's columns of these plain names that it has."""
        return [self._names[name] for name in plain_names if name in self._names]

    def rows(self, read: Read) -> Iterator[FeedRow]:
        """The rows as images of products; `read` gives the table's rows, as often as needed."""
        self._survey(read)
        for number, cells in read():
            if isinstance(cells, Reason):
                yield FeedRow(number, cells)
            elif (row := self._row(number, cells)) is not None:
                yield row

    def _survey(self, read: Read) -> None:
        """Reads what of the table must be known before its first row."""

    def _row(self, number: int, cells: Cells) -> FeedRow | None:
        raise NotImplementedError

    def _value(self, cells: Cells, *plain_names: str) -> str:
        """The first filled cell of these columns, as text."""
        values = (captions.cell_text(cells.get(self._names.get(name, ""))) for name in plain_names)
        return next(filter(None, values), "")


class GoogleMerchant(Feed):
    title = "Google Merchant's product data"
    needs = (("imagelink",), ("title",), ("id", "itemgroupid", "link", "availability"))
    captions = ("title", "description")
    images = ("imagelink", "additionalimagelink", "additionalimagelinks", "lifestyleimagelink")
    ids = ("id",)
    grouped_by = "item_group_id"

    def _row(self, number: int, cells: Cells) -> FeedRow:
        return FeedRow(number, cells, self._value(cells, "itemgroupid", "id"))


class WooCommerce(Feed):
    title = "WooCommerce's product export"
    needs = (("type",), ("sku", "id"), ("name",), ("images",))
    captions = ("name", "shortdescription", "description")
    images = ("images",)
    ids = ("sku", "id")
    grouped_by = "Parent, else SKU"

    def _survey(self, read: Read) -> None:
        # What a variation's Parent says, an SKU or id:12, to the product's key and name.
        self._parents: dict[str, tuple[str, str]] = {}
        for _, cells in read():
            if not isinstance(cells, Reason) and not self._is_variation(cells):
                parent = (self._key(cells), self._value(cells, "name"))
                for name in (self._value(cells, "sku"), f"id:{self._value(cells, 'id')}"):
                    self._parents.setdefault(name, parent)

    def _row(self, number: int, cells: Cells) -> FeedRow:
        if not self._is_variation(cells):
            return FeedRow(number, cells, self._key(cells))
        reference = self._value(cells, "parent")
        product, name = self._parents.get(reference, (reference or self._key(cells), ""))
        own = self._value(cells, "name") or name
        return FeedRow(number, cells | {self._names["name"]: own}, product, is_variant=True)

    def _is_variation(self, cells: Cells) -> bool:
        return "variation" in self._value(cells, "type").lower()

    def _key(self, cells: Cells) -> str:
        return self._value(cells, "sku") or f"id:{self._value(cells, 'id')}"


class Magento(Feed):
    title = "Magento's catalog_product export"
    needs = (("sku",), ("baseimage",), ("name",))
    captions = ("name", "shortdescription", "description")
    images = ("baseimage", "additionalimages")
    ids = ("sku",)
    grouped_by = "configurable_variations, else sku"

    def _survey(self, read: Read) -> None:
        self._parents: dict[str, str] = {}
        # Products that have a row for all store views; the others are its translations.
        self._whole: set[str] = set()
        for _, cells in read():
            if isinstance(cells, Reason):
                continue
            sku = self._value(cells, "sku")
            if not self._value(cells, "storeviewcode"):
                self._whole.add(sku)
            # sku=M-1,size=S|sku=M-2,size=M
            for child in re.findall(
                r"(?:^|\|)sku=([^,|]+)", self._value(cells, "configurablevariations")
            ):
                self._parents[child.strip()] = sku

    def _row(self, number: int, cells: Cells) -> FeedRow:
        sku = self._value(cells, "sku")
        is_translation = bool(self._value(cells, "storeviewcode")) and sku in self._whole
        # What Magento writes where no image is chosen.
        empty = {name: "" for name, cell in cells.items() if cell == "no_selection"}
        if is_translation:
            empty |= dict.fromkeys(self.columns(self.images), "")
        is_variant = is_translation or sku in self._parents
        return FeedRow(number, cells | empty, self._parents.get(sku, sku), is_variant)


class Akeneo(Feed):
    title = "Akeneo's product export"
    needs = (
        ("family",),
        ("sku", "identifier", "uuid", "code"),
        ("enabled", "groups", "parent", "familyvariant"),
    )
    ids = ("sku", "identifier", "code", "uuid")
    grouped_by = "parent, else the identifier"

    def _row(self, number: int, cells: Cells) -> FeedRow:
        parent = self._value(cells, "parent")
        return FeedRow(number, cells, parent or self._value(cells, *self.ids), bool(parent))


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


FEEDS: tuple[type[Feed], ...] = (Shopify, WooCommerce, Magento, Akeneo, GoogleMerchant)


def recognise(names: Sequence[str]) -> Feed | None:
    """The shop system that writes these columns; None where it is none that is known."""
    return next((feed(names) for feed in FEEDS if feed.matches(names)), None)
