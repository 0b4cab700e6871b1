"""Which column of a catalogue is what: the usual names of each role, likeliest first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import PurePosixPath

_IMAGE = """
    image image_path img img_path image_file image_filename file_name filename filepath file path
    base_image main_image primary_image featured_image default_image product_image image_link
    image_src image_name picture photo images pictures photos image_id image_url img_url
    product_image_url url media bild bilder bilddatei foto fotos imagen imagenes immagine immagini
    afbeelding obrazek zdjecie imagem
"""
_CAPTION = """
    caption captions product_title product_display_name productdisplayname product_name item_name
    display_name text prompt title name alt alt_text image_alt_text label_text
    short_description description body_html body long_description details
    bezeichnung titel produktname artikelname artikelbezeichnung beschreibung kurzbeschreibung
    titre nom nom_du_produit libelle titulo nombre nombre_del_producto descripcion
    titolo nome nome_prodotto descrizione naam productnaam omschrijving nazwa opis produto descricao
"""
_ID = """
    id image_id item_id sku uid asin identifier product_code article_number item_number
    variant_sku artikelnummer artikel_nr artikelnr reference referencia codice
    item_no item_code product_number product_no listing_id article_no article_code art_nr art_no
    artikel_no artikelcode artikelkennung bestellnummer bestellnr produktnummer produktnr
    ref ref_produit reference_produit code_produit code_article ugs num_article
    codigo codigo_producto codigo_articulo codigo_produto ref_producto referencia_producto
    codice_articolo codice_prodotto cod_articolo riferimento artikelnummers productcode
    productnummer kod_produktu symbol numer_katalogowy indeks referencia_produto
"""
_PRODUCT = "product product_id parent_sku parent_id item_group_id parent_asin"
# Names that say other things too: of a table's columns, what they hold decides.
LIKELY_PRODUCTS = tuple(
    """
    product_code parent item_group group_id product_group_id handle url_handle product_handle spu
    style_id style_code style_number style_no style model_number parent_product_id master_id
    master_sku master_product configurable_sku sku_parent parent_code parent_ref product_group_code
    hauptartikel hauptartikelnummer hauptartikel_nr vaterartikel vaterartikelnummer vaterartikel_nr
    elternartikel elternartikelnummer ubergeordnetes_produkt uebergeordnetes_produkt produkt_id
    ubergeordneter_artikel uebergeordneter_artikel
    produit_parent ugs_parent reference_parent ref_parent code_parent id_parent id_produit
    producto_padre sku_padre id_padre referencia_padre sku_principal id_producto
    prodotto_padre articolo_padre sku_padre codice_padre id_prodotto genitore
    hoofdartikel hoofdproduct hoofdartikelnummer bovenliggend_product
    produkt_nadrzedny sku_nadrzedne nadrzedny id_produktu
    produto_pai sku_pai codigo_pai id_produto
    """.split()
)
_SPLIT = """
    split splits data_split dataset_split subset partition evaluation_status eval_status
    aufteilung datenaufteilung repartition decoupage particion suddivisione particao podzial
    verdeling
"""
# Parts of names of columns that say which product a variant belongs to.
_PARENTS = re.compile(
    "parent|vaterartikel|elternartikel|hauptartikel|ubergeordnet|uebergeordnet|master|configurable"
    "|padre|genitore|hoofdartikel|hoofdproduct|bovenliggend|nadrzedn|pai$|itemgroup"
)
# Letters that Unicode does not take apart into a letter and its accent.
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i"})
_ACCENTS = re.compile("[\u0300-\u036f]")
# Columns of yes and no, or 1 and 0.
SPLIT_FLAGS = tuple(
    """
    is_test is_train is_val is_holdout is_held_out in_test holdout is_training is_validation
    """.split()
)
# Names that say other things too: such a column is a split only if its values are.
AMBIGUOUS_SPLITS = tuple("fold set phase usage stage purpose verwendung uso".split())
# Such names whose few values are asked for where none of them is understood.
ASKED_SPLITS = tuple(
    """
    dataset datensatz jeu jeu_de_donnees ensemble conjunto conjunto_de_datos conjunto_de_dados
    insieme zbior zbior_danych gegevensset
    """.split()
)
ROLES = {
    "image": tuple(_IMAGE.split()),
    "caption": tuple(_CAPTION.split()),
    "id": tuple(_ID.split()),
    "product": tuple(_PRODUCT.split()),
    "split": tuple(_SPLIT.split()),
}
# Words of the name of a file that names classes.
_OF_CLASSES = re.compile(
    r"(?:^|[-_ .])(?:class(?:es|names?|list)?|label(?:s|map|names?)?|categor(?:y|ies)|cats?|names|"
    r"synsets?|words|mapping|map|id2label|idx2label|folders)(?:[-_ .]|$)",
    re.IGNORECASE,
)
# Names whose plain form is kept, and characters of each: it is asked for in every row of JSON.
_KEPT, _SHORT = 4096, 100
# `name-en_US` and `name-en_US-ecommerce`: how PIM systems write an attribute's language.
_LOCALE = re.compile(r"^(?P<name>.+?)-(?P<locale>[a-z]{2}_[A-Z]{2})(?:-\w+)?$")


def plain(column: str) -> str:
    """A column's name as it is compared: `g:Image Link`, `imageLink` and `image_link` are one.

    So are `Référence` and `reference`.
    """
    return _kept(column) if len(column) <= _SHORT else _plain(column)


def _plain(column: str) -> str:
    name = re.sub(r"^(?:g:|\{http[^}]*\})", "", column.strip())
    if match := _LOCALE.match(name):
        name = match["name"]
    letters = unicodedata.normalize("NFKD", name.casefold()).translate(_LETTERS)
    name = unicodedata.normalize("NFC", _ACCENTS.sub("", letters))
    return re.sub(r"[\W_]+", "", name)


_kept = lru_cache(_KEPT)(_plain)


def is_parent(column: str) -> bool:
    """Whether a column's name says that its values are the products that variants belong to."""
    return bool(_PARENTS.search(plain(column)))


def locale(column: str) -> str:
    """The language that a column's name says, such as en_US; "" where it says none."""
    match = _LOCALE.match(column.strip())
    return match["locale"] if match else ""


def words(column: str) -> list[str]:
    """The words of a column's name in lower case, numbers among them."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[a-zA-Z])(?=\d)", " ", column)
    return re.findall(r"[^\W\d_]+|\d+", spaced.lower())


def named(role: str, columns: Iterable[str], more: Iterable[str] = ()) -> list[str]:
    """The columns whose names mean a role, likeliest first; English of several languages first.

    `more` are further names of the role, less likely ones.
    """
    by_name: dict[str, list[str]] = {}
    for column in columns:
        by_name.setdefault(plain(column), []).append(column)
    return [
        column
        for name in dict.fromkeys((*_names(role), *map(plain, more)))
        for column in sorted(
            by_name.get(name, ()), key=lambda c: bool(locale(c)) and not locale(c).startswith("en")
        )
    ]


def has(role: str, columns: Iterable[str]) -> bool:
    """Whether the name of a column means a role."""
    names = _names(role)
    # A plain loop: it runs for every row of JSON.
    for column in columns:
        if plain(column) in names:
            return True
    return False


@lru_cache
def _names(role: str) -> dict[str, None]:
    """The names of a role as they are compared, likeliest first."""
    return dict.fromkeys(map(plain, ROLES[role]))


def names_classes(file: str) -> bool:
    """Whether a file's name says that it names classes, such as class_to_idx.json."""
    return bool(_OF_CLASSES.search(PurePosixPath(file).stem))
