"""Texts beside images: `a.txt`, `a.jpg.txt`, `a.caption` and `a.json` of `a.jpg`.

All texts of a folder are looked at before the first is read: they have one encoding, and their
lines are one caption each or one caption wrapped. `.txt` wins over `.caption`, as in OneTrainer and
in kohya's window; kohya's scripts write tags into the one and sentences into the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from unidiff_cli.config.schema import Limits, Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.readers._cells import Cells, bounded, parse
from unidiff_cli.data.readers._parallel import Parallel
from unidiff_cli.data.readers._text_look import TextLook, look_at
from unidiff_cli.data.sample import Cause, Reason, unreadable

JSON = ".json"
# Likeliest first.
SUFFIXES = (".txt", ".caption", JSON)


class Words(NamedTuple):
    """What a text says: captions as they are written, and the other columns of a .json."""

    captions: list[str]
    cells: Cells


class Sidecars:
    """The texts of a catalogue's images: `of` has those of each image, likeliest first."""

    def __init__(
        self,
        files: Iterable[Location],
        images: Iterable[Location],
        root: Location,
        options: Prepare,
    ) -> None:
        self.options = options
        endings = (f".{options.sidecar_ending}",) if options.sidecar_ending else SUFFIXES
        texts: dict[tuple[Location, str], list[Location]] = defaultdict(list)
        for file in files:
            if file.suffix in endings:
                texts[file.parent, file.name.lower()].append(file)
        # The images of each stem.
        self._stems: dict[tuple[Location, str], list[Location]] = defaultdict(list)
        for image in images:
            self._stems[image.parent, PurePosixPath(image.name).stem].append(image)
        self.of = {image: list(self._named(image, texts, endings)) for image in images}
        self.used = {text for beside in self.of.values() for text in beside}
        orphans = [text for same in texts.values() for text in same if text not in self.used]
        without = [image for image, beside in self.of.items() if not beside]
        self.parallel = Parallel(without, orphans, root)
        for image, text in self.parallel.texts.items():
            self.of[image] = [text]
            self.used.add(text)
        self._orphans = [t for t in orphans if t not in self.used and t.suffix != JSON]

    @property
    def count(self) -> int:
        """The images that have a text."""
        return sum(map(bool, self.of.values()))

    def look(self) -> TextLook:
        """Looks at the first text of every image, as far as its limit goes."""
        first = dict.fromkeys(texts[0] for texts in self.of.values() if texts)
        plain = [text for text in first if text.suffix != JSON]
        limits = self.options.limits

        def texts() -> Iterator[tuple[str, bytes]]:
            for text in plain:
                data = _read(text, limits)
                if not isinstance(data, Reason):
                    yield shown(text.name), data

        return look_at(texts, self.options)

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

    def _share(self, images: list[Location]) -> bool:
        """Whether images of one name have one text."""
        texts = [self.of[image][0] for image in images if self.of[image]]
        return len(texts) > len(set(texts))

    def _differ(self, texts: list[Location], look: TextLook) -> bool:
        """Whether a .txt and a .caption of one image say different things."""
        words = [
            words.captions
            for text in texts
            if text.suffix != JSON
            if isinstance(words := read(text, look, self.options), Words)
        ]
        return any(captions.fold(" ".join(w)) != captions.fold(" ".join(words[0])) for w in words)

    def _named(
        self,
        image: Location,
        texts: dict[tuple[Location, str], list[Location]],
        endings: Iterable[str],
    ) -> Iterator[Location]:
        folder = image.parent
        for ending in endings:
            for name in (PurePosixPath(image.name).stem, image.name):
                candidates = texts.get((folder, (name + ending).lower()), [])
                exact = [text for text in candidates if text.name[: len(name)] == name]
                # IMG.JPG may have img.txt, but not where there is an img.jpg too.
                free = [
                    text
                    for text in candidates
                    if (folder, text.name[: len(name)]) not in self._stems
                ]
                yield from exact[:1] or free[:1]


def read(text: Location, look: TextLook, options: Prepare) -> Words | Reason:
    """What a text says, or why it cannot be read."""
    data, name = _read(text, options.limits), shown(text.name)
    if isinstance(data, Reason):
        return data
    try:
        words = look.decode(data)
        if text.suffix == JSON:
            cells = _object(name, words, options.limits)
            return cells if isinstance(cells, Reason) else _json_words(cells, options)
        return Words(look.captions_in(words), {})
    except UnicodeError:
        return Reason(f"{name} is not UTF-8; say what it is: --set prepare.encoding=cp1252")
    except ValueError as problem:
        return captions.unreadable_cell(problem)


def _object(name: str, words: str, limits: Limits) -> Cells | Reason:
    """The object of a .json file."""
    try:
        value = parse(words)
    except ValueError as problem:
        return Reason(f"{name} is not JSON: {problem}", Cause.NOT_JSON)
    if not isinstance(value, dict):
        return Reason(f"{name} is a JSON {type(value).__name__}, not an object", Cause.NOT_JSON)
    return bounded(value, limits)


def _json_words(cells: Cells, options: Prepare) -> Words:
    names = options.columns.names("caption") or ROLES["caption"]
    column = next((name for name in names if cells.get(name)), None)
    texts = list(captions.cell_captions(cells[column])) if column else []
    return Words(texts, {name: cell for name, cell in cells.items() if name != column})


def role_of(cells: Cells, role: str, options: Prepare) -> str | None:
    """An id, product or split of a .json: mapped, or by the column's usual name."""
    mapped = getattr(options.columns, role)
    names = ROLES[role] if mapped is None else [mapped]
    return next(filter(None, (captions.cell_text(cells.get(name)) for name in names)), None)


def _read(text: Location, limits: Limits) -> bytes | Reason:
    name, most = shown(text.name), limits.text_bytes
    try:
        if text.size > most:
            return Reason(f"{name} is larger than {most:,} bytes (prepare.limits.text_bytes)")
        return text.read(most)
    except (OSError, ValueError) as problem:
        return unreadable(problem, name)
