"""Texts in a folder of their own: captions/a.txt for images/a.jpg, and for a.jpg."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location

# Folders whose texts are captions; labels/ may hold numbers of boxes.
CAPTIONS = frozenset("caption captions text texts txt txts prompt prompts".split())

Parts = tuple[str, ...]


class Parallel:
    """Texts of images whose paths differ in one folder: `texts` has those that are captions.

    `others` are texts in folders of another name, with the image that each may belong to.
    """

    def __init__(
        self, images: Iterable[Location], orphans: Iterable[Location], root: Location
    ) -> None:
        self.texts: dict[Location, Location] = {}
        self.others: dict[str, str] = {}
        # The path of a text without one of its folders -> that folder and the text.
        texts: dict[Parts, list[tuple[str, Location]]] = {}
        for text in orphans:
            parts = _parts(text, root)
            for place, folder in enumerate(parts[:-1]):
                rest = parts[:place] + parts[place + 1 :]
                texts.setdefault(rest, []).append((folder, text))
        for image in images if texts else ():
            parts = _parts(image, root)
            shorter = (parts[:place] + parts[place + 1 :] for place in range(len(parts) - 1))
            matches = [match for rest in (parts, *shorter) for match in texts.get(rest, ())]
            captions = [text for folder, text in matches if folder.lower() in CAPTIONS]
            if captions:
                self.texts[image] = captions[0]
            elif matches:
                self.others[matches[0][1].relative_to(root)] = image.relative_to(root)

    def doubts(self, stops: bool) -> Iterator[Doubt]:
        """Texts in other folders that may be captions."""
        if self.others:
            text, image = next(iter(self.others.items()))
            yield Doubt(
                f"{len(self.others):,} texts in other folders have the names of images, such as "
                f"{text} and {image}; they are not read.",
                "If they are captions, put them beside the images or into a folder named captions.",
                stops,
            )


def _parts(file: Location, root: Location) -> Parts:
    """The folders and the stem of a file, composed as Unicode has it."""
    pure = PurePosixPath(unicodedata.normalize("NFC", file.relative_to(root)))
    return (*pure.parts[:-1], pure.stem)
