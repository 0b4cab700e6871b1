"""Objectives: the terms of the loss. Each is one file, a model whose fields are its recipe keys.

In: a `ForwardPass`. Out: a scalar, and figures worth logging.

    class Triplet(Objective):                      # objectives/triplet.py is `triplet` in a recipe
        needs: ClassVar = Needs(image_embeds=True, text_embeds=True)
        trains: ClassVar = frozenset({"vision", "text"})
        margin: float = 0.2
        def loss(self, forward): ...               # → (scalar, {figure: scalar})

Only methods of tensors, or imports inside `loss`, `layers` and `build`, so that a recipe is checked
without torch. A term that learns something of its own (projection heads) overrides `build`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from unidiff_cli.config.values import Section
from unidiff_cli.models.encoders import CLIP, EncoderName
from unidiff_cli.models.needs import Needs, Tower

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.data.dataset import PriorDataset
    from unidiff_cli.models.adapters import AddedLayers
    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.models.forward import ForwardPass

# ForwardPass → (scalar, {figure: scalar}); an nn.Module where it has parameters of its own.
Term = Callable[..., Any]
# Captions → the files of their images by the batch's tensor, one an image: the base generates an
# image of each caption, once.
GenerateImages = Callable[[Sequence[str]], Mapping[str, Sequence[Path]]]


class Objective(Section):
    """One term of the loss; `weight` multiplies it.

    What it needs, trains and teaches is a ClassVar, or a property where its fields decide it.
    """

    weight: Annotated[float, Field(ge=0, description="multiplies the term in the total loss")] = 1.0

    @property
    def needs(self) -> Needs:
        """What it reads of a step: it decides what a batch loads and what the base computes."""
        return Needs()

    @property
    def trains(self) -> frozenset[Tower]:
        """The towers it is there to train; one that no objective names does not train.

        Its gradient may reach another, and moves it where some objective trains that one.
        """
        return frozenset()

    @property
    def covers(self) -> frozenset[Tower]:
        """Those of them whose every parameter has a gradient at every step.

        DDP looks for parameters without one where a tower that trains is in no `covers`.
        """
        return frozenset()

    @property
    def encoder(self) -> EncoderName | None:
        """The image encoder whose retrieval it teaches, if any."""
        return None

    @property
    def measures_generation(self) -> bool:
        """Whether its value on held-out images says how well the model generates."""
        return False

    @property
    def teaches_retrieval(self) -> bool:
        """Whether it brings images and captions together, so that recall judges a run."""
        return self.encoder is not None

    @property
    def teaches_image_search(self) -> bool:
        """Whether it brings a product's images together, so that search by image judges a run."""
        return False

    @property
    def keeps_base(self) -> bool:
        """Whether it is there to hold the base's CLIP, so that a run forgets less."""
        return False

    @property
    def holds_weights(self) -> bool:
        """Whether it compares the base's parameters themselves, which adapters leave alone."""
        return False

    def inputs(self) -> dict[str, str]:
        """Hashes of the files it reads beside the recipe, by what they hold.

        A run with other ones is other work. Raises UsageError for a file that cannot be read.
        """
        return {}

    def data(self, generate: GenerateImages, seed: int) -> PriorDataset | None:
        """The samples it brings to each batch beside the catalogue's, if any."""
        return None

    def layers(self, base: BaseModel) -> AddedLayers | None:
        """The layers that it trains beside the base, fresh ones where the base has none.

        The caller attaches them. They are the base's from then on, and are exported with it.
        """
        return None

    def build(self, base: BaseModel) -> Term:
        """What is called with each step's ForwardPass, once its layers are attached.

        Its own parameters train at `train.lr.new_layers` and are not exported.
        """
        return self.loss

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        """The term as a scalar, unweighted, and figures worth logging."""
        raise TypeError(f"{type(self).__name__} has neither loss nor build")


def needs_of(objectives: Iterable[Objective]) -> Needs:
    """What objectives together ask of a step."""
    return Needs.union(objective.needs for objective in objectives)


def general_images(objectives: Iterable[Objective]) -> PriorDataset | None:
    """The general captions that objectives bring, without their images; None where none does."""
    streams = (objective.data(lambda captions: {}, 0) for objective in objectives)
    return next((stream for stream in streams if stream), None)


def trained_encoder(objectives: Iterable[Objective]) -> EncoderName | None:
    """The image encoder that a run of these objectives is judged by; None where none is taught.

    It is CLIP wherever an objective reads its image embeddings.
    """
    objectives = list(objectives)
    if needs_of(objectives).image_embeds:
        return CLIP
    return next((o.encoder for o in objectives if o.encoder is not None), None)
