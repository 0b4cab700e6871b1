"""A base and its objectives as one module: a batch in, the total loss and every part out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unidiff_cli.data.batch import Batch
from unidiff_cli.models.forward import ForwardOptions, ForwardPass
from unidiff_cli.models.gradient_cut import GradientFactors
from unidiff_cli.models.low_rank import LowRank, Unadapted, remove_adapters
from unidiff_cli.models.stored_text import StoredText
from unidiff_cli.objectives import Objective, Term, needs_of
from unidiff_cli.objectives._heads import LossModule

if TYPE_CHECKING:
    from unidiff_cli.models.adapters import AddedLayers
    from unidiff_cli.models.base import BaseModel, DualEncoder


class TrainingModule(nn.Module):
    """forward(batch) gives Σ weight · term, a scalar, and {name: term or figure}.

    `adapters` are those in the base that train in place of weights; None: the weights train.
    `heads` are the terms that learn something of their own. `layers` are those that objectives
    train beside the base, by objective; `fresh` of them begin at random in this run. `factors`
    multiply gradients and are the trainer's to set. `halvings` says how often the rows that a tower
    holds at a time were halved for want of memory.
    """

    def __init__(
        self,
        base: BaseModel,
        objectives: Mapping[str, Objective],
        seed: int,
        chunk: int = 0,
        cached: bool = False,
        adapters: LowRank | None = None,
    ) -> None:
        """With `cached` batches bring the image embeddings of the base before training, and no
        copy of its CLIP is held for them."""
        super().__init__()
        self.adapters = adapters
        self.base, self.objectives, self.seed, self.chunk = base, dict(objectives), seed, chunk
        self.factors, self.halvings = GradientFactors(), 0
        # Set where the text tower does not train.
        self.text: StoredText | None = None
        self.layers: dict[str, AddedLayers] = {}
        self.fresh: list[str] = []
        # A run's own parameters begin alike on every process, and on resume.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.terms = {name: self._built(name, o) for name, o in self.objectives.items()}
        self.heads = nn.ModuleDict(
            {name: term for name, term in self.terms.items() if isinstance(term, nn.Module)}
        )
        self.needs = needs_of(self.objectives.values())
        # Of the base's own weights: a resumed run loads its checkpoint later, and keeps no copy of
        # these in it.
        copied = self.needs.frozen_text_embeds or (self.needs.frozen_image_embeds and not cached)
        self.frozen = self._before_training() if copied else None

    def _before_training(self) -> DualEncoder | Unadapted:
        """The base's CLIP as it is now: without its adapters where it trains by them alone, else a
        copy."""
        if self.adapters is None:
            return self.base.frozen()
        if {"vision", "text"} <= set(self.adapters.options.towers):
            return Unadapted(self.adapters)
        copy = self.base.frozen()
        remove_adapters(copy)
        return copy

    def _built(self, name: str, objective: Objective) -> Term:
        """The term of an objective, whose layers are attached to the base."""
        if (layers := objective.layers(self.base)) is not None:
            if layers.name not in self.base.added:
                self.fresh.append(name)
            self.base.attach(layers)
            self.layers[name] = layers
        return objective.build(self.base)

    @property
    def scales(self) -> list[nn.Parameter]:
        """Every learned scale: the base's, its added layers' and the terms' own."""
        terms = (term for term in self.heads.values() if isinstance(term, LossModule))
        return [*self.base.scales(), *(scale for term in terms for scale in term.scales)]

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and every part. In evaluation nothing is dropped."""
        return self.losses(self.forward_pass(batch))

    def chunks(self, batch: Batch) -> tuple[int, int]:
        """The rows that CLIP's towers and the denoiser hold at a time; 0: all."""
        size = len(batch.positions)
        seen = size if batch.denoise_rows is None else len(batch.denoise_rows)
        if not self.halvings:
            return self.chunk, 0
        return _halved(min(self.chunk or size, size), self.halvings), _halved(seen, self.halvings)

    def halve(self, batch: Batch) -> bool:
        """Halves the rows that a tower holds at a time; False where they are one already."""
        if self.halvings and max(self.chunks(batch)) == 1:
            return False
        self.halvings += 1
        return True

    def halved_sentence(self, batch: Batch) -> str:
        """What `halve` has come to, in words."""
        clip, denoiser = self.chunks(batch)
        return (
            f"Out of memory at step {batch.step + 1}. From here on CLIP's towers hold {clip} rows "
            f"at a time, and the denoiser {denoiser}. The batch and its gradient stay the same; a "
            "step takes longer."
        )

    def forward_pass(self, batch: Batch) -> ForwardPass:
        """The batch as this base sees it."""
        chunk, denoise_chunk = self.chunks(batch)
        options = ForwardOptions(
            self.seed, self.training, chunk, self.factors, denoise_chunk, self.text
        )
        return ForwardPass(self.base, batch, self.needs, options, self.frozen)

    def losses(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and every part of a forward pass."""
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=forward.device)
        for name, objective in self.objectives.items():
            term, figures = self.terms[name](forward)
            total = total + objective.weight * term
            parts |= {name: term.detach(), **{k: v.detach() for k, v in figures.items()}}
        return total, parts


def _halved(rows: int, times: int) -> int:
    """Rows halved so often, one at least."""
    return max(1, -(-rows // 2**times))
