"""TODO docstring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unidiff_cli.data.batch import Batch
from unidiff_cli.models.forward import ForwardPass, Needs
from unidiff_cli.objectives import Objective

if TYPE_CHECKING:
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base


VALIDATION = -1  # the step number that keys validation noise: fixed, and no training step's


def combined_needs(objectives: Mapping[str, Objective]) -> Needs:
    """What the objectives together ask of a batch."""
    reads = {name for objective in objectives.values() for name in objective.reads}
    dropped = any(getattr(o, "caption_drop", 0) > 0 for o in objectives.values())
    return Needs(
        pixels=bool({"image_embeds", "frozen_image_embeds"} & reads),
        latents="latents" in reads,
        null_row=dropped or "null_states" in reads,
        frozen_images="frozen_image_embeds" in reads,
        frozen_texts="frozen_text_embeds" in reads,
        states=bool({"text_states", "null_states"} & reads),
    )


class TrainingModule(nn.Module):
    """A base and its objectives as one module: forward(batch) gives the total and every part."""

    def __init__(
        self,
        base: Base,
        objectives: Mapping[str, Objective],
        seed: int,
        chunk: int = 0,
        cached: bool = False,
    ) -> None:
        """With `cached` batches bring what the base's CLIP made of the images, and no copy is held for that."""
        super().__init__()
        self.base, self.objectives, self.seed, self.chunk = base, dict(objectives), seed, chunk
        had = base.dual_stream is not None
        with torch.random.fork_rng(
            devices=[]
        ):  # a run's own parameters begin alike on every process, and on resume
            torch.manual_seed(seed)
            self.terms = {
                name: objective.build(base) for name, objective in self.objectives.items()
            }
        self.new = [] if had or base.dual_stream is None else list(base.dual_stream.parameters())
        self.heads = nn.ModuleDict(
            {n: term for n, term in self.terms.items() if isinstance(term, nn.Module)}
        )
        self.needs = combined_needs(objectives)
        # Of the base's own weights: a resumed run loads its checkpoint later, and keeps no copy of these in it.
        copied = self.needs.frozen_texts or (self.needs.frozen_images and not cached)
        self.frozen = base.frozen() if copied else None
        self.caption_drop = max(
            (getattr(o, "caption_drop", 0.0) for o in objectives.values()), default=0.0
        )

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Σ weight · term, a scalar, and {name: term or figure}. In evaluation nothing is dropped."""
        return self.losses(self.forward_pass(batch))

    def forward_pass(self, batch: Batch) -> ForwardPass:
        """The batch as this base sees it."""
        drop, step = (self.caption_drop, batch.step) if self.training else (0.0, VALIDATION)
        return ForwardPass(
            self.base,
            batch,
            self.needs,
            self.seed,
            step,
            drop,
            self.training,
            self.frozen,
            self.chunk,
        )

    def losses(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        """What `forward` gives, of forward."""
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=forward.device)
        for name, objective in self.objectives.items():
            term, figures = self.terms[name](forward)
            total = total + objective.weight * term
            parts |= {name: term.detach(), **{k: v.detach() for k, v in figures.items()}}
        return total, parts
