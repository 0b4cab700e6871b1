"""Adapters of low rank in a base's layers, through peft: put in, switched off, merged, taken out.

W + (α/r)·B·A in place of W, where A (r, in) and B (out, r) train: LoRA, arXiv 2106.09685. DoRA
trains the norm of each output's weights beside that, arXiv 2402.09353. B starts at 0, so a base
with fresh adapters computes what it did.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from unidiff_cli.config.lora import Lora
from unidiff_cli.errors import UsageError, nearest
from unidiff_cli.models.adapters import Factors
from unidiff_cli.models.needs import Tower
from unidiff_cli.models.weights import Shares

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel, TextFeatures

# Kinds of layers that an adapter may be asked for, beside names: the ends of the names of
# attention's projections in transformers and in diffusers, and classes.
ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj", "to_q", "to_k", "to_v", "to_out.0")
KINDS: Mapping[str, type[nn.Module]] = {"linear": nn.Linear, "convolutions": nn.Conv2d}
# Between a layer's name and those of its adapter's tensors, and what peft names the only adapter.
MARK, NAME = ".lora_", "default"


def adaptable_layers(
    base: BaseModel, options: Lora, trained: Mapping[Tower, Collection[nn.Parameter]]
) -> dict[str, Tower]:
    """The names of the base's layers that get an adapter, each with its tower.

    Only layers whose weight is among those of `trained`. Raises UsageError for a target that is no
    layer, and for a tower without one.
    """
    tower_of: dict[int, Tower] = {id(p): t for t in options.towers for p in trained.get(t, ())}
    layers: dict[str, tuple[nn.Module, Tower]] = {}
    for name, module in base.named_modules():
        # torch's own attention reads the weight of its projection, and no adapter in its place.
        if isinstance(module, NonDynamicallyQuantizableLinear):
            continue
        if isinstance(module, nn.Linear | nn.Conv2d) and id(module.weight) in tower_of:
            layers[name] = module, tower_of[id(module.weight)]
    chosen = {
        name: tower
        for name, (module, tower) in layers.items()
        if any(_is_target(target, name, module) for target in options.targets_of(tower))
    }
    for tower in dict.fromkeys(tower_of.values()):
        _refuse_unknown(options, tower, layers)
    return chosen


def _is_target(target: str, name: str, module: nn.Module) -> bool:
    if target in KINDS:
        return isinstance(module, KINDS[target])
    ends = ATTENTION if target == "attention" else (target,)
    return any(f".{name}".endswith(f".{end}") for end in ends)


def _refuse_unknown(
    options: Lora, tower: Tower, layers: Mapping[str, tuple[nn.Module, Tower]]
) -> None:
    """Raises UsageError for a tower's target that is no layer, and where none is one of its own.

    A name of the common targets may be another tower's.
    """
    own = {name: module for name, (module, of) in layers.items() if of == tower}
    shared = getattr(options, tower).targets is None
    where = {name: module for name, (module, _) in layers.items()} if shared else own
    key = f"train.lora.{'targets' if shared else f'{tower}.targets'}"
    targets = options.targets_of(tower)
    for target in targets:
        if not any(_is_target(target, name, module) for name, module in where.items()):
            known = ["attention", *KINDS, *sorted({_end(name) for name in where})]
            raise UsageError(
                f"{key} names '{target}', and no layer that trains is named so."
                f"{nearest(target, known)}",
                f"Take of: {', '.join(known)}.",
            )
    if not any(_is_target(target, *layer) for target in targets for layer in own.items()):
        raise UsageError(
            f"{key} names no layer of the {tower} tower.",
            f"Set train.lora.{tower}.targets, or leave {tower} out of train.lora.towers.",
        )


def _end(name: str) -> str:
    """The last word of a layer's name, with the word before where it is a number."""
    parts = name.split(".")
    return ".".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])


def layer_of(key: str) -> str:
    """The layer of a base whose adapter a tensor is of, by the tensor's name; "": it is of none."""
    return key.partition(MARK)[0] if MARK in key else ""


def blended(factors: Factors, shares: Shares) -> Factors | None:
    """The adapter of a blend with the base: B times its tower's share; None: DoRA's has none."""
    if factors.dora:
        return factors if shares.is_whole else None
    tensors = {}
    for key, tensor in factors.tensors.items():
        name, _, rest = key.partition(MARK)
        share = shares.denoiser if factors.towers[name] == "denoiser" else shares.clip
        tensors[key] = tensor * share if rest.startswith("B.") else tensor
    return replace(factors, tensors=tensors)


