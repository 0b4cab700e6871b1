"""Exports of shop systems, recognised by their columns.

Columns as their public documentation has them: Shopify's product CSV, WooCommerce's product CSV
schema, Magento 2's catalog_product, Akeneo's product export, Google Merchant's product data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from unidiff_cli.data.readers.columns.feed import Feed, FeedRow, Read
from unidiff_cli.data.readers.columns.feed_amazon import Amazon
from unidiff_cli.data.readers.columns.feed_shopify import Shopify
from unidiff_cli.data.readers.rows.cells import Cells
from unidiff_cli.data.sample import Reason


class GoogleMerchant(Feed):
    title = "Google Merchant's product data"
    needs = (("imagelink",), ("title",), ("id", "itemgroupid", "link", "availability"))
    captions = ("title", "description")
    images = ("imagelink", "additionalimagelink", "additionalimagelinks", "lifestyleimagelink")
    ids = ("id",)
    grouped_by = "item_group_id"

    def _row(self, number: int, cells: Cells) -> FeedRow:
        return FeedRow(number, cells, self._value(cells, "itemgroupid", "id"))


# What WooCommerce writes in German, French, Spanish, Italian, Dutch, Polish and Portuguese.
_WOOCOMMERCE = {
    "type": "typ tipo rodzaj",
    "sku": "artikelnummer ugs cod ref codigo artikelcode",
    "name": "nom nombre nome naam nazwa",
    "images": "bilder imagenes immagini afbeeldingen obrazki imagens",
    "parent": """
        ubergeordnetesprodukt ubergeordnet superior principal genitore bovenliggend hoofd
        hoofdproduct nadrzedny produktnadrzedny pai ascendente
    """,
    "shortdescription": """
        kurzbeschreibung descriptioncourte descripcioncorta brevedescrizione kortebeschrijving
        krotkiopis descricaocurta descricaobreve breveapresentacao
    """,
    "description": "beschreibung descripcion descrizione beschrijving opis descricao",
}


class WooCommerce(Feed):
    title = "WooCommerce's product export"
    translations = {word: name for name, words in _WOOCOMMERCE.items() for word in words.split()}
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


FEEDS: tuple[type[Feed], ...] = (
    Shopify,
    WooCommerce,
    Magento,
    Akeneo,
    Amazon,
    GoogleMerchant,
)


def recognise(names: Sequence[str]) -> Feed | None:
    """The shop system that writes these columns; None where it is none that is known."""
    return next((feed(names) for feed in FEEDS if feed.matches(names)), None)
