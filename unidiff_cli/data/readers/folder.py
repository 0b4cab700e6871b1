"""A folder of images without a table: text files beside them are captions, sub-folders classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.prompts import load_prompts
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.readers.columns.caption_texts import FEW_ROWS
from unidiff_cli.data.readers.folders import file_names, sidecar_words, unnoticed
from unidiff_cli.data.readers.folders.class_names import ClassNames
from unidiff_cli.data.readers.folders.classes import COLUMNS, REPEATED, Classes
from unidiff_cli.data.readers.folders.companions import Companions
from unidiff_cli.data.readers.folders.contents import is_image, others_by_ending
from unidiff_cli.data.readers.folders.sidecar_words import role_of
from unidiff_cli.data.readers.folders.sidecars import Sidecars
from unidiff_cli.data.readers.folders.text_look import GENERATED, TextLook
from unidiff_cli.data.readers.folders.text_names import JSON
from unidiff_cli.data.readers.rows.cells import plain
from unidiff_cli.data.sample import UNREAD, Cause, Reason, Rejected, Sample
from unidiff_cli.data.walk import walk
from unidiff_cli.errors import UsageError

# Images looked at to describe a folder, and what is named of it that is not read.
HEAD, NAMED = 10_000, 5


class Folder(Reader):
    """Images below a folder; a text beside an image wins over the class of its folder."""

    def __init__(self, location: Location, options: Prepare) -> None:
        super().__init__(location, options)
        self._look: TextLook | None = None
        # What belongs to others in the latest pass, and the texts of the images that it had.
        self._companions: tuple[dict[Location, list[Location]], Companions] | None = None
        self._texts = 0
        self._doubts: list[Doubt] = []
        self._classes: list[str] = []
        self._decisions: dict[str, str] = {}
        # What classes mean whose folders have numbers for names.
        self._class_names: dict[str, str] = {}
        # Images of the latest pass, and a caption or two of theirs.
        self._images = 0
        self._wording: set[str] = set()
        for column in options.where:
            if column not in COLUMNS:
                raise UsageError(
                    f"prepare.where names the column '{column}', "
                    "but a folder without a table has none of that name.",
                    f"Known: {', '.join(COLUMNS)}.",
                )

    @classmethod
    def accepts(cls, location: Location) -> bool:
        return location.is_folder()

    def describe(self) -> list[str]:
        items = list(islice(self, HEAD))
        classes = Counter(
            item.attributes.get("class", "") for item in items if isinstance(item, Sample)
        )
        unread = [
            item.row for item in items if isinstance(item, Rejected) and item.reason.cause in UNREAD
        ]
        named = [name for name, _ in classes.most_common(8) if name]
        lines = ["a folder of images without a table"]
        lines += [f"images with a text beside them: {self._texts:,}"] if self._texts else []
        if named:
            more = ", …" if len(classes) > 8 else ""
            lines.append(f"classes from sub-folders: {', '.join(named)}{more}")
        lines += self._classes
        lines += [f"{count:,} {note}" for note, count in self.notes.items() if count]
        lines += [f"not read: {', '.join(unread[:NAMED])}"] if unread else []
        return [*lines, *self.peek()]

    def decisions(self) -> dict[str, str]:
        return self._decisions

    def doubts(self) -> list[Doubt]:
        return [*super().doubts(), *self._doubts, *self._same_caption()]

    def _same_caption(self) -> list[Doubt]:
        """A doubt where all images have one caption."""
        if self._images < FEW_ROWS or len(self._wording) > 1:
            return []
        return [
            Doubt(
                f"All {self._images:,} images have one caption: {shown(*self._wording)}.",
                "Lay a .txt beside each image that says what it shows, or give a table.",
            )
        ]

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._begin_pass()
        self._images, self._wording = 0, set()
        items = list(walk(self.root, self.notes))
        files = [item for item in items if isinstance(item, Location)]
        images = dict.fromkeys(file for file in files if is_image(file))
        sidecars = Sidecars(files, images, self.root, self.options)
        companions = self._companions_of(sidecars.of)
        products = [image for image in images if image not in companions.kinds]
        texts = {image: sidecars.of[image] for image in products}
        classes = Classes(texts, self.root, self.options)
        leftover = [f for f in files if f not in images and f not in sidecars.used]
        if self._look is None:
            self._look = sidecars.look()
            products = [image for image in products if not classes.left_out(image)]
            self._classes = classes.describe()
            self._doubts = [
                *sidecars.doubts(self._look, frozenset(products)),
                *companions.doubts(),
            ]
            without = [image for image in products if not sidecars.of[image]]
            self._decisions = self._look.decisions() | sidecars.decisions()
            self._doubts += unnoticed.doubts(leftover, without, self.options.limits)
            self._name_classes(classes, leftover, without)
            if self.options.caption is None:
                self._doubts += file_names.doubts(without)
        self._texts = sidecars.count
        self.notes.update(dict(companions.counts()))
        self.notes.update({GENERATED: self._look.generated} if self._look.generated else {})
        self.notes.update(others_by_ending(files, images, sidecars.used))
        for item in items:
            if isinstance(item, Rejected):
                yield item
            elif item not in images or item in companions.kinds:
                continue
            elif beside := classes.left_out(item):
                self.notes[beside] += 1
            elif self._keeps(columns := self._renamed(classes.columns(item))):
                if classes.has_repeats:
                    self.notes[REPEATED] += 1
                product = classes.product(item)
                sample = self._sample(item, columns, sidecars.of[item], product)
                if isinstance(sample, Sample):
                    self._images += 1
                    self._wording.update(sample.captions if len(self._wording) < 2 else ())
                yield sample

    def _name_classes(
        self, classes: Classes, files: list[Location], images: list[Location]
    ) -> None:
        """Finds what folders mean that are numbers or codes; keeps what is doubtful of folders."""
        template = self.options.caption or load_prompts().class_caption
        columns = map(classes.columns, images)
        counts = Counter(str(c["class"]) for c in columns if "class" in c)
        found = ClassNames(counts, files, self.options.limits)
        self._class_names = found.names
        if found.names:
            self._decisions |= {"names of classes": found.source}
        self._doubts += [*classes.doubts(bool(found.names)), *found.doubts()]
        if "{class" in template and not classes.asks_of_codes:
            self._doubts += found.unnamed(template, counts, self.options.folders == "classes")

    def _renamed(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The columns of a path, with the name of its class instead of a number."""
        name = self._class_names.get(columns.get("class", ""))
        return {**columns, "class": name} if name else columns

    def _companions_of(self, texts: dict[Location, list[Location]]) -> Companions:
        """Images without a text that belong to others, by `prepare.companions`.

        They are looked for again only where a pass finds other images, or other texts of them.
        """
        if self._companions is None or self._companions[0] != texts:
            companions = self.options.companions
            found = Companions(
                texts if companions != "keep" else {}, self.root, companions == "leave_out"
            )
            self._companions = texts, found
        return self._companions[1]

    def _sample(
        self,
        image: Location,
        columns: dict[str, Any],
        texts: list[Location],
        product: str | None,
    ) -> Sample | Rejected:
        row, cells = image.relative_to(self.root), dict[str, Any]()
        written: list[str] | None = None
        is_wordless = False
        for text in texts:
            is_json = text.suffix == JSON
            if written is not None and not is_json:
                continue
            words = self._read(text)
            if isinstance(words, Reason):
                return Rejected(row, words, row)
            cells |= words.cells
            is_wordless |= words.is_wordless
            if words.is_wordless and self._look and self._look.are_boxes:
                continue
            if written is None and (words.captions or not is_json):
                written = words.captions
        captions_ = self._from_columns(columns) if written is None else self._captions(written)
        if not captions_:
            name = shown(texts[0].name)
            what = "holds numbers only" if is_wordless else "is empty"
            captions_ = Reason(
                f"no caption: {name} {what} (without the file it would be that of its folder)",
                Cause.NO_CAPTION,
            )
        if isinstance(captions_, Reason):
            return Rejected(row, captions_, row)
        return Sample(
            row,
            image,
            captions_,
            {**plain(cells), **columns},
            id=role_of(cells, "id", self.options),
            product=role_of(cells, "product", self.options)
            or (product if self.options.columns.product is None else None),
            split=self._split(role_of(cells, "split", self.options) or "") or columns.get("split"),
        )

    def _read(self, text: Location) -> sidecar_words.Words | Reason:
        return sidecar_words.read(text, self._look or TextLook(), self.options)

    def _from_columns(self, columns: dict[str, Any]) -> tuple[str, ...] | Reason:
        """The caption that an image's path gives, or why there is none."""
        name = str(columns.get("class", "")).replace("_", " ").replace("-", " ")
        template = self.options.caption or load_prompts().class_caption
        try:
            return (captions.fill(template, {**columns, "class": name}),)
        except KeyError as missing:
            return Reason(
                f"no caption: no .txt beside it and no sub-folder that gives its {missing.args[0]}",
                Cause.NO_CAPTION,
            )
