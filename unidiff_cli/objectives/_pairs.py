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

    `denoised`: of the rows that the denoiser sees only.
    """
    ids = (forward.batch.caption_ids, forward.batch.group_ids)
    moved = (i.to(forward.device) for i in ids)
    rows = (forward.sub_batch(i) if denoised else i for i in moved)
    captions, groups = (forward.gather(i) for i in rows)
    return targets(captions, groups, same_group)
