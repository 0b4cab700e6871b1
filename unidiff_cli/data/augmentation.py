"""How samples are changed while a run trains: other captions, other colours, crops, mirrored.

What is changed is drawn by (seed, position) alone, so a resumed run and any number of processes
draw the same. Each row has one caption a step, for retrieval and for generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from unidiff_cli.config.train import Augment
from unidiff_cli.data.attribute_captions import TEMPLATES, AttributeCaptions
from unidiff_cli.data.captions import same_text
from unidiff_cli.data.order import text_id

if TYPE_CHECKING:
    from unidiff_cli.data.attributes import Attribute
    from unidiff_cli.data.shards import Row


@dataclass(frozen=True)
class Shown:
    """A row as one step shows it.

    `caption_id` is equal for captions that say the same, whatever template made them. `true_ids`
    are those of the four captions that could stand here, the one that does among them.
    """

    caption: str
    caption_id: int
    true_ids: tuple[int, ...]
    # Whether CLIP sees the image in other colours, and whether it sees a crop of it.
    recoloured: bool
    cropped: bool
    # Whether CLIP and the denoiser see it mirrored.
    mirrored: bool


class Augmentation:
    """The changes that `train.augment` asks for, of the rows of a training split."""

    def __init__(
        self,
        rows: Sequence[Row],
        options: Augment,
        seed: int,
        known: Mapping[str, Attribute] | None = None,
        same: Callable[[str], str] = same_text,
    ) -> None:
        """`known` are the catalogue's attributes; `same` gives what equal captions share."""
        self.options, self.seed, self.same = options, seed, same
        self.captions = AttributeCaptions(rows, known)
        # What a row has at every step: ids of its captions, by its number and its own caption.
        self._ids: dict[tuple[int, str], tuple[int, ...]] = {}

    def shown(self, index: int, caption: str, position: int) -> Shown:
        """A row at a position of the run, whose own caption there is given."""
        options, captions = self.options, self.captions
        own, bare, made, made_bare = self._ids_of(index, caption)
        recoloured = (
            captions.colours[index] is not None
            and bool(bare)
            and self._uniform(position, "colours") < options.colours
        )
        text, number = (captions.without_colour(caption), bare) if recoloured else (caption, own)
        of_made = made_bare if recoloured else made
        if of_made and self._uniform(position, "caption") < options.captions:
            template = int(self._uniform(position, "template") * len(TEMPLATES))
            text = captions.caption(index, template, colour=not recoloured) or text
            number = of_made
        true_ids = tuple(i or number for i in (own, bare, made, made_bare))
        cropped = self._uniform(position, "crop") < options.crops
        return Shown(text, number, true_ids, recoloured, cropped, self.mirrored(position))

    def mirrored(self, position: int) -> bool:
        """Whether the image at a position of the run is seen mirrored."""
        return self._uniform(position, "flip") < self.options.flips

    def _ids_of(self, index: int, caption: str) -> tuple[int, ...]:
        """The ids of a row's own caption and of the one made of its attributes.

        Each of them with its colour and without; 0 where there is none, or nothing is left of it.
        Those that are made have the id of the first template.
        """
        if (ids := self._ids.get((index, caption))) is None:
            captions, texts = self.captions, [caption, "", "", ""]
            if self.options.colours:
                texts[1] = captions.without_colour(caption)
            if self.options.captions:
                texts[2] = captions.caption(index) or ""
                texts[3] = captions.caption(index, colour=False) or ""
            ids = tuple(text_id(text, self.same) if text else 0 for text in texts)
            self._ids[index, caption] = ids
        return ids

    def _uniform(self, position: int, name: str) -> float:
        """A random number in [0, 1) of a position."""
        key = blake2b(f"{self.seed}/{position}/{name}".encode(), digest_size=8).digest()
        return (int.from_bytes(key, "little") >> 11) / 2**53

    # ------------------------------------------------------------ what is said

    def figures(self) -> dict[str, Any]:
        """The columns that decide, for a receipt."""
        captions = self.captions
        return {"kind": captions.kind, "colour": captions.colour, "details": captions.details}

    def sentences(self) -> list[str]:
        """What is changed, by which columns, or why it is not."""
        options, captions = self.options, self.captions
        said = []
        if options.captions:
            made = [text for n in range(len(captions.kinds)) if (text := captions.caption(n))]
            said.append(
                f"{options.captions:.0%} of captions are made of the columns "
                f"{_listed([captions.kind, captions.colour, *captions.details])}, such as "
                f"'{made[0]}' ({len(set(made)):,} of them)."
                if made
                else "train.augment.captions changes nothing: no column names kinds of products "
                "(category, type, class, kind)."
            )
        if options.colours:
            rows = sum(value is not None for value in captions.colours)
            said.append(
                f"{options.colours:.0%} of images are seen in other colours or in grey, with "
                f"captions without the values of '{captions.colour}' "
                f"({rows:,} of {len(captions.colours):,} images have one)."
                if rows
                else "train.augment.colours changes nothing: no column names colours."
            )
        return said


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join(f"'{name}'" for name in names if name)
