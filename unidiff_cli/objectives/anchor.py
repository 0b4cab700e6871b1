"""Anchor: which captions the base would have given a batch's pictures, kept while it learns the catalogue's own.

A frozen model's answers on new data keep what it knew: learning without forgetting, arXiv 1606.09282. That they are
the in-batch similarities of pictures and captions, both ways and softened by τ, is our formulation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from . import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from ..views import Views


def drift(cosines: Tensor, frozen: Tensor, temperature: float = 0.1) -> Tensor:
    """½[mean_i KL(P⁰_i ‖ P_i) + the same over columns], a scalar ≥ 0; 0 where both are equal.

    cosines (N, M) of N pictures and M captions and `frozen`, the base's, which gets no gradient; P_i is the softmax
    over j of cos_ij/τ. A rotation of both towers together changes nothing.
    """

    def kl(p0: Tensor, p: Tensor) -> Tensor:
        return (p0.exp() * (p0 - p)).sum(1).mean()

    now, before = cosines / temperature, frozen.detach() / temperature
    rows = kl(before.log_softmax(1), now.log_softmax(1))
    columns = kl(before.T.log_softmax(1), now.T.log_softmax(1))
    return (rows + columns) / 2


class Anchor(Objective):
    """Keeps how the base matched pictures and captions, so that tuning forgets less of it."""

    reads: ClassVar[frozenset[str]] = frozenset(
        {"image_embeds", "text_embeds", "frozen_image_embeds", "frozen_text_embeds"}
    )
    temperature: Annotated[
        float,
        Field(gt=0, description="τ of the softmax over a batch's cosines; higher keeps the coarse only"),
    ] = 0.1

    def loss(self, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
        image, text = views.gather(views.image_embeds), views.gather(views.text_embeds)  # (N, D)
        image0, text0 = views.gather(views.frozen_image_embeds), views.gather(views.frozen_text_embeds)
        with views.full_precision():
            return drift(image @ text.T, image0 @ text0.T, self.temperature), {}
