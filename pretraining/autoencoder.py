"""The autoencoder: 128 px images to latents of zero mean and unit variance a channel.

Latents are (16, 16, 16): an eighth of the side.
"""

from collections.abc import Callable

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn

from pretraining.data import Mixture
from pretraining.images import SIZE
from pretraining.normalisation import normalising_fast
from pretraining.perceptual import Critic, Perceptual, distance

# Images a step and process.
BATCH = 4
# Channels of the latents: an eighth of the side leaves little room for prints in fewer.
CHANNELS = 16
WIDTHS = (16, 32, 64, 128)
# The share of the distance that the ImageNet network sees in the loss.
PERCEPTUAL = 0.05
# How large the critic's gradient on the images is, as a share of that of the other terms.
CRITICAL = 0.3


def make_autoencoder() -> AutoencoderKL:
    """An untrained autoencoder of nano's shape."""
    return AutoencoderKL(
        block_out_channels=WIDTHS,
        down_block_types=("DownEncoderBlock2D",) * len(WIDTHS),
        up_block_types=("UpDecoderBlock2D",) * len(WIDTHS),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def scaled(pixels: np.ndarray) -> Tensor:
    """uint8 (B, S, S, 3) as (B, 3, S, S) in -1..1, channels last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


class Reconstruction(nn.Module):
    """The autoencoder and its loss.

    Squared and absolute error, and what those alone get wrong: the hue, edges, and what a network
    that knows ImageNet sees.
    """

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = normalising_fast(vae.to(memory_format=torch.channels_last))
        self.perceptual, self.critic = None, None

    def lock_encoder(self) -> "Reconstruction":
        """Trains the decoder only, and a critic of its images.

        What learned from latents keeps the latents it learned from.
        """
        self.critic = Critic()
        for part in (self.vae.encoder, self.vae.quant_conv):
            part.requires_grad_(False)
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x = batch["x"]
        self.perceptual = self.perceptual or Perceptual(x.device)
        with torch.autocast(x.device.type, torch.bfloat16):
            posterior = self.vae.encode(x).latent_dist
            y = self.vae.decode(posterior.mode() if self.critic else posterior.sample()).sample
        y = y.float()
        e = y - x
        # The error in hue and saturation: grey errors vanish.
        chroma = e - e.mean(1, keepdim=True)
        edges = e.diff(dim=-1).abs().mean() + e.diff(dim=-2).abs().mean()
        squared, absolute = e.square().mean(), e.abs().mean()
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        with torch.no_grad():
            real = self.perceptual.maps(x)
        made = self.perceptual.maps(y)
        seen, colour = distance(real, made), chroma.square().mean()
        loss = squared + 0.2 * absolute + 2.0 * colour + 0.1 * edges + PERCEPTUAL * seen
        scalars = {"squared": squared, "chroma": colour, "perceptual": seen, "kl": kl}
        if self.critic:
            deceived = self.critic.deceived(made)
            critic = self.critic.loss(real, made)
            loss = loss + CRITICAL * _relative(loss, deceived, y) * deceived + critic
            scalars |= {"deceived": deceived, "critic": critic}
        return {"loss": loss + 1e-4 * kl, **scalars}


def _relative(loss: Tensor, other: Tensor, images: Tensor) -> Tensor:
    """How much larger one loss's gradient on the images is than another's.

    As VQGAN weighs its critic (Esser et al. 2021, arXiv 2012.09841), there by the last layer.
    """
    (first,) = torch.autograd.grad(loss, images, retain_graph=True)
    (second,) = torch.autograd.grad(other, images, retain_graph=True)
    return first.norm() / second.norm().clamp(min=1e-12)


def batches(data: Mixture) -> Callable[[np.random.Generator], dict[str, Tensor]]:
    """A function of a generator to a random batch."""

    def batch(rng: np.random.Generator) -> dict[str, Tensor]:
        return {"x": scaled(data.pixels(data.pick(BATCH, rng)))}

    return batch


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels: np.ndarray, chunk: int = 128) -> Tensor:
    """Latents (N, 16, S/8, S/8) of uint8 images, the posterior's mode, as the pipeline has it."""
    vae = vae.to(memory_format=torch.channels_last)
    parts = [
        vae.encode(scaled(pixels[i : i + chunk].copy()).to(vae.device)).latent_dist.mode().cpu()
        for i in range(0, len(pixels), chunk)
    ]
    return torch.cat(parts)


@torch.no_grad()
def round_trip(vae: AutoencoderKL, pixels: np.ndarray) -> np.ndarray:
    """`pixels` (N, S, S, 3) uint8 after a round trip through the autoencoder."""
    y = torch.cat([vae.decode(z.to(vae.device)).sample for z in encode(vae, pixels).split(64)])
    return y.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def round_trip_sheet(vae: AutoencoderKL, pixels: np.ndarray) -> Image.Image:
    """Originals (N, S, S, 3) over what the autoencoder makes of them."""
    rows = (pixels, round_trip(vae, pixels))
    return Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))


@torch.no_grad()
def fold_normalisation(vae: AutoencoderKL, pixels: np.ndarray) -> None:
    """Makes every latent channel zero-mean and unit-variance over `pixels`.

    The shift and scale go into quant_conv and post_quant_conv: Stable Diffusion's pipeline knows
    one scalar `scaling_factor`; the two 1 x 1 convolutions can hold a shift and scale per channel.
    """
    z = encode(vae, pixels)  # (N, C, 16, 16)
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    c = len(mean)
    vae.quant_conv.weight[:c] /= std[:, None, None, None]
    vae.quant_conv.bias[:c] = (vae.quant_conv.bias[:c] - mean) / std
    vae.quant_conv.bias[c:] -= 2 * std.log()
    vae.post_quant_conv.bias += vae.post_quant_conv.weight[:, :, 0, 0] @ mean
    vae.post_quant_conv.weight *= std[None, :, None, None]
