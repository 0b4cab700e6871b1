"""TODO docstring."""

from __future__ import annotations

ROLES = {
    "image": "image image_path img img_path image_file image_filename file_name filename filepath file path image "
    "photo image_id image_url img_url url",
    "caption": "caption captions text prompt alt alt_text title product_title product_display_name productdisplayname "
    "product_name name description",
    "id": "id image_id item_id sku uid asin",
    "product": "product product_id parent_sku parent_id item_group_id parent_asin",
    "split": "split subset",
}
