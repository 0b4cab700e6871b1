"""The optimisers by the names that a recipe has for them, and what each keeps of a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from unidiff_cli.config.train import Train
from unidiff_cli.system import missing_package
from unidiff_cli.training import sharding

# Of bitsandbytes: the weights of a parameter below which it keeps all in fp32, those that share a
# scale, and the values that a byte stands for.
SMALLEST, BLOCK, LEVELS = 4096, 256, 256


def optimizer_of(options: Train, groups: list[dict[str, Any]]) -> Optimizer:
    """The optimiser of a run over its parameter groups.

    `adamw` keeps two numbers a weight. It is fused, which on a CPU takes a quarter of the plain
    one's time. `adamw8bit` is that of bitsandbytes (arXiv 2110.02861), which keeps a byte of each,
    except of small parameters. `adafactor` (arXiv 1804.04235) keeps a row and a column a matrix,
    and takes the recipe's rates as they are.
    """
    if options.optimizer == "adamw8bit":
        from bitsandbytes.optim import AdamW8bit

        for parameter in (p for group in groups for p in group["params"]):
            # Its first step would do that, and leave what a checkpoint brought in another order.
            parameter.data = parameter.data.contiguous()
        return AdamW8bit(groups, min_8bit_size=SMALLEST)
    if options.optimizer == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(groups, relative_step=False, scale_parameter=False)
    return AdamW(groups, fused=True)


def require(options: Train) -> None:
    """Raises EnvironmentProblem where the package of a recipe's optimiser is not installed."""
    if options.optimizer == "adamw8bit" and find_spec("bitsandbytes") is None:
        raise missing_package(ModuleNotFoundError(name="bitsandbytes"))


def state_bytes(options: Train, parameter: nn.Parameter) -> int:
    """The bytes that a run's optimiser keeps of a parameter, known before its first step."""
    count, shape = parameter.numel(), parameter.shape
    if options.optimizer == "adamw8bit" and count >= SMALLEST:
        return 2 * (count + 4 * -(-count // BLOCK) + 4 * LEVELS)
    if options.optimizer != "adafactor":
        return 2 * count * parameter.element_size()
    if len(shape) < 2:
        return count * parameter.element_size()
    return (count // shape[-1] + count // shape[-2]) * parameter.element_size()


def state_tensors(optimizer: Any, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What an optimiser keeps of a parameter, by its own names."""
    return {key: torch.as_tensor(value) for key, value in optimizer.state[parameter].items()}


def load_state(optimizer: Any, parameter: nn.Parameter, tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimiser what it kept of a parameter, as `state_tensors` has it."""
    for key, value in tensors.items():
        if value.shape == parameter.shape:
            # In the parameter's own memory layout: the fused kernel refuses another.
            source, value = value, torch.empty_like(parameter, dtype=value.dtype)
            sharding.copy_whole(value, source)
        whole = value.ndim == 0 and not value.is_floating_point()
        optimizer.state[parameter][key] = int(value) if whole else value.to(parameter.device)
