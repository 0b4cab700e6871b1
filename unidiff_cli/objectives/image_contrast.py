"""Image-image contrast: the views of a product lie together, and apart from other products.

It trains what `unidiff retrieve query.jpg` asks for. The loss over several positives is supervised
contrastive learning's (SupCon, arXiv 2004.11362, equation 2); products as its classes, and another
view by augmentation (SimCLR, arXiv 2002.05709) where a batch has none, are our use of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import Objective
from unidiff_cli.objectives._losses import NEVER

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass


def supervised_contrast(cosines: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """−1/|P(i)| Σ_{p ∈ P(i)} log softmax_{a ≠ i}(cos_ia/τ)_p of each image i, (N,).

    `cosines` (N, N) are those of N images of these groups (N,); P(i) are the other images of i's
    group. 0 for an image that has none. Source: SupCon, arXiv 2004.11362, L_out.
    """
    itself = cosines.new_ones(len(cosines)).diag().bool()
    positive = (groups[:, None] == groups[None, :]) & ~itself
    log_p = (cosines / temperature).masked_fill(itself, NEVER).log_softmax(1)
    count = positive.sum(1)
    return -(log_p * positive).sum(1) / count.clamp(min=1)


class ImageContrast(Objective):
    """Pulls the images of a product together, pushes them from those of other products.

    Batches hold two images of each product that has them (`Needs.views`). An image without another
    one of its product in the batch is compared with an augmented view of itself.
    """

    needs: ClassVar = Needs(image_embeds=True, views=True)
    trains: ClassVar = frozenset({"vision"})
    teaches_image_search: ClassVar = True
    temperature: Annotated[float, Field(gt=0, description="τ of the softmax over images")] = 0.1

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        own = forward.image_embeds
        # (N, D), (N,)
        images = forward.gather(own)
        groups = forward.gather(forward.batch.group_ids.to(forward.device))
        same = groups[:, None] == groups[None, :]
        several = same.sum(1) > 1
        with forward.full_precision():
            among = supervised_contrast(images @ images.T, groups, self.temperature)
        part = among.sum() / len(images)
        accuracy = self._accuracy(images, same, several)
        alone = forward.own_rows(~several)
        if alone.any():
            part = part + self._augmented(forward, own, images, alone)
        return part, {"image_contrast_accuracy": accuracy} if several.any() else {}

    def _augmented(
        self, forward: ForwardPass, own: Tensor, images: Tensor, alone: Tensor
    ) -> Tensor:
        """The part of the images that are alone, each with a view of itself, a scalar."""
        view = forward.augmented_image_embeds(alone)
        # Each process has its own rows here, so that the others' get no gradient from it.
        others = images.detach()
        mine = forward.own_places()[alone]
        with forward.full_precision():
            logits = own[alone] @ others.T / self.temperature
            logits[range(len(mine)), mine] = (own[alone] * view).sum(1) / self.temperature
            errors = -logits.log_softmax(1)[range(len(mine)), mine]
        return errors.sum() * (len(images) // len(own)) / len(images)

    @staticmethod
    def _accuracy(images: Tensor, same: Tensor, several: Tensor) -> Tensor:
        """The share of images, of those with another view, that have one as the nearest."""
        cosines = (images @ images.T).detach()
        cosines.fill_diagonal_(NEVER)
        nearest = cosines.argmax(1, keepdim=True)
        right = same.gather(1, nearest)[:, 0] & several
        return right.sum() / several.sum().clamp(min=1)
