"""What trains and at which rate, the schedule of the rates, and the averaged weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from unidiff_cli.config.train import Train
from unidiff_cli.errors import UsageError
from unidiff_cli.models.needs import Tower
from unidiff_cli.objectives import Objective
from unidiff_cli.training import sharding
from unidiff_cli.training.depth import upper_part
from unidiff_cli.training.module import TrainingModule


def parameter_groups(module: TrainingModule, options: Train) -> list[dict[str, Any]]:
    """Sets what trains and returns the optimiser's groups: one a tower, rate and weight-decay kind.

    A tower that no objective trains, or with a learning rate of 0, does not train. Raises
    UsageError when none does, where layers that begin at random would stay so, and for more last
    layers than a tower has.
    """
    towers = trained_towers(module.objectives.values(), options)
    module.requires_grad_(False)
    groups: dict[Any, dict[str, Any]] = {}
    for tower in (tower for tower in get_args(Tower) if tower in towers):
        part, rate = _part(module, tower, options), options.rate_of(tower)
        # Norms, biases and scales are not decayed.
        for matrices in (True, False):
            decay = options.weight_decay if matrices else 0.0
            for parameter, share in part:
                if (parameter.ndim > 1) is not matrices:
                    continue
                group = groups.setdefault(
                    (tower, matrices, share),
                    dict(params=[], lr=rate * share, weight_decay=decay, name=tower),
                )
                group["params"].append(parameter.requires_grad_(True))
    if not groups:
        raise UsageError(
            "Nothing trains: no objective trains a tower that has a learning rate.",
            "Look at train.trains and train.lr.",
        )
    for name in module.fresh:
        if any(not p.requires_grad for p in module.layers[name].parameters()):
            raise UsageError(
                f"{name} gives the base new layers, and they do not train.",
                "Name new_layers in train.trains, and give train.lr.new_layers a rate.",
            )
    return list(groups.values())


def trained_towers(objectives: Iterable[Objective], options: Train) -> set[Tower]:
    """The towers that train: named by the recipe, with a rate, reached by an objective."""
    reached = {tower for objective in objectives for tower in objective.trains}
    return {tower for tower in options.trains if tower in reached and getattr(options.lr, tower)}


def some_without_gradient(objectives: Iterable[Objective], options: Train) -> bool:
    """Whether a step may leave a parameter that trains without a gradient."""
    objectives = list(objectives)
    covered = {tower for objective in objectives for tower in objective.covers}
    return not trained_towers(objectives, options) <= covered


def _part(module: TrainingModule, tower: Tower, options: Train) -> list[tuple[nn.Parameter, float]]:
    """What trains of a tower, each parameter with its share of the tower's rate.

    New layers are those that objectives of this run brought; of a tower with adapters these alone.
    """
    if tower == "new_layers":
        layers = [p for layers in module.layers.values() for p in layers.parameters()]
        return [(p, 1.0) for p in dict.fromkeys([*layers, *module.heads.parameters()])]
    part = upper_part(module.base, tower, options)
    if module.adapters and options.by_adapters(tower):
        own = {id(p) for p in module.adapters.named_parameters().values()}
        return [pair for pair in part if id(pair[0]) in own]
    return part


def shared_text_parameters(module: TrainingModule) -> list[nn.Parameter]:
    """The trained parameters of the text tower where retrieval and generation both read it."""
    read = module.needs.text_embeds and module.needs.text_states
    if not (read and module.base.shares_text):
        return []
    return [p for p in module.base.parameter_groups()["text"] if p.requires_grad]


def trained_weights(module: TrainingModule) -> dict[str, nn.Parameter]:
    """The base's parameters that train, by the base's own names."""
    return {name: p for name, p in module.base.named_parameters() if p.requires_grad}


def trained_heads(module: TrainingModule) -> dict[str, nn.Parameter]:
    """The objectives' own parameters that train, by `heads.<objective>.…`."""
    named = module.heads.named_parameters(prefix="heads")
    return {name: p for name, p in named if p.requires_grad}


def trained_parameters(module: TrainingModule) -> dict[str, nn.Parameter]:
    """All parameters that train, by name."""
    return {**trained_weights(module), **trained_heads(module)}


# ---------------------------------------------------------------- schedule


def rate_schedule(optimizer: Optimizer, options: Train) -> LambdaLR:
    """diffusers' schedule of that name over the run; a warm-up takes half the steps at most."""
    from diffusers.optimization import get_scheduler

    return get_scheduler(
        options.schedule,
        optimizer,
        num_warmup_steps=min(options.warmup, options.total_steps // 2),
        num_training_steps=options.total_steps,
    )


def move_schedule(schedule: LambdaLR, step: int) -> None:
    """Sets a schedule to a step, bit for bit as if all steps before were made."""
    schedule.last_epoch = step
    groups = zip(
        schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
    )
    for group, rate, factor in groups:
        group["lr"] = rate * factor(step)
    schedule._last_lr = [group["lr"] for group in schedule.optimizer.param_groups]


# ---------------------------------------------------------------- averaged weights


class EMA:
    """An exponential moving average of the trained parameters, kept in fp32.

    A decay of 0 keeps none: the average is the weights themselves, and takes no memory.
    """

    def __init__(self, module: TrainingModule, decay: float) -> None:
        from diffusers.training_utils import EMAModel

        self.parameters = trained_parameters(module)
        # (1 + k)/(10 + k) until it reaches `decay`: a short run is not an average of its start.
        self.model = EMAModel(list(self.parameters.values()), decay=decay) if decay else None

    def to(self, device: torch.device) -> EMA:
        """The averages on a device."""
        if self.model:
            self.model.to(device)
        return self

    @torch.no_grad()
    def step(self) -> None:
        """EMAModel.step to rounding, in half its time and without a copy of the weights."""
        if self.model is None:
            return
        self.model.optimization_step += 1
        share = 1 - self.model.get_decay(self.model.optimization_step)
        shadows = [sharding.local(shadow) for shadow in self.model.shadow_params]
        live = [sharding.local(parameter) for parameter in self.parameters.values()]
        if shadows[0].device == live[0].device:
            torch._foreach_lerp_(shadows, live, share)
            return
        # One at a time: on a full device there is no room for a copy of all.
        for shadow, parameter in zip(shadows, live, strict=True):
            shadow.lerp_(parameter.to(shadow.device), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The base with the averaged weights, for validation, previews and export."""
        if self.model is None:
            yield
            return
        live = list(self.parameters.values())
        self.model.store(live)
        self.model.copy_to(live)
        try:
            yield
        finally:
            self.model.restore(live)

    def tensors(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        if self.model is None:
            return {name: parameter.data for name, parameter in self.parameters.items()}
        return dict(zip(self.parameters, self.model.shadow_params, strict=True))

    @property
    def bytes(self) -> int:
        """Bytes of the averages; none where the weights stand for them."""
        shadows = self.model.shadow_params if self.model else []
        return sum(x.numel() * x.element_size() for x in shadows)

    def load(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Continues an average of so many steps."""
        if self.model is None:
            return
        for name, shadow in self.tensors().items():
            sharding.copy_whole(shadow.data, tensors[name])
        self.model.optimization_step = steps
