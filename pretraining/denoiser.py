"""The denoiser: a small UNet on normalised latents.

It predicts v, with a zero-terminal signal-to-noise ratio.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from pretraining.autoencoder import CHANNELS, encode
from pretraining.data import Mixture
from pretraining.tokenizer import LENGTH
from unidiff_cli.models.schedule import DdpmSchedule

# Images a step and process.
BATCH = 16
# The part of captions that the empty one replaces.
DROPPED = 0.1
PROMPTS = (
    "blue trousers",
    "a yellow t-shirt",
    "green hat",
    "black dress with white stripes",
    "purple skirt",
    "a red mug",
    "a pink jacket",
    "a photo of a black t-shirt",
)


def make_unet(width: int) -> UNet2DConditionModel:
    """An untrained UNet of nano's shape, for text states of this width."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(64, 96, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=16,
        cross_attention_dim=width,
        # diffusers reads this as the number of heads.
        attention_head_dim=4,
    )


def make_scheduler() -> DPMSolverMultistepScheduler:
    """Nano's noise schedule, sampled by DPM-Solver++ of second order (arXiv 2211.01095)."""
    return DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        # The last step lands on the clean latent.
        final_sigmas_type="zero",
        # Unused with trailing steps, but the pipeline warns of 0.
        steps_offset=1,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


class Denoise(nn.Module):
    """The denoiser and its loss: the error of the predicted v.

    It has the weights of adaptation (`NoiseSchedule.loss_weights`): min-SNR-5, and 1 where noise is
    high.
    """

    def __init__(self, unet: UNet2DConditionModel):
        super().__init__()
        self.unet = unet.to(memory_format=torch.channels_last)
        # A third faster on a CPU than torch's attention, whose bfloat16 backward is slow.
        unet.set_attn_processor(AttnProcessor())
        self.schedule = DdpmSchedule(make_scheduler().alphas_cumprod.clone(), "v_prediction")

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x, t, eps = batch["x"], batch["t"], batch["eps"]
        z, v = self.schedule.add_noise(x, eps, t), self.schedule.target(x, eps, t)
        with torch.autocast(batch["x"].device.type, torch.bfloat16):
            guess = self.unet(z, t, batch["states"]).sample
        error = (guess.float() - v).square().mean((1, 2, 3))  # (B,)
        weighted = self.schedule.loss_weights(t, gamma=5.0) * error
        return {"loss": weighted.mean(), "error": error.mean()}


def cache_latents(folder: Path, data: Mixture, vae: AutoencoderKL) -> None:
    """Latents of every view, plain and mirrored, as float16 arrays in `folder`.

    One array a source, (N, V, 2, 16, 16, 16).
    """
    for name, source in data.sources.items():
        n, views = len(source), min(data.views, source.pixels.shape[1])
        latents = np.empty((n, views, 2, CHANNELS, 16, 16), dtype=np.float16)
        for view in range(views):
            for mirrored in (0, 1):
                pixels = source.pixels[:, view, :, :: -1 if mirrored else 1]
                latents[:, view, mirrored] = encode(vae, pixels).numpy()
        np.save(folder / f"{name}.npy", latents)


@torch.no_grad()
def cache_states(
    folder: Path, data: Mixture, text: CLIPTextModel, tokenizer: CLIPTokenizer
) -> None:
    """Text states (40, width) of every caption and of the empty one, as a float16 array."""
    captions = sorted({*data.captions(), ""})
    shape = (len(captions), LENGTH, text.config.hidden_size)
    states = np.lib.format.open_memmap(folder / "states.npy", "w+", np.float16, shape)
    for i in range(0, len(captions), 256):
        ids = tokenizer(
            captions[i : i + 256],
            padding="max_length",
            truncation=True,
            max_length=LENGTH,
            return_tensors="pt",
        ).input_ids
        states[i : i + 256] = text(ids).last_hidden_state.numpy()
    states.flush()
    (folder / "captions.txt").write_text("\n".join(captions))


def batches(
    latents_at: Path, states_at: Path, data: Mixture
) -> Callable[[np.random.Generator], dict[str, Tensor]]:
    """A function of a generator to a random batch, from the cached latents and text states."""
    latents = {name: np.load(latents_at / f"{name}.npy", mmap_mode="r") for name in data.sources}
    states = np.load(states_at / "states.npy", mmap_mode="r")
    index = {c: i for i, c in enumerate((states_at / "captions.txt").read_text().split("\n"))}

    def batch(rng: np.random.Generator) -> dict[str, Tensor]:
        picks = data.pick(BATCH, rng)
        x = np.stack([latents[p.source][p.row, p.view, int(p.mirrored)] for p in picks])
        x = x.astype(np.float32)
        rows = [index["" if rng.random() < DROPPED else p.caption] for p in picks]
        # One in each sixteenth of the schedule.
        t = (rng.permutation(BATCH) + rng.random(BATCH)) * 1000 / BATCH
        eps = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32))
        return {
            "x": torch.from_numpy(x).contiguous(memory_format=torch.channels_last),
            "eps": eps.contiguous(memory_format=torch.channels_last),
            "t": torch.from_numpy(t.astype(np.int64)),
            "states": torch.from_numpy(states[rows].astype(np.float32)),
        }

    return batch


def sheet(pipeline: StableDiffusionPipeline) -> Image.Image:
    """What the denoiser generates by now.

    "red dress" with seeds 0 to 7 above, eight other prompts with seed 0 below.
    """
    pipeline.set_progress_bar_config(disable=True)
    rows = []
    for prompts, seeds in ((["red dress"] * 8, range(8)), (list(PROMPTS), [0] * 8)):
        images = pipeline(
            prompts,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            num_inference_steps=25,
            guidance_scale=4.0,
            output_type="np",
        ).images
        rows.append(np.concatenate(list(images), axis=1))
    page = (np.concatenate(rows) * 255).round().astype(np.uint8)  # (256, 1024, 3)
    return Image.fromarray(page)
