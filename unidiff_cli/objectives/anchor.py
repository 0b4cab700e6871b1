"""Anchor: the base kept in mind while a catalogue is learned, by its answers (`relations`) or by its weights (`weights`).

A frozen model's answers on new data keep what it knew: learning without forgetting, arXiv 1606.09282. That they are
the in-batch similarities of images and captions, both ways and softened by τ, is our formulation. Weights held to
where they started are L2-SP, arXiv 1802.01483.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from unidiff_cli.objectives import Objective, Term

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unidiff_cli.models.forward import ForwardPass


def drift(cosines: Tensor, frozen: Tensor, temperature: float = 0.1) -> Tensor:
    """½[mean_i KL(P⁰_i ‖ P_i) + the same over columns], a scalar ≥ 0; 0 where both are equal.

    cosines (N, M) of N images and M captions and `frozen`, the base's, which gets no gradient; P_i is the softmax
    over j of cos_ij/τ. A rotation of both towers together changes nothing.
    """

    def kl(p0: Tensor, p: Tensor) -> Tensor:
        return (p0.exp() * (p0 - p)).sum(1).mean()

    now, before = cosines / temperature, frozen.detach() / temperature
    rows = kl(before.log_softmax(1), now.log_softmax(1))
    columns = kl(before.T.log_softmax(1), now.T.log_softmax(1))
    return (rows + columns) / 2


class Weights:
    """½ Σ(θ − θ⁰)² over the base's parameters that train, θ⁰ the base's own; L2-SP, arXiv 1802.01483, equation 3.

    Made while the base has its own weights, before a resumed run loads others. Which of them train is known at the first
    step; the copies of the others go then.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.pairs = [(p, p.detach().clone()) for p in parameters]
        self.ready = False

    def __call__(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.ready:
            self.pairs = [(p, start.to(p)) for p, start in self.pairs if p.requires_grad]
            self.ready = True
        apart = [(p - start).square().sum() for p, start in self.pairs]
        return sum(apart, forward.base.abar.new_zeros(())) / 2, {}


class Anchor(Objective):
    """Keeps how the base matched images and captions, or its weights, so that tuning forgets less of it."""

    kind: Literal["relations", "weights"] = Field(
        "relations",
        description="what is kept: the base's in-batch similarities, or its weights (L2)",
    )
    temperature: Annotated[
        float,
        Field(
            gt=0,
            description="τ of the softmax over a batch's cosines; higher keeps the coarse only (relations)",
        ),
    ] = 0.1

    @property
    def reads(self) -> frozenset[str]:  # type: ignore[override]
        """Nothing of a batch where weights are held, so that this makes no tower train."""
        if self.kind == "weights":
            return frozenset()
        return frozenset(
            {"image_embeds", "text_embeds", "frozen_image_embeds", "frozen_text_embeds"}
        )

    def build(self, base: Any) -> Term:
        if self.kind == "relations":
            return self.loss
        return Weights([p for tower in base.towers().values() for p in tower])

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        image, text = (
            forward.gather(forward.image_embeds),
            forward.gather(forward.text_embeds),
        )  # (N, D)
        image0, text0 = (
            forward.gather(forward.frozen_image_embeds),
            forward.gather(forward.frozen_text_embeds),
        )
        with forward.full_precision():
            return drift(image @ text.T, image0 @ text0.T, self.temperature), {}
