"""Image-text contrastive loss (ITC), as CLIP has it, with repeated captions taken into account."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from unidiff_cli.models.encoders import CLIP
from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import Objective
from unidiff_cli.objectives._losses import NEVER, symmetric_cross_entropy
from unidiff_cli.objectives._pairs import SameGroup, pair_targets

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass


class Contrastive(Objective):
    """Pulls an image and its caption together, pushes it from the batch's other captions."""

    needs: ClassVar = Needs(image_embeds=True, text_embeds=True)
    trains: ClassVar = frozenset({"vision", "text"})
    covers: ClassVar = trains
    encoder: ClassVar = CLIP
    same_group: SameGroup = "ignore"

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        # (N, D)
        image, text = forward.gather(forward.image_embeds), forward.gather(forward.text_embeds)
        # The trainer keeps it at 100 or below.
        scale = forward.base.logit_scale.exp()
        with forward.full_precision():
            # (N, N)
            logits = scale * image @ text.T
        shares, left_out = pair_targets(forward, self.same_group)
        loss = symmetric_cross_entropy(logits, shares, left_out)
        best = logits.masked_fill(left_out, NEVER).argmax(1, keepdim=True)
        accuracy = (shares.gather(1, best) > 0).float().mean()
        return loss, {"contrastive_accuracy": accuracy, "logit_scale": scale.detach()}
