"""Which column of a catalogue is what: the usual names of each role, likeliest first."""

from __future__ import annotations

_IMAGE = """
    image image_path img img_path image_file image_filename file_name filename filepath file path
    picture photo image_id image_url img_url url
"""
_CAPTION = """
    caption captions text prompt alt alt_text title product_title product_display_name
    productdisplayname product_name name description
"""
ROLES = {
    "image": tuple(_IMAGE.split()),
    "caption": tuple(_CAPTION.split()),
    "id": ("id", "image_id", "item_id", "sku", "uid", "asin"),
    "product": (
        "product",
        "product_id",
        "parent_sku",
        "parent_id",
        "item_group_id",
        "parent_asin",
    ),
    "split": ("split", "subset"),
}
