"""In which precision a step computes: fp32, bf16 by accelerate, and fp16 with a scaled loss.

What trains, its gradient and its moments are fp32 in all of them. What does not train is held in
the step's own precision.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_map_only

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.config.train import Train
from unidiff_cli.training.optimizer import trained_towers

if TYPE_CHECKING:
    from accelerate import Accelerator

    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.training.module import TrainingModule

logger = logging.getLogger("unidiff")

# Layers whose weights autocast rounds each time they are used. torch's own attention has another
# class of linear layer, whose weight it reads itself.
ROUNDED = (nn.Linear, nn.Conv2d)
# The least scale of fp16's loss: what is not finite under it is no overflow of the scale.
LEAST_SCALE = 1.0
# The scale that a run begins with, as torch's own.
FIRST_SCALE = 2.0**16


def precision_of(options: Train) -> Literal["fp32", "bf16", "fp16"]:
    """The precision in force; auto: bf16 where the GPU or processor has it, else fp32."""
    if options.precision == "auto":
        return "bf16" if machine.bf16_supported() else "fp32"
    return options.precision


def half_of(options: Train) -> torch.dtype | None:
    """The half precision of a step's products; None in fp32."""
    halves = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return halves.get(precision_of(options))


def warn_of_slow_half(options: Train) -> None:
    """Warns of half precision on a processor that has no instructions for it."""
    half = precision_of(options)
    if half != "fp32" and machine.device().type == "cpu" and not machine.processor_has(half):
        logger.warning(
            "This processor has no instructions for %s: a step takes many times as long as in "
            "fp32. To train here: --set train.precision=fp32",
            half,
        )


def mixed_precision(options: Train) -> Literal["no", "bf16"]:
    """What accelerate is told. fp16 is this file's: accelerate has it on a GPU only."""
    return "bf16" if precision_of(options) == "bf16" else "no"


