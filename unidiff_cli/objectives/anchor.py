"""Anchor: a loss that holds the tuned model to its base's answers or to its base's weights.

A frozen model's answers on new data keep what it knew: learning without forgetting, arXiv
1606.09282. That they are the in-batch similarities of images and captions, both ways and softened
by τ, is our formulation; on general captions and images that a denoiser generated of them it is
GIFT's distillation (arXiv 2503.04229), here with the base's own denoiser and with the similarities
among images beside it. Those among images are what `consistency` of kind relational+anchor holds,
here without the denoiser. Weights held to where they started are L2-SP, arXiv 1802.01483.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from unidiff_cli.models.needs import Needs, Tower
from unidiff_cli.objectives import Objective, Term
from unidiff_cli.objectives._losses import kl, relational_drift

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.models.forward import ForwardPass


def drift(cosines: Tensor, frozen: Tensor, temperature: float = 0.1) -> Tensor:
    """½[mean_i KL(P⁰_i ‖ P_i) + the same over columns], a scalar ≥ 0; 0 where both are equal.

    cosines (N, M) of N images and M captions and `frozen`, the base's, which gets no gradient; P_i
    is the softmax over j of cos_ij/τ. A rotation of both towers together changes nothing.
    """
    now, before = cosines / temperature, frozen / temperature
    rows = kl(before.log_softmax(1), now.log_softmax(1)).mean()
    columns = kl(before.T.log_softmax(1), now.T.log_softmax(1)).mean()
    return (rows + columns) / 2


class Weights:
    """½ Σ(θ − θ⁰)² over the base's parameters that train, θ⁰ the base's own.

    Source: L2-SP, arXiv 1802.01483, equation 3. It is made while the base has its own weights,
    before a resumed run loads others. Which of them train is known at the first step; the copies of
    the others go then.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.pairs = [(p, p.detach().clone()) for p in parameters]
        self.ready = False

    def __call__(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.ready:
            self.pairs = [(p, start.to(p)) for p, start in self.pairs if p.requires_grad]
            self.ready = True
        distances = [(p - start).square().sum() for p, start in self.pairs]
        return sum(distances, forward.base.logit_scale.new_zeros(())) / 2, {}


class Anchor(Objective):
    """Keeps how the base matched images and captions, or its weights, so it forgets less."""

    keeps_base: ClassVar = True

    kind: Literal["relations", "image_relations", "weights"] = Field(
        "relations",
        description="what is kept: similarities of images and captions, or among images, or "
        "weights (L2)",
    )
    on: Literal["catalogue", "general", "both"] = Field(
        "catalogue",
        description="whose similarities: the catalogue's, `prior`'s general images', or both",
    )
    temperature: Annotated[
        float,
        Field(
            gt=0,
            description="τ of the softmax over a batch's cosines; higher keeps the coarse only "
            "(not of weights)",
        ),
    ] = 0.1

    @property
    def needs(self) -> Needs:
        """Nothing of a batch where weights are held."""
        if self.kind == "weights":
            return Needs()
        needs = Needs(text_embeds=self.kind == "relations")
        if self.on != "general":
            texts = self.kind == "relations"
            needs |= Needs(image_embeds=True, frozen_image_embeds=True, frozen_text_embeds=texts)
        if self.on != "catalogue":
            needs |= Needs(prior=True, prior_embeds=True)
        return needs

    @property
    def trains(self) -> frozenset[Tower]:
        """No tower where weights are held: those that others train are pulled back."""
        if self.kind == "image_relations":
            return frozenset({"vision"})
        return frozenset() if self.kind == "weights" else frozenset({"vision", "text"})

    @property
    def holds_weights(self) -> bool:
        return self.kind == "weights"

    def build(self, base: BaseModel) -> Term:
        if self.kind != "weights":
            return self.loss
        return Weights([p for tower in base.parameter_groups().values() for p in tower])

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        terms = {"catalogue": self._on_catalogue, "general": self._on_general}
        names = list(terms) if self.on == "both" else [self.on]
        parts = {f"anchor_{name}": terms[name](forward) for name in names}
        total = sum(parts.values(), forward.base.logit_scale.new_zeros(()))
        return total, parts if self.on == "both" else {}

    def _on_catalogue(self, forward: ForwardPass) -> Tensor:
        # (N, D) each.
        image, image0 = (
            forward.gather(embeds) for embeds in (forward.image_embeds, forward.frozen_image_embeds)
        )
        if self.kind == "image_relations":
            with forward.full_precision():
                return relational_drift(image, image0, self.temperature)
        text, text0 = (
            forward.gather(embeds) for embeds in (forward.text_embeds, forward.frozen_text_embeds)
        )
        with forward.full_precision():
            return drift(image @ text.T, image0 @ text0.T, self.temperature)

    def _on_general(self, forward: ForwardPass) -> Tensor:
        """Of general images among themselves; of `relations` the mean with that of captions."""
        # (P, D) each.
        image, text, image0, text0 = forward.prior_embeds
        # Training has two at least; the last batch of a validation may have fewer.
        if len(image) < 2:
            return (image.sum() + text.sum()) * 0
        with forward.full_precision():
            among = relational_drift(image, image0, self.temperature)
            if self.kind == "image_relations":
                return among
            return (drift(image @ text.T, image0 @ text0.T, self.temperature) + among) / 2
