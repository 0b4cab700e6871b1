"""The loop: one generator of steps over one module, with its optimiser, schedule and averages."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unidiff_cli import machine
from unidiff_cli.config.train import Train
from unidiff_cli.data.batch import Batch
from unidiff_cli.errors import WorkError
from unidiff_cli.models.gradient_cut import GradientFactors
from unidiff_cli.training import sharding
from unidiff_cli.training.gradient_shares import ShareKeeper, check_shares, twice_taught
from unidiff_cli.training.gradients import CutStep
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import (
    EMA,
    move_schedule,
    parameter_groups,
    rate_schedule,
    shared_text_parameters,
    trained_heads,
    trained_parameters,
    trained_weights,
)
from unidiff_cli.training.optimizer_kinds import (
    load_state,
    optimizer_of,
    state_bytes,
    state_tensors,
)
from unidiff_cli.training.precision import Precision

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger("unidiff")
# The parts of a checkpoint; those of heads hold what only the losses read.
PARTS = ("weights", "averaged", "heads", "averaged_heads", "optimizer")
# No learned temperature is sharper, as in CLIP.
MOST_SCALE = math.log(100)


@dataclass
class Step:
    """One optimiser step: its number (1-based, done), the loss and its parts, on the device."""

    number: int
    loss: Tensor
    parts: dict[str, Tensor]
    norm: Tensor
    rate: float
    seconds: float


class Trainer:
    """A module in training, its optimiser and averaged weights. Iterate over `steps`."""

    def __init__(self, accelerator: Accelerator, module: TrainingModule, options: Train) -> None:
        """Raises UsageError where nothing trains, and for PCGrad or a share of nothing shared."""
        self.accelerator, self.options = accelerator, options
        self.module, self.base = module, module.base
        groups = parameter_groups(module, options)
        check_shares(module, options)
        self.shares = ShareKeeper(options.gradient_shares)
        self.base.prepare_for_training(options.gradient_checkpointing)
        if module.adapters:
            module.adapters.make_contiguous()
        self.precision = Precision(accelerator, options)
        self.precision.round_frozen(module)
        module.to(accelerator.device)
        # Where each process holds a piece of every weight (FSDP2).
        self.pieces: sharding.Pieces | None = None
        if sharding.asked():
            sharding.refuse(options)
            self.pieces = sharding.Pieces(module, groups)
            groups = self.pieces.groups
        # Where gradients of two kinds meet.
        self.shared, self.denoiser = shared_text_parameters(module), twice_taught(module)
        place = torch.device("cpu") if options.ema_on == "cpu" else accelerator.device
        self.averaged = EMA(module, options.ema).to(place)
        optimizer = optimizer_of(options, groups)
        self.schedule = rate_schedule(optimizer, options)
        # What runs a step: the module itself, or DDP around it.
        self.wrapped = module if self.sharded else accelerator.prepare(module)
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        self.done = 0
        self._bound_scales()

    @property
    def sharded(self) -> bool:
        """Whether each process holds a piece of every weight."""
        return self.pieces is not None

    def steps(self, batches: Iterator[Batch]) -> Iterator[Step]:
        """Trains on every batch it is given. Raises WorkError for a gradient that is not finite."""
        parameters = list(trained_parameters(self.module).values())
        for batch in batches:
            started = time.monotonic()
            self.wrapped.train()
            with self.precision.whole_attention():
                loss, parts = self._fitted_backward(batch, parameters)
            self.precision.unscale(self.optimizer)
            norm = self._clip()
            if not (torch.isfinite(norm) or self.precision.may_overflow()):
                raise _not_finite(batch, loss)
            rate = float(self.schedule.get_last_lr()[0])
            self.precision.step(self.optimizer)
            self.schedule.step()
            self._bound_scales()
            self.optimizer.zero_grad(set_to_none=True)
            self.averaged.step()
            self.done = batch.step + 1
            yield Step(self.done, loss.detach(), parts, norm, rate, time.monotonic() - started)

    def _clip(self) -> Tensor:
        """Bounds the gradient of each tower; returns the norm of all before.

        A bound on all together would scale one tower by the size of another's loss.
        """
        towers: dict[str, list[nn.Parameter]] = {}
        for group in self.optimizer.param_groups:
            towers.setdefault(group["name"], []).extend(group["params"])
        clip = sharding.clip if self.sharded else self.accelerator.clip_grad_norm_
        most = self.options.clip_norm
        norms = [clip(parameters, most) for parameters in towers.values()]
        return torch.stack([norm.float() for norm in norms if norm is not None]).norm()

    def _fitted_backward(
        self, batch: Batch, parameters: list[nn.Parameter]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`_backward`, with fewer rows in a tower at a time where memory does not suffice."""
        ratios, before = dict(self.shares.ratios), self.module.halvings
        while True:
            try:
                done = self._backward(batch, parameters)
                break
            except torch.OutOfMemoryError:
                # Other processes would wait for this one.
                if self.accelerator.num_processes > 1 or not self.module.halve(batch):
                    raise
            # Not above: the error holds what the step had computed.
            self.optimizer.zero_grad(set_to_none=True)
            self.shares.load(ratios)
            machine.free_dropped()
        if self.module.halvings > before:
            logger.warning("%s", self.module.halved_sentence(batch))
        return done

    def _backward(
        self, batch: Batch, parameters: list[nn.Parameter]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts; their gradient is left in the parameters, averaged over all
        processes, and multiplied with the precision's scale."""
        # Gradients in pieces are not taken apart.
        every = 0 if self.sharded else self.options.measure_gradients_every
        measured = self.shares.due(batch.step, every)
        cut_text = bool(self.shared) and (self.options.pcgrad or measured)
        cut_features = measured and bool(self.denoiser)
        # What is measured is not scaled before.
        self.module.factors = GradientFactors() if measured else self.shares.factors
        if not (cut_text or cut_features):
            with self.precision.autocast():
                loss, parts = self.wrapped(batch)
            self.precision.backward(loss)
            if self.pieces:
                self.pieces.finish_gradients()
            return loss, parts | self._factors(loss)
        # Not through DDP, which would wait for the gradients behind the cuts: `CutStep` averages.
        with self.precision.autocast():
            forward = self.module.forward_pass(batch)
            text = forward.detach_text_tower() if cut_text else None
            features = forward.detach_features() if cut_features else None
            loss, parts = self.module.losses(forward)
        # Features of the denoise pass are reached again, through the same graph.
        self.precision.backward(loss, retain_graph=forward.cut_denoise_pass)
        step = CutStep(
            parameters,
            text,
            self.shared,
            features,
            self.denoiser,
            self.shares if measured else None,
            self.options.pcgrad,
            self.precision.scale,
        )
        parts |= step.finish()
        return loss, parts | self._factors(loss)

    def _factors(self, loss: Tensor) -> dict[str, Tensor]:
        """The factors in force, for the log."""
        factors = {place: self.shares.factor(place) for place in self.shares.wanted}
        return {
            f"gradient_factor_{place}": loss.new_tensor(factor)
            for place, factor in factors.items()
            if factor is not None
        }

    @torch.no_grad()
    def _bound_scales(self) -> None:
        """Keeps every learned scale ≤ 100 by the parameter, as open_clip does.

        A clamp in the loss would end its gradient.
        """
        for scale in self.module.scales:
            scale.clamp_(max=MOST_SCALE)

    # ------------------------------------------------------------ for measuring

    @contextmanager
    def whole_weights(self, averaged: bool = True) -> Iterator[None]:
        """Within it the base can be used by the main process alone, with the averaged weights.

        It computes in the precision of a step, in which weights that do not train are held.
        Where the weights are in pieces every process enters it.
        """
        with ExitStack() as stack:
            if averaged:
                stack.enter_context(self.averaged.applied())
            if self.sharded:
                stack.enter_context(sharding.gathered(self.module))
            stack.enter_context(self.precision.autocast())
            yield

    def weights(self) -> dict[str, Tensor]:
        """The base's trained weights as they stand, by name."""
        return {name: p.data for name, p in trained_weights(self.module).items()}

    # ------------------------------------------------------------ for checkpoints

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights that train."""
        return sum(p.numel() * p.element_size() for p in trained_parameters(self.module).values())

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of a checkpoint: weights, their averages, and what the optimiser keeps."""
        parameters = trained_parameters(self.module).values()
        return 2 * self.weights_bytes + sum(state_bytes(self.options, p) for p in parameters)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that training goes on from, by PARTS and parameter name, on the main process.

        Where the weights are in pieces every process calls it.
        """
        parameters, heads = trained_parameters(self.module), trained_heads(self.module)
        moments = {}
        for name, parameter in parameters.items():
            for key, value in state_tensors(self.optimizer, parameter).items():
                moments[f"{name}/{key}"] = value
        averaged = self.averaged.tensors()
        parts = {
            "weights": self.weights(),
            "averaged": {name: x for name, x in averaged.items() if name not in heads},
            "heads": {name: p.data for name, p in heads.items()},
            "averaged_heads": {name: averaged[name] for name in heads},
            "optimizer": moments,
        }
        return {
            part: {name: sharding.whole(tensor) for name, tensor in named.items()}
            for part, named in parts.items()
        }

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]], done: int) -> None:
        """Continues where a checkpoint stopped; `tensors` as this class gives them."""
        weights = {**tensors["weights"], **tensors["heads"]}
        kept: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors["optimizer"].items():
            name, _, which = key.rpartition("/")
            kept.setdefault(name, {})[which] = value
        for name, parameter in trained_parameters(self.module).items():
            sharding.copy_whole(parameter.data, weights[name])
            # A parameter that never had a gradient has none.
            load_state(self.optimizer, parameter, kept.get(name, {}))
        self.averaged.load({**tensors["averaged"], **tensors["averaged_heads"]}, done)
        self.done = done
        move_schedule(self.schedule, done)


def _not_finite(batch: Batch, loss: Tensor) -> WorkError:
    samples = ", ".join(row.id for row in batch.rows[:4])
    return WorkError(
        f"The gradient at step {batch.step + 1} is not finite (loss {float(loss.detach()):g}, "
        f"samples {samples}, …); no weight was changed by it.",
        "Look at these images, or start again with lower rates: "
        "unidiff train --set train.lr.denoiser=…",
    )