class LowRank:
    """The adapters in a base, fresh ones at first. A base holds one of these at a time."""

    def __init__(self, base: BaseModel, options: Lora, layers: Mapping[str, Tower]) -> None:
        """Puts an adapter into each of the layers, at random from torch's generator."""
        from peft import LoraConfig, inject_adapter_in_model

        self.base, self.options, self.towers = base, options, dict(layers)
        ranks = {name: options.rank_of(tower) for name, tower in layers.items()}
        alphas = {name: ranks[name] * options.scale_of(tower) for name, tower in layers.items()}
        config = LoraConfig(
            target_modules=list(layers),
            rank_pattern=ranks,
            alpha_pattern=alphas,
            use_dora=options.dora,
        )
        inject_adapter_in_model(config, base, NAME)
        # peft rounds what it draws as the layer's weights are held; it trains in fp32.
        for parameter in self.named_parameters().values():
            parameter.data = parameter.data.float()
        for module in self.modules().values():
            # In autocast an input is in half precision, and peft would keep a copy of it in fp32
            # for each adapter. DoRA takes its norms in the input's precision.
            module.cast_input_dtype_enabled = options.dora

    @classmethod
    def of_tensors(cls, base: BaseModel, options: Lora, tensors: Mapping[str, Tensor]) -> LowRank:
        """The adapters of which a checkpoint holds tensors, with these values."""
        names = [name for key in tensors if (name := layer_of(key))]
        groups = base.parameter_groups().items()
        tower_of = {id(p): tower for tower, parameters in groups for p in parameters}
        weights = dict(base.named_parameters())
        layers = {name: tower_of[id(weights[f"{name}.weight"])] for name in dict.fromkeys(names)}
        adapters = cls(base, options, layers)
        with torch.no_grad():
            for key, parameter in adapters.named_parameters().items():
                parameter.copy_(tensors[key])
        return adapters

    # ------------------------------------------------------------ parts

    def modules(self) -> dict[str, Any]:
        """peft's layers by their names in the base."""
        return {name: self.base.get_submodule(name) for name in self.towers}

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """What trains, by the base's names."""
        return {
            f"{name}.{key}": parameter
            for name, module in self.modules().items()
            for key, parameter in module.named_parameters()
            if not key.startswith("base_layer.")
        }

    def make_contiguous(self) -> None:
        """Puts their tensors into the layout that DoRA's convolutions need.

        `prepare_for_training` may give a denoiser's weights another, and peft reshapes these by
        views.
        """
        for parameter in self.named_parameters().values():
            parameter.data = parameter.data.contiguous()

    # ------------------------------------------------------------ without them

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within it the base computes as if it had none."""
        modules = self.modules().values()
        for module in modules:
            module.enable_adapters(False)
        try:
            yield
        finally:
            for module in modules:
                module.enable_adapters(True)

    # ------------------------------------------------------------ as weights

    def taken_out(self, beside: Mapping[str, Tensor] | None = None) -> Mapping[str, Tensor]:
        """Takes them out of the base; the weights that compute the same, by the base's own names.

        With those of `beside`, which trained without adapters. The base's weights are what they
        were, to the last bit.
        """
        merged = Merged(self.modules(), beside or {})
        remove_adapters(self.base)
        return merged

    @torch.no_grad()
    def factors(self) -> Factors:
        """The adapters as tensors of their own, copied."""
        tensors = {}
        for name, module in self.modules().items():
            scale = module.scaling[NAME]
            tensors[f"{name}.lora_A.weight"] = module.lora_A[NAME].weight.detach().clone()
            tensors[f"{name}.lora_B.weight"] = module.lora_B[NAME].weight.detach() * scale
            if self.options.dora:
                magnitude = module.lora_magnitude_vector[NAME].weight
                tensors[f"{name}.lora_magnitude_vector"] = magnitude.detach().clone()
        return Factors(tensors, self.towers, self.options.dora)


class Merged(Mapping[str, Tensor]):
    """The weights of layers with their adapters merged into them, by the base's own names.

    Each is computed when it is asked for, from the base's weight as it is then, so that no second
    copy of a large base is held.
    """

    def __init__(self, modules: Mapping[str, Any], beside: Mapping[str, Tensor]) -> None:
        """`modules` are peft's layers by their names in the base; `beside` other weights."""
        self._modules = {f"{name}.weight": module for name, module in modules.items()}
        self._beside = beside

    def __iter__(self) -> Iterator[str]:
        return chain(self._beside, self._modules)

    def __len__(self) -> int:
        return len(self._beside) + len(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules or name in self._beside

    @torch.no_grad()
    def __getitem__(self, name: str) -> Tensor:
        if name in self._beside:
            return self._beside[name]
        module = self._modules[name]
        weight = module.get_base_layer().weight
        own = weight.data
        try:
            weight.data = own.clone()
            # The base may have been moved since.
            module.to(own.device).merge()
            return weight.data
        finally:
            # What peft has to undo it is not exact.
            weight.data = own
            module.merged_adapters.clear()


class Unadapted:
    """A base's CLIP as it is without its adapters: what a frozen copy computes, and no copy."""

    def __init__(self, adapters: LowRank) -> None:
        self.adapters = adapters

    def encode_text(self, captions: Sequence[str]) -> TextFeatures:
        """As `DualEncoder.encode_text`."""
        with self.adapters.disabled():
            return self.adapters.base.encode_text(captions)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """As `DualEncoder.encode_images`."""
        with self.adapters.disabled():
            return self.adapters.base.encode_images(pixels)


def remove_adapters(model: nn.Module) -> None:
    """Puts the layers that adapters stand in for back into a model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
