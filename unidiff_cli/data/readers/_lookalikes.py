"""Second sets of images that have the names of a first one, whatever their folder or ending is.

`foo/a.png` beside `images/a.jpg`, and `a_foo.png` beside `a.jpg`, may be views of the products, or
masks, maps and thumbnails. Names that count on in every folder say nothing: 1.jpg, 2.jpg.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping

from unidiff_cli.data.locations import shown
from unidiff_cli.data.readers._companion_names import (
    ORIGINALS,
    before,
    behind,
    is_view,
    kind_of_folder,
    words_of,
)
from unidiff_cli.data.splits import SPLITS

# Images of a set at least: of a folder, and of an ending.
OF_FOLDER, OF_ENDING = 5, 3
# The share of a set whose names the first set has.
NEARLY_ALL = 0.9
# Folders with the same names that are parts of one product each: B01/box.jpg, B02/box.jpg.
MANY_FOLDERS = 8
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
        self._known = known
        self._look_at_endings()
        self._look_at_folders()

    def facts(self) -> Iterator[str]:
        """What is doubtful of each set, a sentence or two."""
        yield from self._facts

    # ------------------------------------------------------------ endings: a_foo.png beside a.jpg

    def _look_at_endings(self) -> None:
        totals: Counter[str] = Counter()
        sets: dict[str, dict[Parts, Parts]] = defaultdict(dict)
        for parts, has_text in self._texts.items():
            *folders, stem = parts
            named = [(base, f"_{'_'.join(words_of(words))}") for base, words in behind(stem)]
            named += [(base, f"{'_'.join(words_of(words))}_") for base, words in before(stem)]
            for base, ending in named:
                if is_view(ending):
                    continue
                totals[ending] += 1
                if not has_text and (*folders, base) in self._texts:
                    sets[ending][parts] = (*folders, base)
        for ending, images in sets.items():
            if len(images) >= max(OF_ENDING, NEARLY_ALL * totals[ending]):
                first, base = next(iter(images.items()))
                self._facts.append(
                    f"{len(images):,} images have the names of others and '{ending}' besides, such "
                    f"as {shown('/'.join(first))} of {shown(base[-1])}: {_QUESTION}"
                )
                self.found |= images.keys()

    # ------------------------------------------------------------ folders: foo/a.png, images/a.jpg

    def _look_at_folders(self) -> None:
        members: dict[Parts, list[Parts]] = defaultdict(list)
        # A path without one of its folders -> the paths that have it.
        without: dict[tuple[int, Parts], list[Parts]] = defaultdict(list)
        for parts in self._texts:
            for place in range(len(parts) - 1):
                members[parts[: place + 1]].append(parts)
                without[place, parts[:place] + parts[place + 1 :]].append(parts)
        partners = {
            folder: self._partners(images, len(folder) - 1, without)
            for folder, images in members.items()
            if self._may_be_second(folder, images)
        }
        done: set[frozenset[Parts]] = set()
        # Of two sets that have each other's names, the smaller or the later is the second.
        order = sorted(partners, key=lambda folder: (len(members[folder]), folder[::-1]))
        order.sort(key=lambda folder: len(members[folder]))
        for folder in order:
            images = members[folder]
            firsts = [
                first
                for first, count in partners[folder].items()
                if count >= NEARLY_ALL * len(images) and frozenset((first, folder)) not in done
            ]
            if not 0 < len(firsts) <= MANY_FOLDERS:
                continue
            evident = [first for first in firsts if self._is_evident(folder, first, images)]
            if evident:
                done |= {frozenset((first, folder)) for first in firsts}
                names = f"{_shown(folder)} have the names of those in {_shown(evident[0])}"
                self._facts.append(f"{len(images):,} images in {names}: {_QUESTION}")
                self.found |= set(images)

    def _may_be_second(self, folder: Parts, images: list[Parts]) -> bool:
        name = folder[-1].lower()
        if name in ORIGINALS or name in SPLITS or folder[-1] in self._known:
            return False
        is_open = not any(self._texts[parts] or parts in self.found for parts in images)
        return len(images) >= OF_FOLDER and is_open and not kind_of_folder(name)

    def _partners(
        self, images: list[Parts], place: int, without: Mapping[tuple[int, Parts], list[Parts]]
    ) -> Counter[Parts]:
        """The folders beside, or above, and how many of the images they have by name."""
        counts: Counter[Parts] = Counter()
        for parts in images:
            rest, stem = parts[:place] + parts[place + 1 : -1], parts[-1]
            firsts = set()
            for name in (stem, *_shorter(stem)):
                firsts |= {other[: place + 1] for other in without.get((place, (*rest, name)), ())}
                if (*rest, name) in self._texts:
                    firsts.add(parts[:place])
            firsts.discard(parts[: place + 1])
            counts.update(f for f in firsts if not f or f[-1].lower() not in SPLITS)
        return counts

    def _is_evident(self, folder: Parts, first: Parts, images: list[Parts]) -> bool:
        """Whether equal names are no chance."""
        if len(first) == len(folder) and first[-1].lower() in ORIGINALS:
            return True
        stems = [parts[-1] for parts in images]
        place = len(folder) - 1
        heads = [(*first, *parts[place + 1 :]) for parts in images]
        if all(self._texts.get(head, False) for head in heads):
            return True
        return not _counts_on(stems) and not all(map(is_view, stems))


def _shorter(stem: str) -> Iterator[str]:
    """A name without its last or its first word."""
    yield from (base for base, _ in [*list(behind(stem))[:1], *before(stem)])


def _counts_on(stems: list[str]) -> bool:
    """Whether most names are a word with a running number, or a letter or two."""
    templates: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for stem in stems:
        numbers = tuple(int(number[:18]) for number in _NUMBER.findall(stem))
        templates[_NUMBER.sub("#", stem)].append(numbers)
    running = 0
    for template, numbers in templates.items():
        columns = [set(column) for column in zip(*numbers, strict=True)]
        if not columns:
            running += len(numbers) * (len(template) < 3)
        elif len(numbers) > 1:
            column = max(columns, key=len)
            running += len(numbers) * (max(column) - min(column) < _GAPS * len(column))
    return running * 2 >= len(stems)


def _shown(folder: Parts) -> str:
    return f"{shown('/'.join(folder))}/" if folder else "the folder itself"
