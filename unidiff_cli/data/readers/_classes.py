"""What an image's folders say: its split, its class, and kohya's repeat counts.

kohya's trainers read folders such as `10_red dress`: ten repeats of the class "red dress". Here
every image counts once. Their regularization images are no products.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from unidiff_cli.data.locations import Location
from unidiff_cli.data.split_words import whole_split

COLUMNS = ("class", "folder", "split")
NO_CLASS = frozenset(
    ("images", "image", "imgs", "img", "photos", "pictures", "pics", "data", "dataset")
)
REPEATED = "images in folders with a repeat count (10_red dress), each read once"
REGULARIZATION = "regularization images of kohya, left out"
_REPEATS = re.compile(r"\d+_(.*\S)\s*")
_REGULARIZATION = re.compile(
    r"(?:\d+_)?(?:reg|regs|regularization|regularisation|reg_images)", re.I
)


class Classes:
    """The columns of a catalogue's images by their folders."""

    def __init__(self, images: Iterable[Location], root: Location) -> None:
        self.root = root
        folders = {tuple(_folders(image, root)[-1:]) for image in images}
        names = [name for (name,) in filter(None, folders)]
        # kohya's layout: every folder that holds images has a repeat count.
        self.has_repeats = bool(names) and all(
            _REPEATS.fullmatch(name) or _REGULARIZATION.fullmatch(name) for name in names
        )

    def is_regularization(self, image: Location) -> bool:
        """Whether it is an image that kohya trains beside the products, such as 1_reg/a.jpg."""
        folders = _folders(image, self.root) if self.has_repeats else ()
        return any(_REGULARIZATION.fullmatch(name) for name in folders)

    def columns(self, image: Location) -> dict[str, Any]:
        """What an image's path says.

        images/train/men/shirts/a.jpg is split train, class shirts, folder men/shirts.
        """
        folders = [f for f in _folders(image, self.root) if f.lower() not in NO_CLASS]
        columns: dict[str, Any] = {}
        if folders and (split := whole_split(folders[0])):
            columns["split"] = split
            folders.pop(0)
        if self.has_repeats:
            repeats = [_REPEATS.fullmatch(name) for name in folders]
            folders = [r[1] if r else name for r, name in zip(repeats, folders, strict=True)]
        if folders:
            columns["class"] = folders[-1]
        if len(folders) > 1:
            columns["folder"] = "/".join(folders)
        return columns


def _folders(image: Location, root: Location) -> list[str]:
    return image.relative_to(root).split("/")[:-1]
