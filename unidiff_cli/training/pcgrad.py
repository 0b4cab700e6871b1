"""Gradient conflict on the text tower: measured, and by PCGrad taken out.

Two readers share the tower: retrieval reads its embeddings, and generation its token states. The
objectives' graph is cut at these outputs, so their backward runs once, leaves each reader's
gradient at its output, and only the tower's own runs twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from unidiff_cli.models.distributed import world_size
from unidiff_cli.models.text_pass import TextCut

Gradients = list[Tensor | None]


def reader_gradients(
    cut: TextCut, parameters: Sequence[nn.Parameter]
) -> tuple[Gradients, Gradients]:
    """The tower's gradients for retrieval and for generation, after the objectives' backward.

    Averaged over processes; None for a parameter that a reader does not reach (the projection has
    one reader only). Zero where nothing arrived, as when an objective only looks: every process
    then averages the same.
    """

    def carry(pairs: list[tuple[Tensor, Tensor]], keep: bool) -> Gradients:
        outputs = [output for output, _ in pairs]
        arrived = [torch.zeros_like(o) if leaf.grad is None else leaf.grad for o, leaf in pairs]
        gradients = torch.autograd.grad(
            outputs, parameters, arrived, retain_graph=keep, allow_unused=True
        )
        average(gradients)
        return list(gradients)

    return carry(cut.retrieval, keep=True), carry(cut.generation, keep=False)


def average(gradients: Iterable[Tensor | None]) -> None:
    """Means over all processes, in place, as DDP takes them; nothing on one process."""
    if (world := world_size()) == 1:
        return
    present = [g for g in gradients if g is not None]
    for work in [torch.distributed.all_reduce(g, async_op=True) for g in present]:
        work.wait()
    for gradient in present:
        gradient.div_(world)


def products(a: Gradients, b: Gradients) -> tuple[Tensor, Tensor, Tensor]:
    """a·b, ‖a‖² and ‖b‖² over the parameters that both reach. Raises ValueError where none is."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if not both:
        raise ValueError("nothing is shared")
    return (
        torch.stack([(x * y).sum() for x, y in both]).sum(),
        torch.stack([x.square().sum() for x, _ in both]).sum(),
        torch.stack([y.square().sum() for _, y in both]).sum(),
    )


def cosine(a: Gradients, b: Gradients) -> Tensor:
    """cos(a, b) over the parameters both reach, a scalar; NaN where either is 0.

    Below 0 a step for one undoes part of the other's.
    """
    dot, aa, bb = products(a, b)
    return dot / (aa.sqrt() * bb.sqrt())


def project(a: Gradients, b: Gradients) -> tuple[Gradients, Gradients]:
    """Both without their part against the other, where a·b < 0.

    a − (a·b/‖b‖²) b and b − (a·b/‖a‖²) a: PCGrad for two tasks (Yu et al., arXiv 2001.06782,
    algorithm 1), whose order does not matter.
    """
    dot, aa, bb = products(a, b)
    # Where they agree nothing is taken.
    dot = dot.clamp(max=0)
    to_a, to_b = dot / bb.clamp(min=1e-30), dot / aa.clamp(min=1e-30)

    def without(x: Tensor | None, y: Tensor | None, share: Tensor) -> Tensor | None:
        return x if x is None or y is None else x - share * y

    pairs = list(zip(a, b, strict=True))
    return [without(x, y, to_a) for x, y in pairs], [without(y, x, to_b) for x, y in pairs]


def backward(
    run: Callable[[], None],
    cut: TextCut,
    shared: Sequence[nn.Parameter],
    trained: Sequence[nn.Parameter],
    projected: bool,
) -> Tensor:
    """Leaves the gradient of a loss whose text tower is cut in every trained parameter.

    `run` is the backward of the loss; `shared` are the tower's parameters; `projected` takes the
    conflict out. Gradients are averaged over processes. Gives the cosine of the readers' gradients,
    NaN where only one of them has any.
    """
    run()
    # All but the tower's, which is behind the cut.
    average(p.grad for p in trained)
    retrieval, generation = reader_gradients(cut, shared)
    angle = cosine(retrieval, generation)
    if projected:
        retrieval, generation = project(retrieval, generation)
    for parameter, *gradients in zip(shared, retrieval, generation, strict=True):
        for gradient in gradients:
            if gradient is None:
                continue
            # In the parameter's memory layout, which the fused optimiser takes for granted.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad += gradient
    return angle
