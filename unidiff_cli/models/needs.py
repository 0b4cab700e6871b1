"""What objectives ask of a base in one step, and which of its towers they train. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import reduce
from typing import Literal

# The parts of a model that train at a rate of their own, by the names a recipe uses. `new_layers`
# are those that start from random: layers added to the base, and an objective's own.
Tower = Literal["vision", "text", "denoiser", "new_layers"]


@dataclass(frozen=True)
class Needs:
    """What an objective reads of a step, known before the step runs; several combine with `|`."""

    # Of the B images and captions of a batch, by the CLIP that trains.
    image_embeds: bool = False
    text_embeds: bool = False
    # And by the base's CLIP as it was before training.
    frozen_image_embeds: bool = False
    frozen_text_embeds: bool = False
    # The text tower's token states: of the captions, and of the empty caption.
    text_states: bool = False
    null_states: bool = False
    # Latents of the images, for passes of the denoiser.
    latents: bool = False
    # The denoiser's features, with gradient to it.
    features: bool = False
    # General captions with the base's own images of them, and both embedded, by the CLIP that
    # trains and by the base's.
    prior: bool = False
    prior_embeds: bool = False
    # Two images of each product in a batch, of those that have them.
    views: bool = False
    # The share of captions that the denoiser reads as the empty one while it trains.
    caption_drop: float = 0.0

    def __or__(self, other: Needs) -> Needs:
        return Needs(*(max(getattr(self, f.name), getattr(other, f.name)) for f in fields(Needs)))

    @classmethod
    def union(cls, needs: Iterable[Needs]) -> Needs:
        """What all of them need together; nothing where there are none."""
        return reduce(cls.__or__, needs, cls())

    @property
    def clip_pixels(self) -> bool:
        """Whether images are loaded as CLIP reads them."""
        return self.image_embeds or self.frozen_image_embeds

    @property
    def empty_caption(self) -> bool:
        """Whether the text tower also reads the empty caption."""
        return self.null_states or self.caption_drop > 0

    @property
    def states(self) -> bool:
        """Whether the text tower's states are kept, of the rows that the denoiser sees."""
        return self.text_states or self.null_states
