"""The loop: one generator of steps over one module, with its optimiser, schedule and averaged weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import conflict
from .batches import Batch
from .checkpoints import HEADS
from .errors import UsageError, WorkError
from .objectives import Objective
from .recipe import Train
from .views import Needs, Views

if TYPE_CHECKING:
    from accelerate import Accelerator

    from .bases.stable_diffusion import StableDiffusion as Base

VALIDATION = -1  # the step number that keys validation noise: fixed, and no training step's


def needs(objectives: Mapping[str, Objective]) -> Needs:
    """What the objectives together ask of a batch."""
    reads = {name for objective in objectives.values() for name in objective.reads}
    dropped = any(getattr(o, "caption_drop", 0) > 0 for o in objectives.values())
    return Needs(
        pixels=bool({"image_embeds", "frozen_image_embeds"} & reads),
        latents="latents" in reads,
        null_row=dropped or "null_states" in reads,
        frozen_images="frozen_image_embeds" in reads,
        frozen_texts="frozen_text_embeds" in reads,
        states=bool({"text_states", "null_states"} & reads),
    )


class Joint(nn.Module):
    """A base and its objectives as one module: forward(batch) gives the total and every part."""

    def __init__(
        self, base: Base, objectives: Mapping[str, Objective], seed: int, chunk: int = 0, cached: bool = False
    ) -> None:
        """With `cached` batches bring what the base's CLIP made of the pictures, and no copy is held for that."""
        super().__init__()
        self.base, self.objectives, self.seed, self.chunk = base, dict(objectives), seed, chunk
        had = base.dual_stream is not None
        with torch.random.fork_rng(
            devices=[]
        ):  # a run's own parameters begin alike on every process, and on resume
            torch.manual_seed(seed)
            self.terms = {name: objective.build(base) for name, objective in self.objectives.items()}
        self.new = [] if had or base.dual_stream is None else list(base.dual_stream.parameters())
        self.heads = nn.ModuleDict({n: term for n, term in self.terms.items() if isinstance(term, nn.Module)})
        self.needs = needs(objectives)
        # Of the base's own weights: a resumed run loads its checkpoint later, and keeps no copy of these in it.
        copied = self.needs.frozen_texts or (self.needs.frozen_images and not cached)
        self.frozen = base.frozen() if copied else None
        self.caption_drop = max((getattr(o, "caption_drop", 0.0) for o in objectives.values()), default=0.0)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Σ weight · term, a scalar, and {name: term or figure}. In evaluation nothing is dropped."""
        return self.losses(self.views(batch))

    def views(self, batch: Batch) -> Views:
        """The batch as this base sees it."""
        drop, step = (self.caption_drop, batch.step) if self.training else (0.0, VALIDATION)
        return Views(
            self.base, batch, self.needs, self.seed, step, drop, self.training, self.frozen, self.chunk
        )

    def losses(self, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
        """What `forward` gives, of views."""
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=views.device)
        for name, objective in self.objectives.items():
            term, figures = self.terms[name](views)
            total = total + objective.weight * term
            parts |= {name: term.detach(), **{k: v.detach() for k, v in figures.items()}}
        return total, parts


def freeze(joint: Joint, options: Train) -> list[dict[str, Any]]:
    """Sets what trains and returns the optimiser's groups, one a tower and weight-decay kind.

    A tower no objective reads, or with a learning rate of 0, does not train. Raises UsageError when none does, and where
    layers that begin at random would stay so.
    """
    asked = needs(joint.objectives)
    reads = {name for o in joint.objectives.values() for name in o.reads}
    reached = {
        "vision": "image_embeds" in reads,
        "text": bool({"text_embeds", "text_states"} & reads),
        "unet": asked.latents or "prior" in reads,
        "heads": True,
    }
    joint.requires_grad_(False)
    towers = joint.base.towers()
    stream = towers.get("heads", []) if "dual_stream" in reads else []
    towers["heads"] = [*stream, *joint.heads.parameters()]
    groups = []
    for tower, parameters in towers.items():
        rate = getattr(options.lr, tower)
        if tower not in options.trains or not rate or not reached[tower]:
            continue
        for matrices in (True, False):  # norms, biases and the scale are not decayed
            some = [p.requires_grad_(True) for p in parameters if (p.ndim > 1) is matrices]
            decay = options.weight_decay if matrices else 0.0
            if some:
                groups.append({"params": some, "lr": rate, "weight_decay": decay, "name": tower})
    if not groups:
        raise UsageError(
            "Nothing trains: no objective reads a tower that has a learning rate.",
            "Look at train.trains and train.lr.",
        )
    if any(not p.requires_grad for p in joint.new):
        raise UsageError(
            "text_diffusion gives the base new layers, and they do not train.",
            "Name heads in train.trains, and give train.lr.heads a rate.",
        )
    return groups


def shared(joint: Joint) -> list[nn.Parameter]:
    """The trained parameters of the text tower where both its embeddings and its states are read; else none."""
    reads = {name for o in joint.objectives.values() for name in o.reads}
    if not {"text_embeds", "text_states"} <= reads:
        return []
    return [p for p in joint.base.towers()["text"] if p.requires_grad]


def trained(joint: Joint) -> dict[str, nn.Parameter]:
    """The parameters that train, by name: the base's by its own names, an objective's by `heads.<objective>.…`."""
    named = [*joint.base.named_parameters(), *joint.heads.named_parameters(prefix=HEADS.removesuffix("."))]
    return {name: p for name, p in named if p.requires_grad}


def rate_at(step: int, options: Train) -> float:
    """The factor on every learning rate at a step: linear warm-up, then half a cosine to zero."""
    warm = min(options.warmup, options.steps // 2)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, options.steps - warm)))


class Averaged:
    """An exponential moving average of the trained parameters (diffusers' EMAModel), kept in fp32."""

    def __init__(self, joint: Joint, decay: float) -> None:
        from diffusers.training_utils import EMAModel

        self.parameters = trained(joint)
        # (1 + k)/(10 + k) until it reaches `decay`: a short run is not an average of its start
        self.model = EMAModel(list(self.parameters.values()), decay=decay)

    @torch.no_grad()
    def step(self) -> None:
        """EMAModel.step to rounding, in half its time and without a copy of the weights."""
        self.model.optimization_step += 1
        decay = self.model.get_decay(self.model.optimization_step)
        torch._foreach_lerp_(self.model.shadow_params, list(self.parameters.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The base with the averaged weights, for validation, previews and export."""
        live = list(self.parameters.values())
        self.model.store(live)
        self.model.copy_to(live)
        try:
            yield
        finally:
            self.model.restore(live)

    def tensors(self) -> dict[str, Tensor]:
        return dict(zip(self.parameters, self.model.shadow_params, strict=True))

    def load(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        for name, shadow in self.tensors().items():
            shadow.data.copy_(tensors[name])
        self.model.optimization_step = steps


@dataclass
class Step:
    """One optimiser step: its number (1-based, done), the loss and its parts, all still on the device."""

    number: int
    loss: Tensor
    parts: dict[str, Tensor]
    norm: Tensor
    rate: float
    seconds: float


class Fit:
    """A run in progress: the module, its optimiser and averaged weights. Iterate over `steps`."""

    def __init__(self, accelerator: Accelerator, joint: Joint, options: Train) -> None:
        self.accelerator, self.options = accelerator, options
        self.module, self.base = joint, joint.base
        groups = freeze(joint, options)
        joint.base.unet.to(memory_format=torch.channels_last)
        joint.to(accelerator.device)
        if options.gradient_checkpointing:
            joint.base.unet.enable_gradient_checkpointing()
            joint.base.clip.gradient_checkpointing_enable()
        self.averaged = Averaged(joint, options.ema)
        self.averaged.model.to(accelerator.device)
        optimizer = torch.optim.AdamW(groups, fused=True)  # on a CPU a quarter of the plain one's time
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, options))
        self.joint, self.optimizer = accelerator.prepare(joint, optimizer)
        self.schedule = schedule
        self.done = 0
        self.shared = shared(joint)
        if options.pcgrad and not self.shared:
            raise UsageError(
                "train.pcgrad is on, and no text tower trains that both finding and drawing read.",
                "Turn it off: --set train.pcgrad=false",
            )
        self._bound_scale()

    def steps(self, batches: Iterator[Batch]) -> Iterator[Step]:
        """Trains on every batch it is given. Raises WorkError when the gradient is no longer finite."""
        parameters = list(trained(self.module).values())
        for batch in batches:
            started = time.monotonic()
            self.joint.train()
            loss, parts = self._backward(batch, parameters)
            norm = self.accelerator.clip_grad_norm_(parameters, self.options.clip_norm)
            if not torch.isfinite(norm):
                raise WorkError(
                    f"The gradient at step {batch.step + 1} is not finite (loss {float(loss.detach()):g}, samples "
                    f"{', '.join(r.id for r in batch.rows[:4])}, …); no weight was changed by it.",
                    "Look at these pictures, or start again with lower rates: unidiff train --set train.lr.unet=…",
                )
            rate = float(self.schedule.get_last_lr()[0])
            self.optimizer.step()
            self.schedule.step()
            self._bound_scale()
            self.optimizer.zero_grad(set_to_none=True)
            self.averaged.step()
            self.done = batch.step + 1
            yield Step(self.done, loss.detach(), parts, norm, rate, time.monotonic() - started)

    def _backward(self, batch: Batch, parameters: list[nn.Parameter]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts; their gradient, averaged over processes, is left in the parameters."""
        every = self.options.gradient_cosine_every
        if not self.shared or not (self.options.pcgrad or (every and batch.step % every == 0)):
            with self.accelerator.autocast():
                loss, parts = self.joint(batch)
            self.accelerator.backward(loss)
            return loss, parts
        # Not through DDP, which would wait for the gradients behind the cut: `conflict` averages instead.
        with self.accelerator.autocast():
            views = self.module.views(batch)
            views.cut_text()
            loss, parts = self.module.losses(views)
        pcgrad, run = self.options.pcgrad, self.accelerator.backward
        angle = conflict.backward(loss, views, self.shared, parameters, pcgrad, run)
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
                counts[name] = counts.get(name, 0) + len(batch.rows)  # not every batch has every figure
        return {name: value / counts[name] for name, value in sums.items()}

    # ------------------------------------------------------------ for checkpoints

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Weights, averaged weights and optimiser moments by parameter name."""
        parameters = trained(self.module)
        moments = {}
        for name, parameter in parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                moments[f"{name}/{key}"] = torch.as_tensor(value)
        weights = {name: p.data for name, p in parameters.items()}
        return {"weights": weights, "averaged": self.averaged.tensors(), "optimizer": moments}

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]], done: int) -> None:
        """Continues where a checkpoint stopped."""
        moments = tensors["optimizer"]
        for name, parameter in trained(self.module).items():
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
