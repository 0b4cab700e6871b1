"""Second sets of images that have the names of a first one, whatever their folder or ending is.

`foo/a.png` beside `images/a.jpg`, and `a_foo.png` beside `a.jpg`, may be views of the products, or
masks, maps and thumbnails. Names that count on in every folder say nothing: 1.jpg, 2.jpg.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, islice

from unidiff_cli.data.locations import shown
from unidiff_cli.data.readers.folders.companion_names import (
    ORIGINALS,
    before,
    behind,
    is_view,
    kind_of_folder,
    pixels,
    words_of,
)
from unidiff_cli.data.split_words import SPLITS

# Images of a set at least: of a folder, and of an ending.
OF_FOLDER, OF_ENDING = 5, 3
# The share of a set whose names the first set has.
NEARLY_ALL = 0.9
# Folders with the same names that are parts of one product each: B01/box.jpg, B02/box.jpg.
MANY_FOLDERS = 8
# Folders that are tried as the first of a second set: above it ("") and known ones, then so many.
_KNOWN, _TRIED = ("", *sorted(ORIGINALS)), 200
# Numbers that a range of names may lack and still count on.
_GAPS = 3
_NUMBER = re.compile(r"\d+")
_QUESTION = "views of the products, or masks, maps and thumbnails? They are read as products."

Parts = tuple[str, ...]


class Lookalikes:
    """`found` are the images of second sets; `texts` says of each image whether it has a text.

    Folders in `known` are doubtful already.
    """

    def __init__(self, texts: Mapping[Parts, bool], known: Collection[str]) -> None:
        self.found: set[Parts] = set()
        self._facts: list[str] = []
        self._texts = texts
        self._known = frozenset(map(str.lower, known))
        self._look_at_sizes()
        self._look_at_endings()
        self._look_at_folders()

    def facts(self) -> Iterator[str]:
        """What is doubtful of each set, a sentence or two."""
        yield from self._facts

    # ------------------------------------------------------------ sizes: a-150x150, a-600x600

    def _look_at_sizes(self) -> None:
        """Copies of several sizes without the image itself: all but the largest."""
        copies: dict[Parts, dict[int, Parts]] = defaultdict(dict)
        for parts, has_text in self._texts.items():
            for base, words in behind(parts[-1]):
                if not has_text and (size := pixels(words)):
                    copies[(*parts[:-1], base)][size] = parts
        smaller = {
            image for sizes in copies.values() for size, image in sizes.items() if size < max(sizes)
        }
        if len(smaller) >= OF_ENDING:
            first = next(image for image in self._texts if image in smaller)
            self._facts.append(
                f"{len(smaller):,} images have a size in their names and lie beside larger ones, "
                f"such as {shown('/'.join(first))}: smaller copies, or products? They are read as "
                "products."
            )
            self.found |= smaller

    # ------------------------------------------------------------ endings: a_foo.png beside a.jpg

    def _look_at_endings(self) -> None:
        totals: Counter[str] = Counter()
        sets: dict[str, dict[Parts, Parts]] = defaultdict(dict)
        for parts, has_text in self._texts.items():
            *folders, stem = parts
            named = [(f"_{'_'.join(words_of(words))}", base) for base, words in behind(stem)]
            named += [(f"{'_'.join(words_of(words))}_", base) for base, words in before(stem)]
            totals.update({ending for ending, _ in named if not is_view(ending)})
            for ending, base in named:
                if not has_text and (*folders, base) in self._texts and not is_view(ending):
                    sets[ending][parts] = (*folders, base)
        for ending, images in sets.items():
            if len(images) >= max(OF_ENDING, NEARLY_ALL * totals[ending]):
                image, owner = next(iter(images.items()))
                self._facts.append(
                    f"{len(images):,} images have the names of others and '{ending}' besides, such "
                    f"as {shown('/'.join(image))} of {shown(owner[-1])}: {_QUESTION}"
                )
                self.found |= images.keys()

    # ------------------------------------------------------------ folders: foo/a.png, images/a.jpg

    def _look_at_folders(self) -> None:
        # The images below all folders of a name, each with the place of that folder in its path.
        sets: dict[str, list[tuple[Parts, int]]] = defaultdict(list)
        # A path without one of its folders -> the folders that were left out there.
        without: dict[tuple[int, Parts], dict[str, None]] = defaultdict(dict)
        for parts in self._texts:
            for place, folder in enumerate(parts[:-1]):
                sets[folder.lower()].append((parts, place))
                without[place, parts[:place] + parts[place + 1 :]][folder.lower()] = None
        done: set[frozenset[str]] = set()
        # Of two sets that have each other's names, the smaller or the later is the second.
        names = [name for name, images in sets.items() if self._may_be_second(name, images)]
        for name in sorted(sorted(names, reverse=True), key=lambda name: len(sets[name])):
            images = sets[name]
            partners = (
                first
                for first in self._partners(name, images, without)
                if frozenset((first, name)) not in done
            )
            firsts = list(islice(partners, MANY_FOLDERS + 1))
            if not 0 < len(firsts) <= MANY_FOLDERS:
                continue
            evident = [first for first in firsts if self._is_evident(first, images)]
            if evident:
                done |= {frozenset((first, name)) for first in firsts}
                first = f"those in {shown(evident[0])}/" if evident[0] else "those above it"
                self._facts.append(
                    f"{len(images):,} images in {shown(name)}/ have the names of {first}: "
                    f"{_QUESTION}"
                )
                self.found |= {parts for parts, _ in images}

    def _may_be_second(self, name: str, images: list[tuple[Parts, int]]) -> bool:
        if name in ORIGINALS or name in SPLITS or name in self._known:
            return False
        is_open = not any(self._texts[parts] or parts in self.found for parts, _ in images)
        return len(images) >= OF_FOLDER and is_open and not kind_of_folder(name)

    def _partners(
        self,
        name: str,
        images: list[tuple[Parts, int]],
        without: Mapping[tuple[int, Parts], Mapping[str, None]],
    ) -> Iterator[str]:
        """The folders beside ("": above) that have nearly all of the images by name.

        Names such as 1.jpg lie in every folder, so that the folders of each name are not counted:
        one that lacks few images has one of those that the fewest folders have.
        """
        holders: list[list[Mapping[str, None]]] = []
        for parts, place in images:
            stems = (parts[-1], *_shorter(parts[-1]))
            rests = [(*parts[:place], *parts[place + 1 : -1], stem) for stem in stems]
            above = [{"": None}] if any(rest in self._texts for rest in rests) else []
            beside = [without[place, rest] for rest in rests if (place, rest) in without]
            holders.append([*above, *beside])
        holders.sort(key=lambda folders: sum(map(len, folders)))
        most = len(images) - math.ceil(NEARLY_ALL * len(images))
        fewest = chain.from_iterable(chain.from_iterable(holders[: most + 1]))
        for first in dict.fromkeys((*_KNOWN, *islice(fewest, _TRIED))):
            if first in SPLITS or first == name:
                continue
            lacking = (1 for folders in holders if all(first not in some for some in folders))
            if len(list(islice(lacking, most + 1))) <= most:
                yield first

    def _is_evident(self, first: str, images: list[tuple[Parts, int]]) -> bool:
        """Whether equal names are no chance."""
        if first in ORIGINALS:
            return True
        folders = (first,) if first else ()
        heads = [(*parts[:place], *folders, *parts[place + 1 :]) for parts, place in images]
        if all(self._texts.get(head, False) for head in heads):
            return True
        stems = [parts[-1] for parts, _ in images]
        return not _counts_on(stems) and not all(map(_is_part, stems))


def _shorter(stem: str) -> Iterator[str]:
    """A name without its last or its first word."""
    yield from (base for base, _ in [*list(behind(stem))[:1], *before(stem)])


def _is_part(stem: str) -> bool:
    """Whether a name may be that of one of a product's photos: front, box, side_2."""
    digits = sum(map(len, _NUMBER.findall(stem)))
    return digits < 3 and (is_view(stem) or len(words_of(stem)) + digits < 2)


def _counts_on(stems: list[str]) -> bool:
    """Whether most names are a word with a running number, or a letter or two."""
    templates: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for stem in stems:
        numbers = tuple(int(number[:18]) for number in _NUMBER.findall(stem))
        templates[_NUMBER.sub("#", stem)].append(numbers)
    running = 0
    for template, rows in templates.items():
        columns = [set(column) for column in zip(*rows, strict=True)]
        if not columns:
            running += len(rows) * (len(template) < 3)
        elif len(rows) > 1:
            column = max(columns, key=len)
            running += len(rows) * (max(column) - min(column) < _GAPS * len(column))
    return running * 2 >= len(stems)
