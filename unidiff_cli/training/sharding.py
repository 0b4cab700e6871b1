"""Training with the weights in pieces over the processes: torch's FSDP2, as accelerate asks for it.

The one file that knows of pieces. Parameters become DTensors: each process holds a part of each, of
its average and of its optimiser state. They are gathered for the forward and the backward pass of a
step, all at once: processes may run a layer unlike often in a step (general images, chosen rows),
and would wait for each other for ever if each layer were gathered by itself. Learned scales are
single numbers, which cannot be divided: every process holds them whole. Weights that do not train
are in pieces too, and adapters of low rank like any other parameter.

Unlike accelerate's own this also works on processors, over gloo.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from unidiff_cli import machine
from unidiff_cli.config.train import Train
from unidiff_cli.errors import UsageError
from unidiff_cli.models.distributed import average, rank

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule

    from unidiff_cli.training.module import TrainingModule


# Those of a loss that is not scaled.
PRECISIONS = ("auto", "fp32", "bf16")


def asked() -> bool:
    """Whether accelerate's settings ask for FSDP, in the environment of this process."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("true", "1")


def refuse(options: Train) -> None:
    """Raises UsageError for what cannot be done with weights in pieces, and for a torch too old."""
    from accelerate import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import FSDPModule

    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        raise UsageError(
            f"FSDP wants a newer torch than {torch.__version__}.",
            "Install torch 2.14 or later, or train without --use_fsdp.",
        )
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise UsageError("Only version 2 of FSDP is supported.", "Add --fsdp_version 2.")
    if type(plugin.cpu_offload).__name__ == "CPUOffloadPolicy":
        raise UsageError(
            "FSDP's offloading of parameters is not supported.",
            "Leave --fsdp_offload_params out.",
        )
    if options.precision not in PRECISIONS:
        raise UsageError(
            f"{options.precision} is not trained with FSDP: its loss is scaled, and the scale "
            "would have to be shared.",
            "Take bf16, or train without --use_fsdp.",
        )
    if options.optimizer != "adamw" or options.ema_on == "cpu":
        raise UsageError(
            "With FSDP the optimizer is adamw, and averages stay on the device.",
            "Set train.optimizer=adamw and train.ema_on=device, or train without --use_fsdp.",
        )
    if options.compile:
        raise UsageError(
            "train.compile is not tried with FSDP.",
            "Leave it out, or train without --use_fsdp.",
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


class Pieces:
    """A module whose parameters are divided over the processes, in place.

    `groups` are the optimiser's with the new parameters, whole ones and pieces apart.
    """

    def __init__(self, module: TrainingModule, groups: Sequence[Mapping[str, Any]]) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        names = {id(p): name for name, p in module.named_parameters()}
        for parameter in module.parameters():
            # Convolutions may lie in memory with their channels last, which FSDP does not divide.
            parameter.data = parameter.data.contiguous()
        mesh = init_device_mesh(machine.device().type, (torch.distributed.get_world_size(),))
        scalars = {p for p in module.parameters() if p.ndim == 0}
        sharded = fully_shard(module, mesh=mesh, ignored_params=scalars)
        # Processes then average the same, where one has a gradient that another has not.
        sharded.set_reduce_scatter_unused_params(True)
        self.parameters = dict(module.named_parameters())
        self.reached = set[str]()
        self._note_gradients(module)
        self.groups = list[dict[str, Any]]()
        for group in groups:
            parameters = [self.parameters[names[id(p)]] for p in group["params"]]
            for pieces in (True, False):
                chosen = [p for p in parameters if isinstance(p, DTensor) is pieces]
                if chosen:
                    self.groups.append({**group, "params": chosen})

    def _note_gradients(self, module: nn.Module) -> None:
        """Notes from now on which parameters a backward pass gives a gradient."""
        with gathered(module):
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(
                        lambda _, name=name: self.reached.add(name)
                    )

    def finish_gradients(self) -> None:
        """Averages gradients of whole parameters; FSDP has averaged those of the pieces.

        A parameter that no process gave a gradient has none, as in one process: a zero would be
        decayed.
        """
        trained = {name: p for name, p in self.parameters.items() if p.requires_grad}
        device = next(iter(trained.values())).device
        noted = torch.tensor([name in self.reached for name in trained], device=device).int()
        torch.distributed.all_reduce(noted, torch.distributed.ReduceOp.MAX)
        self.reached.clear()
        for parameter, anywhere in zip(trained.values(), noted.tolist(), strict=True):
            if not anywhere:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        average(p.grad for p in trained.values() if not isinstance(p, DTensor))


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
