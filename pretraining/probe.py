"""The probe: a small classifier of garment types and patterns, to judge a generated image.

It learned from renderings only, at 64 px whatever the size of the base: bases of two sizes have
one judge. Half of them went through the autoencoder of the base that is
measured, so that what every generated image has in common, its softness, is nothing new to it.
Colours are jittered and channels exchanged: a type must be recognised by its cut, whatever the
colour, or a rare pair of both would be misread.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, cross_entropy, grid_sample, pad

from pretraining.autoencoder import round_trip, scaled
from pretraining.images import shrunk
from pretraining.renderings import render_looks
from unidiff_cli import sample_catalog
from unidiff_cli.sample_catalog import COLORS, TYPES, Look, random_look
from unidiff_cli.sample_catalog.vocabulary import PATTERNS

NAMES = tuple(TYPES)
# The side of the images that it reads.
SIZE = 64
# Of the looks it learns from; pre-training and its unseen renderings lie below.
FIRST_SEED = 2_000_000
# Renderings it is tested on, of the seeds after those.
UNSEEN = 1_000


@dataclass(frozen=True)
class Settings:
    """What decides the weights, beside the renderer and the autoencoder."""

    images: int = 12_000
    epochs: int = 8
    batch: int = 64
    rate: float = 4e-3
    width: int = 32
    seed: int = 0


def make_network(width: int) -> nn.Module:
    """(B, 3, 64, 64) in -1..1 to (B, 19 + 6) logits: of the types, then of the patterns."""

    def convolution(before: int, after: int, stride: int) -> list[nn.Module]:
        layer = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        return [layer, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

    def block(before: int, after: int) -> list[nn.Module]:
        """Halves the side."""
        return [*convolution(before, after, 2), *convolution(after, after, 1)]

    # 32, 16 and 8 px.
    blocks = [*block(3, width), *block(width, 2 * width), *block(2 * width, 4 * width)]
    pool = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2)]
    return nn.Sequential(*blocks, *pool, nn.Linear(16 * width, len(NAMES) + len(PATTERNS)))


def look_of(seed: int) -> Look:
    """A whole garment from the front or the back.

    Every type and colour comes as often, also pairs that nano never sees.
    """
    rng = random.Random(seed)
    view = "back" if rng.random() < 0.15 else "front"
    return random_look(rng, type=rng.choice(NAMES), color=rng.choice(tuple(COLORS)), view=view)


def load_or_train(
    out: Path, vae: AutoencoderKL, size: int, settings: Settings | None = None
) -> nn.Module:
    """The probe in `out`/probe.safetensors, trained now unless its files say the same origin.

    `size` is the side of the base's images.
    """
    settings = settings or Settings()
    file, key = out / "probe.safetensors", _key(vae, size, settings)
    network = make_network(settings.width)
    if file.exists() and (out / "probe.json").read_text() == key:
        network.load_state_dict(load_file(file))
        return network.eval()
    seeds = range(FIRST_SEED, FIRST_SEED + settings.images)
    looks = [look_of(seed) for seed in seeds]
    pixels = render_looks(looks, size)
    # Half the time, and nobody learns the last bit of an image.
    with torch.autocast("cpu", torch.bfloat16):
        pixels[::2] = round_trip(vae, pixels[::2])
    network = learn(shrunk(pixels, SIZE), _answers(looks), settings)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, file)
    (out / "probe.json").write_text(key)
    return network


def _answers(looks: Sequence[Look]) -> np.ndarray:
    return np.array([(NAMES.index(o.type), PATTERNS.index(o.pattern)) for o in looks])


def learn(pixels: np.ndarray, answers: np.ndarray, settings: Settings) -> nn.Module:
    """A network trained on uint8 images (N, 64, 64, 3).

    `answers` (N, 2) are the numbers of their types and of their patterns.
    """
    torch.manual_seed(settings.seed)
    rng = torch.Generator().manual_seed(settings.seed)
    network = make_network(settings.width).to(memory_format=torch.channels_last)
    total = settings.epochs * (len(pixels) // settings.batch)
    optimiser = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=total)
    right = torch.from_numpy(answers)
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(pixels), generator=rng).split(settings.batch):
            if len(rows) < settings.batch:
                continue
            x = augmented(scaled(pixels[rows.numpy()]), rng)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(x.to(memory_format=torch.channels_last))
            optimiser.zero_grad()
            parts = logits.float().split((len(NAMES), len(PATTERNS)), 1)
            loss = sum(
                cross_entropy(part, right[rows, i], label_smoothing=0.05)
                for i, part in enumerate(parts)
            )
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def augmented(x: Tensor, rng: torch.Generator) -> Tensor:
    """Images (B, 3, 64, 64) in -1..1 changed at random.

    They are mirrored, turned, moved, zoomed, blurred, recoloured and given noise.
    """
    b = len(x)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(b, *shape, generator=rng) * (high - low) + low

    turn, size = uniform(-0.12, 0.12), uniform(0.85, 1.15)
    flip = torch.where(torch.rand(b, generator=rng) < 0.5, -1.0, 1.0)
    cos, sin = turn.cos() * size, turn.sin() * size
    place = torch.stack((cos * flip, -sin, sin * flip, cos), 1).view(b, 2, 2)  # (B, 2, 2)
    shift = uniform(-0.12, 0.12, 2, 1)
    grid = affine_grid(torch.cat((place, shift), 2), list(x.shape), align_corners=False)
    x = grid_sample(x, grid, padding_mode="border", align_corners=False)
    soft = avg_pool2d(pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, soft, uniform(0, 1, 1, 1, 1))
    order = torch.rand(b, 3, generator=rng).argsort(1)[:, :, None, None].expand_as(x)
    x = torch.where(torch.rand(b, 1, 1, 1, generator=rng) < 0.5, x.gather(1, order), x)
    x = x * uniform(0.7, 1.2, 1, 1, 1) + uniform(-0.15, 0.15, 3, 1, 1)
    return x + uniform(0, 0.1, 1, 1, 1) * torch.randn(x.shape, generator=rng)


@dataclass(frozen=True)
class Answers:
    """Types and patterns of N images, and how sure the probe is of each type, (N,), 0..1."""

    types: list[str]
    sure: np.ndarray
    patterns: list[str]


@torch.no_grad()
def classify(network: nn.Module, pixels: np.ndarray) -> Answers:
    """What the probe sees in uint8 images (N, S, S, 3)."""
    x = scaled(np.ascontiguousarray(shrunk(pixels, SIZE)))
    logits = torch.cat([network(part) for part in x.split(256)])
    types, patterns = logits.split((len(NAMES), len(PATTERNS)), 1)
    sure, best = types.softmax(1).max(1)
    printed = [PATTERNS[i] for i in patterns.argmax(1)]
    return Answers([NAMES[i] for i in best], sure.numpy(), printed)


def unseen_accuracy(
    network: nn.Module, vae: AutoencoderKL, size: int, settings: Settings | None = None
) -> dict[str, float]:
    """Share of right answers on renderings it never saw, and on the same through the VAE."""
    first = FIRST_SEED + (settings or Settings()).images
    looks = [look_of(seed) for seed in range(first, first + UNSEEN)]
    pixels = render_looks(looks, size)
    types = np.array([look.type for look in looks])
    patterns = np.array([look.pattern for look in looks])
    plain, again = classify(network, pixels), classify(network, round_trip(vae, pixels))
    return {
        "probe_unseen": float(np.mean(np.array(plain.types) == types)),
        "probe_unseen_pattern": float(np.mean(np.array(plain.patterns) == patterns)),
        "probe_unseen_reconstructed": float(np.mean(np.array(again.types) == types)),
        "probe_unseen_pattern_reconstructed": float(np.mean(np.array(again.patterns) == patterns)),
    }


def _key(vae: AutoencoderKL, size: int, settings: Settings) -> str:
    """What the weights depend on, as JSON.

    The settings, and hashes of this file, the renderer and the autoencoder.
    """
    sources = [Path(__file__), *sorted(Path(sample_catalog.__file__).parent.glob("*.py"))]
    code = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
    tensors = b"".join(v.numpy().tobytes() for v in vae.state_dict().values())
    weights = hashlib.sha256(tensors).hexdigest()
    return json.dumps(
        asdict(settings) | {"size": size, "code": code, "autoencoder": weights}, indent=2
    )
