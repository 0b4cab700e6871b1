"""LoRA of a denoiser beside diffusers' own algorithm, examples/text_to_image's LoRA script.

The same base, images, captions, noise and timesteps, and the same first A: the script draws its
numbers from torch's generator, and these are given to it.
"""

import pytest
import torch
from accelerate import Accelerator

from tests.support.base import write_base
from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from unidiff_cli.models.loading import load_base
from unidiff_cli.training.adapter import adapted
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.trainer import Trainer

STEPS, RANK, RATE = 20, 4, 1e-2
TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]


@pytest.mark.slow
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_twenty_steps_lose_what_diffusers_loses(tmp_path, prediction):
    folder = write_base(tmp_path / "base", prediction=prediction)
    recipe = load_recipe(
        folder,
        *("objectives.denoise.caption_drop=0", "objectives.denoise.snr_gamma=null"),
        *(f"train.steps={STEPS}", "train.warmup=0", "train.schedule=constant"),
        *(f"train.lora.rank={RANK}", "train.lora.targets=[attention]"),
        *("train.lora.lr_factor=10", f"train.lr.denoiser={RATE / 10}"),
        *("train.weight_decay=0.01", "train.precision=fp32"),
        name="sd-only",
    )
    base = load_base(str(folder), 32)
    adapters = adapted(base, recipe)
    start = {name: p.detach().clone() for name, p in adapters.named_parameters().items()}
    module = TrainingModule(base, recipe.active(), recipe.train.seed, adapters=adapters)
    trainer = Trainer(Accelerator(cpu=True), module, recipe.train)
    batches = [batch_of(8, step) for step in range(STEPS)]
    ours = [float(step.parts["denoise"]) for step in trainer.steps(iter(batches))]
    theirs = diffusers_losses(folder, start, [drawn(module, batch) for batch in batches])
    assert ours == pytest.approx(theirs, rel=2e-4)
    # The adapters moved, so that the losses are no longer the first ones.
    at_start = diffusers_losses(folder, start, [drawn(module, b) for b in batches], rate=0.0)
    assert max(abs(a - b) for a, b in zip(ours, at_start, strict=True)) > 0.01


@torch.no_grad()
def drawn(module, batch):
    """What the run drew for a batch: captions, latents, noise and timesteps."""
    [seen] = module.train().forward_pass(batch).passes
    return batch.captions, seen.latents, seen.noise, seen.timesteps


def diffusers_losses(folder, start, draws, rate=RATE):
    """The losses of the script's loop in fp32, with its optimiser's defaults."""
    from diffusers import DDPMScheduler, StableDiffusionPipeline
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig

    pipe = StableDiffusionPipeline.from_pretrained(folder)
    scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    # As its own sampler has them; from_config leaves out what the other class does not know.
    scheduler.alphas_cumprod = pipe.scheduler.alphas_cumprod
    unet, text = pipe.unet, pipe.text_encoder
    for part in (unet, pipe.vae, text):
        part.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=TARGETS)
    )
    cast_training_params(unet, dtype=torch.float32)
    layers = [p for p in unet.parameters() if p.requires_grad]
    named = {f"unet.{name}": p for name, p in unet.named_parameters() if p.requires_grad}
    assert named.keys() == start.keys()
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(start[name])
    optimizer = torch.optim.AdamW(layers, lr=rate, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
    losses = []
    unet.train()
    for captions, latents, noise, timesteps in draws:
        ids = pipe.tokenizer(
            captions, max_length=pipe.tokenizer.model_max_length, padding="max_length",
            truncation=True, return_tensors="pt",
        ).input_ids  # fmt: skip
        noisy = scheduler.add_noise(latents, noise, timesteps)
        states = text(ids, return_dict=False)[0]
        epsilon = scheduler.config.prediction_type == "epsilon"
        target = noise if epsilon else scheduler.get_velocity(latents, noise, timesteps)
        predicted = unet(noisy, timesteps, states, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(predicted.float(), target.float(), reduction="mean")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layers, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses
