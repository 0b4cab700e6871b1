"""Runs the text tower once a step over every caption that is read, and cuts it for PCGrad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unidiff_cli.models.base import DualEncoder, TextFeatures
from unidiff_cli.models.chunks import in_chunks


@dataclass(frozen=True)
class TextPass:
    """Conditions of the captions that a denoiser reads, and embeddings of all captions."""

    # Of b + p + 1 captions: the batch's that the denoiser sees, the prior's, the empty one.
    conditions: TextFeatures
    # (B + p + 1, D), unit.
    embeds: Tensor

    @classmethod
    def run(
        cls, encoder: DualEncoder, captions: Sequence[str], read: Sequence[int], chunk: int
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

    def detached(self) -> tuple[TextPass, TextCut]:
        """The same values as leaves, where each reader's gradient arrives, and the cut."""
        states, embeds = _leaf(self.conditions.states), _leaf(self.embeds)
        pooled = self.conditions.pooled
        generation = [(self.conditions.states, states)]
        if pooled is not None:
            generation.append((pooled, _leaf(pooled)))
            pooled = generation[1][1]
        conditions = replace(self.conditions.detach(), states=states, pooled=pooled)
        return TextPass(conditions, embeds), TextCut(generation, [(self.embeds, embeds)])


@dataclass(frozen=True)
class TextCut:
    """The text tower's outputs, each with the leaf in its place: (output, leaf)."""

    # States and, where a family has them, pooled vectors: what the denoiser reads.
    generation: list[tuple[Tensor, Tensor]]
    # Embeddings: what retrieval reads.
    retrieval: list[tuple[Tensor, Tensor]]


def _leaf(output: Tensor) -> Tensor:
    return output.detach().requires_grad_(output.requires_grad)
