"""Training with the weights in pieces over the processes: torch's FSDP2, as accelerate asks for it.

The one file that knows of pieces. Parameters become DTensors: each process holds a part of each, of
its average and of its optimiser state. They are gathered for the forward and the backward pass of a
step, all at once: processes may run a layer unlike often in a step (general images, chosen rows),
and would wait for each other for ever if each layer were gathered by itself. Learned scales are
single numbers, which cannot be divided: every process holds them whole.

Unlike accelerate's own this also works on processors, over gloo.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from unidiff_cli import machine
from unidiff_cli.config.schema import Train
from unidiff_cli.errors import UsageError
from unidiff_cli.models.distributed import average, rank

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule

    from unidiff_cli.training.module import TrainingModule


def asked() -> bool:
    """Whether accelerate's settings ask for FSDP, in the environment of this process."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("true", "1")


def refuse(options: Train, precision: str) -> None:
    """Raises UsageError for what cannot be done with weights in pieces."""
    from accelerate import FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise UsageError("Only version 2 of FSDP is supported.", "Add --fsdp_version 2.")
    if type(plugin.cpu_offload).__name__ == "CPUOffloadPolicy":
        raise UsageError(
            "FSDP's offloading of parameters is not supported.",
            "Leave --fsdp_offload_params out.",
        )
    if precision == "fp16":
        raise UsageError(
            "fp16 is not trained with FSDP: its loss is scaled, and the scale has to be shared.",
            "Take bf16, or train without --use_fsdp.",
        )
    shares = options.gradient_shares
    for key, wanted in (
        ("pcgrad", options.pcgrad),
        ("gradient_shares", shares.text is not None or shares.denoiser is not None),
    ):
        if wanted:
            raise UsageError(
                f"train.{key} takes gradients apart, which FSDP keeps in pieces.",
                "Turn it off, or train without --use_fsdp.",
            )


def shard(module: TrainingModule, groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Divides a module's parameters over the processes, in place.

    Returns the optimiser's groups with the new parameters, whole ones and pieces apart.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    names = {id(p): name for name, p in module.named_parameters()}
    for parameter in module.parameters():
        # Convolutions may lie in memory with their channels last, which FSDP does not divide.
        parameter.data = parameter.data.contiguous()
    mesh = init_device_mesh(machine.device().type, (torch.distributed.get_world_size(),))
    fully_shard(module, mesh=mesh, ignored_params={p for p in module.parameters() if p.ndim == 0})
    fresh = dict(module.named_parameters())
    regrouped = []
    for group in groups:
        parameters = [fresh[names[id(p)]] for p in group["params"]]
        for pieces in (True, False):
            chosen = [p for p in parameters if isinstance(p, DTensor) is pieces]
            if chosen:
                regrouped.append({**group, "params": chosen})
    return regrouped


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Within it every process holds all parameters whole, and may use the module alone.

    All processes enter it together.
    """
    sharded = cast("FSDPModule", module)
    sharded.unshard()
    try:
        yield
    finally:
        sharded.reshard()


def finish_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Averages the gradients of whole parameters; FSDP has averaged those of the pieces."""
    average(p.grad for p in parameters if not isinstance(p, DTensor))


def clip(parameters: Sequence[nn.Parameter], most: float) -> Tensor:
    """Bounds the norm of parameters' gradients over all processes; the norm before."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    pieces = [g.to_local() for g in gradients if isinstance(g, DTensor)]
    whole = [g for g in gradients if not isinstance(g, DTensor)]
    device = parameters[0].device
    squares = torch.zeros((), device=device, dtype=torch.float64)
    # What every process has counts once.
    for gradient in [*pieces, *(whole if rank() == 0 else ())]:
        squares += gradient.double().square().sum()
    torch.distributed.all_reduce(squares)
    norm = squares.sqrt()
    factor = (most / (norm + 1e-6)).clamp(max=1.0)
    for gradient in [*pieces, *whole]:
        gradient.mul_(factor.to(gradient.dtype))
    return norm


def whole(tensor: Tensor) -> Tensor:
    """A tensor of all its pieces, on the first process in its memory; the tensor where it is whole.

    All processes call it together.
    """
    if not isinstance(tensor, DTensor):
        return tensor
    full = tensor.full_tensor()
    # The others write nothing, and need no room for it.
    return full.cpu() if rank() == 0 else full.new_empty(0)


def local(tensor: Tensor) -> Tensor:
    """The piece of this process; the tensor where it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def copy_whole(target: Tensor, source: Tensor) -> None:
    """Copies a whole tensor into one of its shape, or into its pieces."""
    if isinstance(target, DTensor):
        spread = distribute_tensor(
            source.to(target.device), target.device_mesh, target.placements, src_data_rank=None
        )
        target.to_local().copy_(spread.to_local())
    else:
        target.copy_(source)