class Precision:
    """How a trainer computes forward and backward in the precision of its options.

    In fp16 the loss is multiplied with a scale, so that small gradients are not lost, and the
    gradients are divided by it. A step whose gradients are not finite changes no weight and halves
    the scale; many good ones double it (torch.amp).
    """

    def __init__(self, accelerator: Accelerator, options: Train) -> None:
        self.accelerator = accelerator
        self.half = precision_of(options) == "fp16"
        # What autocast rounds to; None: it does not.
        self.dtype = half_of(options)
        self.attention_in_fp32 = self.dtype is not None and accelerator.device.type == "cpu"
        self.scaler = torch.amp.GradScaler(
            accelerator.device.type, init_scale=FIRST_SCALE, enabled=self.half
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """Within it towers compute in this precision."""
        if self.half:
            return torch.autocast(self.accelerator.device.type, torch.float16)
        return self.accelerator.autocast()

    def whole_attention(self) -> AbstractContextManager[Any]:
        """Within it attention computes in fp32 on a processor, also where a pass is made again.

        There the backward pass of torch's fused attention takes six times as long in bf16.
        """
        return _whole_attention() if self.attention_in_fp32 else nullcontext()

    def round_frozen(self, module: TrainingModule) -> None:
        """Holds weights that do not train as autocast rounds them, which halves their memory.

        Those of linear layers and convolutions, so a step computes the same to the last bit. Norms
        and embeddings stay, which autocast leaves as they are, and in fp16 what would overflow.
        """
        if self.dtype is None:
            return
        wide = module.base.beyond_fp16 if self.half else ()
        kept = {id(layer) for part in wide for layer in part.modules()}
        _round(
            [layer for layer in _products(module) if id(layer) not in kept],
            [parameter for parameter in module.parameters() if not parameter.requires_grad],
            self.dtype,
        )

    def backward(self, loss: Tensor, **options: Any) -> None:
        """Leaves the gradients of a loss, multiplied with `scale`."""
        self.accelerator.backward(self.scaler.scale(loss), **options)

    @property
    def scale(self) -> float:
        """What gradients are multiplied with until `unscale`."""
        return float(self.scaler.get_scale())

    def unscale(self, optimizer: Any) -> None:
        """The gradients of an optimiser's parameters as they are."""
        self.scaler.unscale_(_inner(optimizer))

    def drop_scale(self) -> None:
        """Computes in fp16 without a scale: for a trial whose gradients have no values."""
        self.scaler = torch.amp.GradScaler(self.accelerator.device.type, enabled=False)

    def may_overflow(self) -> bool:
        """Whether a gradient that is not finite is the scale's, and the next step has a smaller."""
        return self.half and self.scale > LEAST_SCALE

    def step(self, optimizer: Any) -> None:
        """One step of the optimiser, unless a gradient is not finite."""
        if not self.half:
            optimizer.step()
            return
        self.scaler.step(_inner(optimizer))
        self.scaler.update()

    def state(self) -> dict[str, Any]:
        """The scale and how many steps it has held, for a checkpoint; nothing in fp32 and bf16."""
        return dict(self.scaler.state_dict())

    def load(self, state: dict[str, Any]) -> None:
        """Continues with the scale of a checkpoint."""
        if self.half and state:
            self.scaler.load_state_dict(state)


def round_denoiser(base: BaseModel, recipe: Recipe) -> None:
    """Holds a denoiser whose weights stay as the steps will, from before the first one.

    So what the base generates for a run needs no more memory than its steps (`as_held`). No other
    part: embeddings and latents are kept for other runs too.
    """
    options = recipe.train
    dtype, active = half_of(options), recipe.active().values()
    if dtype and (
        options.by_adapters("denoiser") or "denoiser" not in trained_towers(active, options)
    ):
        _round(_products(base), base.parameter_groups()["denoiser"], dtype)


def held_in(base: BaseModel) -> torch.dtype:
    """What a denoiser's products are held in."""
    dtypes = {parameter.dtype for parameter in base.parameter_groups()["denoiser"]}
    return min(dtypes, key=lambda dtype: dtype.itemsize)


def as_held(base: BaseModel) -> AbstractContextManager[Any]:
    """Within it a base computes in the precision in which its denoiser is held."""
    dtype = held_in(base)
    return torch.autocast(base.device.type, dtype, enabled=dtype != torch.float32)


@contextmanager
def _whole_attention() -> Iterator[None]:
    """Takes fused attention out of autocast.

    By its name in torch, which is looked up at each call. A mode of torch's would not be in force
    where checkpointing makes a pass again.
    """
    fused = functional.scaled_dot_product_attention

    def attention(*args: Any, **kwargs: Any) -> Tensor:
        args, kwargs = tree_map_only(Tensor, _whole, (args, kwargs))
        with torch.autocast("cpu", enabled=False):
            return fused(*args, **kwargs)

    functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = fused


def _whole(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _products(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a module whose weights autocast rounds."""
    return (layer for layer in module.modules() if type(layer) in ROUNDED)


def _round(layers: Iterable[nn.Module], parameters: Iterable[Tensor], dtype: torch.dtype) -> None:
    """Holds in half precision the weights of layers that are among some parameters."""
    own = {id(parameter) for parameter in parameters}
    for layer in layers:
        weight: Any = layer.weight
        if id(weight) in own and weight.dtype == torch.float32:
            weight.data = weight.data.to(dtype)


def _inner(optimizer: Any) -> Any:
    """torch's optimiser inside accelerate's."""
    return getattr(optimizer, "optimizer", optimizer)


@contextmanager
def accelerator_of(options: Train) -> Iterator[Accelerator]:
    """An accelerator of this process without a log, for a trial of a run's steps."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    cpu = machine.device().type == "cpu"
    try:
        # The trainer moves its module itself.
        yield Accelerator(mixed_precision=mixed_precision(options), cpu=cpu, device_placement=False)
    finally:
        # The run may want another precision.
        AcceleratorState._reset_state(reset_partial_state=True)
