"""The backward pass of a step whose gradients are taken apart where two terms share a tower.

Retrieval reads the text tower's embeddings, and generation its token states. An objective may read
the denoiser's features, beside others that read its prediction. The objectives' graph is cut at
these outputs, so that their backward runs once and leaves each reader's gradient at its output;
then each goes the rest of its way alone, is measured, scaled to its share, and freed of conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unidiff_cli.models.distributed import average
from unidiff_cli.models.gradient_cut import Cut
from unidiff_cli.models.text_pass import TextCut
from unidiff_cli.training.gradient_shares import MEETING, ShareKeeper
from unidiff_cli.training.pcgrad import Gradients, products, project

# The logged cosine of each place.
COSINES = {"text": "gradient_cosine", "denoiser": "gradient_cosine_denoiser"}


def reader_gradients(
    cut: TextCut, parameters: Sequence[nn.Parameter]
) -> tuple[Gradients, Gradients]:
    """The tower's gradients for retrieval and for generation, after the objectives' backward.

    Averaged over processes; None for a parameter that a reader does not reach (the projection has
    one reader only). Zero where nothing arrived, as when an objective only looks: every process
    then averages the same.
    """

    def carry(half: Cut, keep: bool) -> Gradients:
        gradients = torch.autograd.grad(
            half.outputs, parameters, half.arrived, retain_graph=keep, allow_unused=True
        )
        average(gradients)
        return list(gradients)

    return carry(cut.retrieval, keep=True), carry(cut.generation, keep=False)


@dataclass
class CutStep:
    """A step whose forward pass was cut, after the objectives' backward.

    `text` is the cut of the text tower and `shared` its parameters; `features` that of the
    denoiser's features and `denoiser` its parameters; `trained` are all that train. `shares` are
    measured where there is one; `projected` takes the conflict on the text tower out. `figures` are
    for the log. All gradients are multiplied with `scale`, and the measured ones are not.
    """

    trained: Sequence[nn.Parameter]
    text: TextCut | None
    shared: Sequence[nn.Parameter]
    features: Cut | None
    denoiser: Sequence[nn.Parameter]
    shares: ShareKeeper | None
    projected: bool
    scale: float = 1.0

    def finish(self) -> dict[str, Tensor]:
        """Leaves the gradient of every trained parameter, averaged over processes; the figures."""
        # All but the text tower's, which is behind its cut.
        average(p.grad for p in self.trained)
        figures = self._denoiser() if self.features and self.features.pairs else {}
        return {**figures, **(self._text() if self.text else {})}

    def _denoiser(self) -> dict[str, Tensor]:
        """Carries the features' gradient on: to the denoiser, and to the captions it has read."""
        assert self.features is not None
        leaves = self.text.generation.leaves if self.text else []
        gradients: Gradients = list(
            torch.autograd.grad(
                self.features.outputs,
                [*self.trained, *leaves],
                self.features.arrived,
                allow_unused=True,
            )
        )
        count = len(self.trained)
        average(gradients[:count])
        by_id = {id(p): g for p, g in zip(self.trained, gradients, strict=False)}
        by_features = [by_id.get(id(p)) for p in self.denoiser]
        figures = self._measured("denoiser", by_features, [p.grad for p in self.denoiser])
        factor = self.shares.factor("denoiser") if self.shares else None
        _add([*self.trained, *leaves], _scaled(gradients, factor))
        return figures

    def _text(self) -> dict[str, Tensor]:
        assert self.text is not None
        retrieval, generation = reader_gradients(self.text, self.shared)
        figures = self._measured("text", generation, retrieval)
        if self.shares:
            generation = _scaled(generation, self.shares.factor("text"))
        if self.projected:
            retrieval, generation = project(retrieval, generation)
        _add(self.shared, retrieval)
        _add(self.shared, generation)
        return figures

    def _measured(self, place: str, scaled: Gradients, other: Gradients) -> dict[str, Tensor]:
        """The cosine of two gradients, and their norms where shares are measured by them."""
        dot, aa, bb = products(scaled, other)
        norms = aa.sqrt(), bb.sqrt()
        angle = dot / (norms[0] * norms[1])
        norms = norms[0] / self.scale, norms[1] / self.scale
        figures = {} if angle.isnan() else {COSINES[place]: angle}
        if self.shares is None:
            return figures
        self.shares.measure(place, *norms)
        names = [f"gradient_norm_{place}_{name}" for name in MEETING[place]]
        return figures | dict(zip(names, norms, strict=True))


def _scaled(gradients: Gradients, factor: float | None) -> Gradients:
    return gradients if factor is None else [g if g is None else g * factor for g in gradients]


def _add(tensors: Iterable[Tensor], gradients: Gradients) -> None:
    """Adds gradients to those that tensors have.

    They lie in the tensor's memory layout, which the fused optimiser takes for granted.
    """
    for tensor, gradient in zip(tensors, gradients, strict=True):
        if gradient is None:
            continue
        if tensor.grad is None:
            tensor.grad = torch.zeros_like(tensor)
        tensor.grad += gradient
