"""Texts beside images: `a.txt`, `a.jpg.txt`, `a.caption`, `a.tags` and `a.json` of `a.jpg`.

All texts of a folder are looked at before the first is read: they have one encoding, and their
lines are one caption each or one caption wrapped. `.txt` wins over `.caption`, as in OneTrainer and
in kohya's window; kohya's scripts write tags into the one and sentences into the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.readers.folders import json_captions
from unidiff_cli.data.readers.folders.json_captions import Found
from unidiff_cli.data.readers.folders.parallel import Parallel
from unidiff_cli.data.readers.folders.sidecar_words import Words, cells_of, data_of, read
from unidiff_cli.data.readers.folders.text_look import TextLook, look_at
from unidiff_cli.data.readers.folders.text_names import JSON, SUFFIXES, folded, owners
from unidiff_cli.data.sample import Reason
from unidiff_cli.errors import UsageError

# Texts of which several may say the caption.
PLAIN = (".txt", ".caption")


class Beside(NamedTuple):
    """A text and the name of the image that it may belong to."""

    text: Location
    owner: str


class Sidecars:
    """The texts of a catalogue's images: `of` has those of each image, likeliest first."""

    def __init__(
        self,
        files: Iterable[Location],
        images: Iterable[Location],
        root: Location,
        options: Prepare,
    ) -> None:
        """Raises UsageError where no image has a text of `prepare.sidecar_ending`."""
        self.options, files = options, list(files)
        endings = (f".{options.sidecar_ending}",) if options.sidecar_ending else SUFFIXES
        # The images of each stem.
        self._stems: dict[tuple[Location, str], list[Location]] = defaultdict(list)
        for image in images:
            self._stems[image.parent, PurePosixPath(image.name).stem].append(image)
        beside = [file for file in files if file.suffix in endings]
        texts = self._by_owner(beside)
        self.of = {image: list(self._named(image, texts, endings)) for image in images}
        self.used = {text for beside in self.of.values() for text in beside}
        orphans = [text for text in beside if text not in self.used]
        without = [image for image, beside in self.of.items() if not beside]
        self.parallel = Parallel(without, orphans, root)
        for image, text in self.parallel.texts.items():
            self.of[image] = [text]
            self.used.add(text)
        self._orphans = [t for t in orphans if t not in self.used and t.suffix != JSON]
        if options.sidecar_ending and not self.count:
            raise self._no_text(files)
        # What the .json files say that alone may have a caption: where it is, and where not.
        self.places: Counter[str] = Counter()
        self._unclear: list[tuple[Location, list[str]]] = []

    @property
    def count(self) -> int:
        """The images that have a text."""
        return sum(map(bool, self.of.values()))

    def look(self) -> TextLook:
        """Looks at the first text of every image, as far as its limit goes."""
        first = dict.fromkeys(texts[0] for texts in self.of.values() if texts)
        plain = [text for text in first if text.suffix in PLAIN]
        limits = self.options.limits
        self._look_at_json(text for text in first if text.suffix == JSON)

        def texts() -> Iterator[tuple[str, bytes]]:
            for text in plain:
                data = data_of(text, limits)
                if not isinstance(data, Reason):
                    yield shown(text.name), data

        return look_at(texts, self.options)

    def _look_at_json(self, texts: Iterable[Location]) -> None:
        self.places.clear()
        self._unclear.clear()
        for text in texts:
            cells = cells_of(text, TextLook(), self.options.limits)
            if isinstance(cells, Reason):
                continue
            try:
                found = json_captions.find(cells, self.options)
            except ValueError:
                continue
            if isinstance(found, Found):
                self.places[found.place] += 1
            else:
                self._unclear.append((text, found))

    def decisions(self) -> dict[str, str]:
        """Where the captions of .json files stand, where that is not plain."""
        names = ", ".join(place for place, _ in self.places.most_common(3))
        is_plain = all(
            "." not in place and place not in json_captions.TAGS for place in self.places
        )
        return {} if is_plain else {"captions of .json files": names}

    def doubts(self, look: TextLook, products: Collection[Location]) -> Iterator[Doubt]:
        """What may be meant otherwise; `products` are the images that are read."""
        yield from look.doubts(self.options)
        yield from self.parallel.doubts(stops=not self.count)
        stems = ([i for i in images if i in products] for images in self._stems.values())
        shared = [images for images in stems if self._share(images)]
        if shared:
            names = " and ".join(shown(image.name) for image in shared[0])
            yield Doubt(
                f"{len(shared):,} texts lie beside several images each, such as {names}; "
                "each image gets the text.",
                "Rename or move the images that are not meant.",
            )
        yield from self._doubts_of_json()
        if others := [texts for texts in self.of.values() if self._differ(texts, look)]:
            first, second = (shown(text.name) for text in others[0][:2])
            yield Doubt(
                f"{len(others):,} images have two texts that differ, such as {first} and "
                f"{second}; {others[0][0].suffix} is read.",
                "Say which is the caption: --set prepare.sidecar_ending=caption (or txt, json)",
                stops=True,
            )
        folders = {text.parent for text in self.used}
        if orphans := [text for text in self._orphans if text.parent in folders]:
            yield Doubt(
                f"{len(orphans):,} texts have no image of their name, such as "
                f"{shown(orphans[0].name)}; they are not used.",
                "Their images may be missing, or have an ending that is not read.",
            )
        without = sum(not self.of[image] for image in products)
        if self.count and without:
            yield Doubt(
                f"{without:,} of {len(products):,} images have no text beside them; those in "
                "folders of classes get the name of their class.",
                "Add the missing texts, or leave it so.",
            )

    def _doubts_of_json(self) -> Iterator[Doubt]:
        """Files whose caption is not found; their images would get another one."""
        if not self._unclear or self.options.caption:
            return
        text, places = self._unclear[0]
        several = f": it may be {' or '.join(places[:3])}" if places else ""
        where = places[0] if places else "PLACE"
        yield Doubt(
            f"{len(self._unclear):,} .json files beside images hold no caption that is found, such "
            f"as {shown(text.name)}{several}; the images would get the names of their folders.",
            f"Say where it is: --set prepare.columns.caption={where} (such as product.title)",
            stops=True,
        )

    def _no_text(self, files: list[Location]) -> UsageError:
        """What is wrong with `prepare.sidecar_ending` where it names no text."""
        names = {(folder, folded(stem)) for folder, stem in self._stems}
        names |= {(i.parent, folded(i.name)) for same in self._stems.values() for i in same}
        there = Counter(
            file.suffix
            for file in files
            if file.suffix in SUFFIXES
            if any((file.parent, folded(name)) in names for name in owners(file.name))
        )
        found = ", ".join(f"{ending} ({count:,})" for ending, count in there.most_common())
        return UsageError(
            f"prepare.sidecar_ending is {self.options.sidecar_ending}, and no image has a text of "
            "that ending.",
            f"Endings of texts beside images there: {found or 'none'}.",
        )

    def _share(self, images: list[Location]) -> bool:
        """Whether images of one name have one text."""
        texts = [self.of[image][0] for image in images if self.of[image]]
        return len(texts) > len(set(texts))

    def _differ(self, texts: list[Location], look: TextLook) -> bool:
        """Whether a .txt and a .caption of one image say different things."""
        words = [
            words.captions
            for text in texts
            if text.suffix in PLAIN
            if isinstance(words := read(text, look, self.options), Words)
        ]
        return any(captions.fold(" ".join(w)) != captions.fold(" ".join(words[0])) for w in words)

    def _by_owner(self, texts: list[Location]) -> dict[tuple[Location, str], list[Beside]]:
        """The texts by the names of images that they may belong to, with their ending."""
        names = {(folder, folded(stem)) for folder, stem in self._stems}
        found: dict[tuple[Location, str], list[Beside]] = defaultdict(list)
        for text in texts:
            for number, owner in enumerate(owners(text.name)):
                # a_caption.txt is that of a_caption.jpg where there is one.
                if number and (text.parent, folded(PurePosixPath(text.name).stem)) in names:
                    break
                found[text.parent, folded(owner) + text.suffix].append(Beside(text, owner))
        return found

    def _named(
        self,
        image: Location,
        texts: dict[tuple[Location, str], list[Beside]],
        endings: Iterable[str],
    ) -> Iterator[Location]:
        folder, found = image.parent, dict[Location, None]()
        names = (PurePosixPath(image.name).stem, image.name)
        keys = [(name, folded(name)) for name in names]
        for ending in endings:
            for name, key in keys:
                candidates = texts.get((folder, key + ending), [])
                exact = [beside.text for beside in candidates if beside.owner == name]
                # IMG.JPG may have img.txt, but not where there is an img.jpg too.
                free = [
                    beside.text
                    for beside in candidates
                    if (folder, beside.owner) not in self._stems
                ]
                found |= dict.fromkeys(exact or free[:1])
        yield from found
