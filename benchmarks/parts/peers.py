"""Steps beside ours on the same batch: open_clip's, diffusers' and the bare mathematics.

Each moves a base of its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from benchmarks.parts.recipes import SIDE, recipe_of
from unidiff_cli.data.batch import Batch
from unidiff_cli.models import loading
from unidiff_cli.models.families.stable_diffusion import StableDiffusion


@dataclass
class Peer:
    """A step, and its loss of given inputs without a step."""

    step: Callable[[], Any]
    loss: Callable[..., Tensor]


def nano() -> StableDiffusion:
    """A fresh nano, whose towers peers reach into."""
    base = loading.load_base("nano", SIDE)
    assert isinstance(base, StableDiffusion)
    return base


def open_clip_peer(batch: Batch) -> Peer:
    """open_clip's training step (open_clip_train/train.py): its loss, AdamW, the scale clamped.

    In fp32, without clipping.
    """
    from open_clip import ClipLoss

    base = nano().train()
    model, contrast = base.clip, ClipLoss()
    ids, pixels = base.token_ids(batch.captions), batch.clip_pixels
    assert pixels is not None
    images = (pixels / 255 - base.clip_mean) / base.clip_std
    optimiser = torch.optim.AdamW(
        model.parameters(), 1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2
    )

    def loss() -> Tensor:
        image = model.visual_projection(model.vision_model(pixel_values=images).pooler_output)
        text = model.text_projection(model.text_model(input_ids=ids).pooler_output)
        image, text = normalize(image, dim=-1), normalize(text, dim=-1)
        return contrast(image, text, model.logit_scale.exp())

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))

    return Peer(step, loss)


def diffusers_peer(batch: Batch) -> Peer:
    """diffusers' examples/text_to_image/train_text_to_image.py.

    Frozen VAE and text tower, min-SNR, AdamW, clipping; no averaged weights.
    """
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import compute_snr

    base = nano()
    unet, vae, text = base.unet.train(), base.vae, base.clip.text_model
    # As the example loads it; nano's sampler has no velocities of its own.
    scheduler = DDPMScheduler.from_config(base.pipeline.scheduler.config)
    scheduler.alphas_cumprod = base.pipeline.scheduler.alphas_cumprod
    text.requires_grad_(False)
    ids = base.token_ids(batch.captions)
    assert batch.latents is not None
    mean, _ = batch.latents.float().chunk(2, dim=1)
    # Images as large as its loader would give: those of the latents, so that the VAE has real ones.
    with torch.no_grad():
        pixels = vae.decode(mean / vae.config.scaling_factor).sample.clamp(-1, 1)
    optimiser = torch.optim.AdamW(unet.parameters(), 1e-4, weight_decay=1e-2)
    schedule = get_scheduler("cosine", optimiser, num_warmup_steps=10, num_training_steps=10_000)

    def loss(latents: Tensor, noise: Tensor, t: Tensor, gamma: float = 5.0) -> Tensor:
        noisy = scheduler.add_noise(latents, noise, t)
        states = text(ids, return_dict=False)[0]
        predicted = unet(noisy, t, states, return_dict=False)[0]
        velocity = scheduler.config.prediction_type == "v_prediction"
        target = scheduler.get_velocity(latents, noise, t) if velocity else noise
        snr = compute_snr(scheduler, t)
        weights = torch.stack([snr, gamma * torch.ones_like(t)], dim=1).min(dim=1)[0]
        # For v the step has our weights, so that both sides do the same: diffusers' are 0 at t = T.
        weights = (gamma / (snr + 1)).clamp(max=1) if velocity else weights / snr
        error = mse_loss(predicted.float(), target.float(), reduction="none")
        return (error.mean(dim=list(range(1, error.ndim))) * weights).mean()

    def step() -> None:
        latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
        noise = torch.randn_like(latents)
        t = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),))
        loss(latents, noise, t).backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()

    return Peer(step, loss)


def bare_peer(batch: Batch) -> Peer:
    """Joint's forward, backward and optimiser on tensors made before.

    That is the least its mathematics needs.
    """
    from unidiff_cli.objectives._losses import symmetric_cross_entropy
    from unidiff_cli.training.module import TrainingModule
    from unidiff_cli.training.optimizer import parameter_groups
    from unidiff_cli.training.optimizer_kinds import optimizer_of

    recipe = recipe_of("joint", len(batch.captions))
    base = nano()
    module = TrainingModule(base, recipe.active(), 0)
    groups = parameter_groups(module, recipe.train)
    base.prepare_for_training(gradient_checkpointing=False)
    module.train()
    forward = module.forward_pass(batch)
    ids = base.token_ids([*batch.captions, ""])
    drop = forward.random("drop", uniform=True) < module.needs.caption_drop
    [seen] = forward.passes
    t, schedule = seen.timesteps, base.schedule
    z_t = schedule.add_noise(seen.latents, seen.noise, t)
    target = schedule.target(seen.latents, seen.noise, t)
    weights = schedule.loss_weights(t, 5.0)
    size, pixels = len(batch.captions), batch.clip_pixels
    assert pixels is not None
    shares, left_out = torch.eye(size), torch.zeros(size, size, dtype=torch.bool)
    optimiser = optimizer_of(recipe.train, groups)

    def loss() -> Tensor:
        text = _encode_tokens(base, ids)
        embeds = base.encode_images(pixels)
        logits = base.logit_scale.exp() * embeds @ text.embeds[:-1].T
        condition = text.rows(slice(-1)).replaced(drop, text.rows(slice(-1, None)))
        error = base.denoise(z_t, t, condition) - target
        denoise = (error.square().mean(dim=(1, 2, 3)) * weights).mean()
        return symmetric_cross_entropy(logits, shares, left_out) + denoise

    def step() -> None:
        loss().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return Peer(step, loss)


def _encode_tokens(base: StableDiffusion, ids: Tensor) -> Any:
    """`encode_text` of ready token ids."""
    from unidiff_cli.models.base import TextFeatures

    out = base.clip.text_model(input_ids=ids)
    embeds = normalize(base.clip.text_projection(out.pooler_output), dim=-1)
    return TextFeatures(out.last_hidden_state, embeds)
