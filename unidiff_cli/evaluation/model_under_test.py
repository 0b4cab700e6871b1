"""ModelUnderTest: a model to measure, and how to load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unidiff_cli import machine
from unidiff_cli.data.buckets import Size
from unidiff_cli.models.encoders import CLIP, EncoderName
from unidiff_cli.reports.schema import Role

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel


@dataclass(frozen=True)
class ModelUnderTest:
    """A base, an export, or an export whose CLIP is blended with the base's (WiSE-FT, arXiv
    2109.01903).

    `source` and `base` are what `load_base` takes: the model, and the base that it was trained
    from. `model_hash` changes with the weights, and for a blend with `alpha` and the base too.
    `alpha` is the export's share in CLIP's towers of a blend. `encoder` names what embeds images.
    `wanted_size` is that of generated images and of those they are compared with; None: squares.
    """

    name: str
    source: Any
    base: Any
    image_size: int
    model_hash: str
    alpha: float = 1.0
    encoder: EncoderName = CLIP
    wanted_size: Size | None = None

    @property
    def size(self) -> Size:
        """The size of generated images, and of those that they are compared with."""
        return self.wanted_size or Size.square(self.image_size)

    @property
    def size_key(self) -> list[list[int]]:
        """What the size adds to the key of stored outputs: nothing for squares."""
        return [] if self.size.is_square else [list(self.size)]

    @property
    def role(self) -> Role:
        """What it is among the models of a report."""
        if self.source == self.base:
            return "base"
        if self.alpha < 1:
            return "blend"
        return "tuned" if self.encoder == CLIP else "encoder"

    def load(self) -> BaseModel:
        """The model, on the GPU if there is one. Raises UsageError, EnvironmentProblem."""
        from unidiff_cli.models import loading, weights

        model = loading.load_base(self.source, self.image_size).eval()
        if self.alpha < 1:
            base = loading.load_base(self.base, self.image_size)
            # The base has none to blend them with.
            for layers in model.added.values():
                base.attach(layers)
            weights.blend(base, model.state_dict(), weights.Shares(clip=self.alpha))
            model = base.eval()
        return model.to(machine.device())
