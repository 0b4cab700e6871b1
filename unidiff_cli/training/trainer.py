"""The loop: one generator of steps over one module, with its optimiser, schedule and averaged weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unidiff_cli.config.schema import Train
from unidiff_cli.data.batch import Batch
from unidiff_cli.errors import UsageError, WorkError

if TYPE_CHECKING:
    from accelerate import Accelerator


from unidiff_cli.training import pcgrad as pcgrad_module
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import (
    EMA,
    parameter_groups,
    rate_at,
    shared_text_parameters,
    trained_parameters,
)


@dataclass
class Step:
    """One optimiser step: its number (1-based, done), the loss and its parts, all still on the device."""

    number: int
    loss: Tensor
    parts: dict[str, Tensor]
    norm: Tensor
    rate: float
    seconds: float


class Trainer:
    """A run in progress: the module, its optimiser and averaged weights. Iterate over `steps`."""

    def __init__(self, accelerator: Accelerator, joint: TrainingModule, options: Train) -> None:
        self.accelerator, self.options = accelerator, options
        self.module, self.base = joint, joint.base
        groups = parameter_groups(joint, options)
        joint.base.unet.to(memory_format=torch.channels_last)
        joint.to(accelerator.device)
        if options.gradient_checkpointing:
            joint.base.unet.enable_gradient_checkpointing()
            joint.base.clip.gradient_checkpointing_enable()
        self.averaged = EMA(joint, options.ema)
        self.averaged.model.to(accelerator.device)
        optimizer = torch.optim.AdamW(
            groups, fused=True
        )  # on a CPU a quarter of the plain one's time
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, options))
        self.joint, self.optimizer = accelerator.prepare(joint, optimizer)
        self.schedule = schedule
        self.done = 0
        self.shared = shared_text_parameters(joint)
        if options.pcgrad and not self.shared:
            raise UsageError(
                "train.pcgrad is on, and no text tower trains that both finding and drawing read.",
                "Turn it off: --set train.pcgrad=false",
            )
        self._bound_scale()

    def steps(self, batches: Iterator[Batch]) -> Iterator[Step]:
        """Trains on every batch it is given. Raises WorkError when the gradient is no longer finite."""
        parameters = list(trained_parameters(self.module).values())
        for batch in batches:
            started = time.monotonic()
            self.joint.train()
            loss, parts = self._backward(batch, parameters)
            norm = self.accelerator.clip_grad_norm_(parameters, self.options.clip_norm)
            if not torch.isfinite(norm):
                raise WorkError(
                    f"The gradient at step {batch.step + 1} is not finite (loss {float(loss.detach()):g}, samples "
                    f"{', '.join(r.id for r in batch.rows[:4])}, …); no weight was changed by it.",
                    "Look at these images, or start again with lower rates: unidiff train --set train.lr.denoiser=…",
                )
            rate = float(self.schedule.get_last_lr()[0])
            self.optimizer.step()
            self.schedule.step()
            self._bound_scale()
            self.optimizer.zero_grad(set_to_none=True)
            self.averaged.step()
            self.done = batch.step + 1
            yield Step(self.done, loss.detach(), parts, norm, rate, time.monotonic() - started)

    def _backward(
        self, batch: Batch, parameters: list[nn.Parameter]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts; their gradient, averaged over processes, is left in the parameters."""
        every = self.options.gradient_cosine_every
        if not self.shared or not (self.options.pcgrad or (every and batch.step % every == 0)):
            with self.accelerator.autocast():
                loss, parts = self.joint(batch)
            self.accelerator.backward(loss)
            return loss, parts
        # Not through DDP, which would wait for the gradients behind the cut: `conflict` averages instead.
        with self.accelerator.autocast():
            forward = self.module.forward_pass(batch)
            forward.cut_text()
            loss, parts = self.module.losses(forward)
        pcgrad, run = self.options.pcgrad, self.accelerator.backward
        angle = pcgrad_module.backward(loss, forward, self.shared, parameters, pcgrad, run)
        return loss, parts if angle.isnan() else {**parts, "gradient_cosine": angle}

    @torch.no_grad()
    def _bound_scale(self) -> None:
        """Keeps every learned scale ≤ 100 by the parameter, as open_clip does: a clamp in the loss would end its gradient."""
        parts = [part for part in (self.base.clip, self.base.dual_stream) if part is not None]
        own = [p for name, p in self.module.heads.named_parameters() if name.endswith("log_scale")]
        for scale in [*(part.logit_scale for part in parts), *own]:
            scale.clamp_(max=math.log(100))

    @torch.no_grad()
    def validate(self, batches: Iterator[Batch]) -> dict[str, float]:
        """The mean of every part over held-out batches, with fixed noise and the weights as they stand."""
        module = self.module.eval()
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for batch in batches:
            if len(batch.rows) < 2:
                continue  # a lone sample has no negative and no neighbour
            total, parts = module(batch)
            for name, value in {"loss": total, **parts}.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch.rows)
                counts[name] = counts.get(name, 0) + len(
                    batch.rows
                )  # not every batch has every figure
        return {name: value / counts[name] for name, value in sums.items()}

    # ------------------------------------------------------------ for checkpoints

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Weights, averaged weights and optimiser moments by parameter name."""
        parameters = trained_parameters(self.module)
        moments = {}
        for name, parameter in parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                moments[f"{name}/{key}"] = torch.as_tensor(value)
        weights = {name: p.data for name, p in parameters.items()}
        return {"weights": weights, "averaged": self.averaged.tensors(), "optimizer": moments}

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]], done: int) -> None:
        """Continues where a checkpoint stopped."""
        moments = tensors["optimizer"]
        for name, parameter in trained_parameters(self.module).items():
            parameter.data.copy_(tensors["weights"][name])
            if f"{name}/step" not in moments:
                continue  # it never had a gradient
            state, step = self.optimizer.state[parameter], moments[f"{name}/step"]
            state["step"] = step.to(parameter.device)
            for key in ("exp_avg", "exp_avg_sq"):
                # in the parameter's own memory layout: the fused kernel refuses another
                state[key] = torch.empty_like(parameter).copy_(moments[f"{name}/{key}"])
        self.averaged.load(tensors["averaged"], done)
        self.done = done
        self.schedule.last_epoch = done
        for group, rate in zip(self.optimizer.param_groups, self.schedule.base_lrs, strict=True):
            group["lr"] = rate * rate_at(done, self.options)
        self.schedule._last_lr = [group["lr"] for group in self.optimizer.param_groups]
