"""Runs the text tower once a step over every caption that is read; its readers may be parted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unidiff_cli.models.base import TextFeatures
from unidiff_cli.models.chunks import in_chunks
from unidiff_cli.models.gradient_cut import Cut, scaled_gradient
from unidiff_cli.models.stored_text import TextReader


@dataclass(frozen=True)
class TextPass:
    """Conditions of the captions that a denoiser reads, and embeddings of all captions."""

    # Of b + p + 1 captions: the batch's that the denoiser sees, the prior's, the empty one.
    conditions: TextFeatures
    # (B + p + 1, D), unit.
    embeds: Tensor

    @classmethod
    def run(
        cls, encoder: TextReader, captions: Sequence[str], read: Sequence[int], chunk: int
    ) -> TextPass:
        """Over all captions, `chunk` at a time; conditions are kept of those numbered in `read`."""

        def tower(first: int, last: int) -> tuple[TextFeatures, Tensor]:
            features = encoder.encode_text(captions[first:last])
            rows = [i - first for i in read if first <= i < last]
            return features.rows(rows) if len(rows) < last - first else features, features.embeds

        parts = in_chunks(tower, len(captions), chunk)
        if len(parts) == 1:
            return cls(*parts[0])
        conditions = TextFeatures.cat([conditions for conditions, _ in parts])
        return cls(conditions, torch.cat([embeds for _, embeds in parts]))

    def after(self, conditions: int, embeds: int) -> TextPass:
        """Without the first so many conditions and embeddings."""
        return TextPass(self.conditions.rows(slice(conditions, None)), self.embeds[embeds:])

    def scaled(self, factor: float | None) -> TextPass:
        """The same values; the gradient that the denoiser sends is multiplied with a factor."""
        return replace(self, conditions=self._read(lambda x: scaled_gradient(x, factor)))

    def detached(self) -> tuple[TextPass, TextCut]:
        """The same values as leaves, where each reader's gradient arrives, and the cut."""
        cut = TextCut(generation=Cut(), retrieval=Cut())
        conditions, embeds = self._read(cut.generation.leaf), cut.retrieval.leaf(self.embeds)
        return TextPass(replace(conditions, embeds=conditions.embeds.detach()), embeds), cut

    def _read(self, change: Callable[[Tensor], Tensor]) -> TextFeatures:
        """The conditions with a change of what the denoiser reads of them."""
        conditions = self.conditions
        pooled = None if conditions.pooled is None else change(conditions.pooled)
        return replace(conditions, states=change(conditions.states), pooled=pooled)


@dataclass(frozen=True)
class TextCut:
    """The text tower's outputs, by who reads them."""

    # States and, where a family has them, pooled vectors: what the denoiser reads.
    generation: Cut
    # Embeddings: what retrieval reads.
    retrieval: Cut
