"""Conflict: whether finding and drawing pull the shared text tower apart, measured and, by PCGrad, taken out.

Two readers share the tower: what reads its embeddings (contrastive and the like: finding) and what reads its token states
(all that goes through the UNet: drawing). The objectives' graph is cut at these outputs, so their backward runs once,
leaves each reader's gradient at its output, and only the tower's own runs twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from unidiff_cli.models.forward import ForwardPass

Gradients = list[Tensor | None]


def readers(
    forward: ForwardPass, parameters: Sequence[nn.Parameter]
) -> tuple[Gradients, Gradients]:
    """The tower's gradients by what arrived at its embeddings and at its states, after the objectives' backward.

    Averaged over processes; None for a parameter a reader does not reach (the projection has one reader only). Zero where
    nothing arrived, as when an objective only looks: every process then averages the same.
    """
    assert forward.cut is not None
    (states, embeds), (drawing, finding) = forward.cut

    def carry(output: Tensor, arrived: Tensor | None, keep: bool) -> Gradients:
        arrived = torch.zeros_like(output) if arrived is None else arrived
        found = torch.autograd.grad(
            output, parameters, arrived, retain_graph=keep, allow_unused=True
        )
        average(found)
        return list(found)

    return carry(embeds, finding.grad, keep=True), carry(states, drawing.grad, keep=False)


def average(gradients: Iterable[Tensor | None]) -> None:
    """Means over all processes, in place, as DDP takes them; nothing on one process."""
    if not torch.distributed.is_initialized() or (world := torch.distributed.get_world_size()) == 1:
        return
    some = [g for g in gradients if g is not None]
    for work in [torch.distributed.all_reduce(g, async_op=True) for g in some]:
        work.wait()
    for g in some:
        g.div_(world)


def products(a: Gradients, b: Gradients) -> tuple[Tensor, Tensor, Tensor]:
    """a·b, ‖a‖² and ‖b‖² over the parameters that both reach. Raises ValueError where there are none."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if not both:
        raise ValueError("nothing is shared")
    return (
        torch.stack([(x * y).sum() for x, y in both]).sum(),
        torch.stack([x.square().sum() for x, _ in both]).sum(),
        torch.stack([y.square().sum() for _, y in both]).sum(),
    )


def cosine(a: Gradients, b: Gradients) -> Tensor:
    """cos(a, b) over the parameters both reach, a scalar: below 0 a step for one undoes some of the other. NaN where either is 0."""
    dot, aa, bb = products(a, b)
    return dot / (aa.sqrt() * bb.sqrt())


def project(a: Gradients, b: Gradients) -> tuple[Gradients, Gradients]:
    """Both without their part against the other, where a·b < 0: a − (a·b/‖b‖²) b and b − (a·b/‖a‖²) a.

    PCGrad for two tasks (Yu et al., arXiv 2001.06782, algorithm 1): their order does not matter.
    """
    dot, aa, bb = products(a, b)
    dot = dot.clamp(max=0)  # where they agree nothing is taken
    to_a, to_b = dot / bb.clamp(min=1e-30), dot / aa.clamp(min=1e-30)

    def without(x: Tensor | None, y: Tensor | None, share: Tensor) -> Tensor | None:
        return x if x is None or y is None else x - share * y

    pairs = list(zip(a, b, strict=True))
    return [without(x, y, to_a) for x, y in pairs], [without(y, x, to_b) for x, y in pairs]


def backward(
    total: Tensor,
    forward: ForwardPass,
    shared: Sequence[nn.Parameter],
    trained: Sequence[nn.Parameter],
    pcgrad: bool,
    run: Callable[[Tensor], None],
) -> Tensor:
    """Leaves the gradient of `total`, whose text tower is cut, in every trained parameter, averaged over processes.

    `run` is the backward of a scalar; `shared` are the tower's parameters. Gives the cosine of its readers' gradients, NaN
    where only one of them has any.
    """
    run(total)
    average(p.grad for p in trained)  # all but the tower: it is behind the cut
    finding, drawing = readers(forward, shared)
    angle = cosine(finding, drawing)
    if pcgrad:
        finding, drawing = project(finding, drawing)
    for parameter, *own in zip(shared, finding, drawing, strict=True):
        for gradient in own:
            if gradient is not None:
                if (
                    parameter.grad is None
                ):  # in the parameter's memory layout, which the fused optimiser takes for granted
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad += gradient
    return angle
