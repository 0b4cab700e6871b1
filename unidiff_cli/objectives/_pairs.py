"""Which captions of a batch belong to which images: what every in-batch loss of pairs asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from unidiff_cli.objectives._losses import targets

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass

SameGroup = Annotated[
    Literal["ignore", "positive", "negative"],
    Field(description="what another caption of the same product or duplicate group is to an image"),
]


def pair_targets(
    forward: ForwardPass, same_group: str, denoised: bool = False
) -> tuple[Tensor, Tensor]:
    """`targets` of the captions and groups of all processes, (N, N) each.

    `denoised`: of the rows that the denoiser sees only. A caption of another row that is true of an
    image too, without being its own in this step, is left out.
    """

    def of_all(ids: Tensor) -> Tensor:
        ids = ids.to(forward.device)
        return forward.gather(forward.sub_batch(ids) if denoised else ids)

    batch = forward.batch
    captions = of_all(batch.caption_ids)
    shares, left_out = targets(captions, of_all(batch.group_ids), same_group)
    if batch.true_ids is not None:
        is_true = (of_all(batch.true_ids)[:, :, None] == captions).any(1)
        left_out = left_out | is_true & (shares == 0)
    return shares, left_out
