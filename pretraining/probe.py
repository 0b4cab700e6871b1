"""The probe: a small classifier of garment types that learned from renderings only, to say what a generated image shows.

Half of the images it learns from went through the autoencoder of the base that is measured, so that what every
generated image has in common, its softness, is nothing new to it. Colours are jittered and channels exchanged: a
type must be told by its cut, whatever the colour, or a rare pair of both would be misread.
"""

import hashlib
import json
import random
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, cross_entropy, grid_sample, pad

from pretraining.autoencoder import encode, scaled
from pretraining.data import SIZE, fit
from unidiff_cli import sample_catalog
from unidiff_cli.sample_catalog import COLORS, TYPES, Look, random_look

NAMES = tuple(TYPES)
FIRST_SEED = (
    2_000_000  # of the looks it learns from; pre-training and its unseen drawings lie below
)
UNSEEN = 1_000  # renderings it is tested on, of the seeds after those


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
    """(B, 3, 64, 64) in -1..1 to (B, 19) logits."""

    def step(before: int, after: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

    w = width
    return nn.Sequential(
        *step(3, w, 2), *step(w, w, 1),  # 32 px
        *step(w, 2 * w, 2), *step(2 * w, 2 * w, 1),  # 16 px
        *step(2 * w, 4 * w, 2), *step(4 * w, 4 * w, 1),  # 8 px
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16 * w, len(NAMES)),
    )  # fmt: skip


def look_of(seed: int) -> Look:
    """A whole garment from the front or the back: every type and colour as often, also pairs nano never sees."""
    rng = random.Random(seed)
    view = "back" if rng.random() < 0.15 else "front"
    return random_look(rng, type=rng.choice(NAMES), color=rng.choice(tuple(COLORS)), view=view)


def rendering(look: Look) -> np.ndarray:
    """(64, 64, 3) uint8, made as nano's own images are: drawn at 128 px and fitted."""
    return fit(sample_catalog.render(look, size=2 * SIZE))


def render(looks: Iterable[Look]) -> np.ndarray:
    """(N, 64, 64, 3) uint8."""
    with ProcessPoolExecutor(2) as pool:
        return np.stack(list(pool.map(rendering, looks, chunksize=32)))


@torch.no_grad()
def through(vae: AutoencoderKL, pixels: np.ndarray) -> np.ndarray:
    """`pixels` (N, 64, 64, 3) uint8 after a round trip through the autoencoder."""
    y = torch.cat([vae.decode(z).sample for z in encode(vae, pixels).split(64)])
    return y.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()


def trained(out: Path, vae: AutoencoderKL, settings: Settings | None = None) -> nn.Module:
    """The probe in `out`/probe.safetensors, trained now unless the one there was made from the same things."""
    settings = settings or Settings()
    file, key = out / "probe.safetensors", _key(vae, settings)
    network = make_network(settings.width)
    if file.exists() and (out / "probe.json").read_text() == key:
        network.load_state_dict(load_file(file))
        return network.eval()
    seeds = range(FIRST_SEED, FIRST_SEED + settings.images)
    looks = [look_of(seed) for seed in seeds]
    pixels = render(looks)
    with torch.autocast(
        "cpu", torch.bfloat16
    ):  # half the time, and nobody learns the last bit of an image
        pixels[::2] = through(vae, pixels[::2])
    network = learn(pixels, np.array([NAMES.index(look.type) for look in looks]), settings)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, file)
    (out / "probe.json").write_text(key)
    return network


def learn(pixels: np.ndarray, types: np.ndarray, settings: Settings) -> nn.Module:
    """A network trained on uint8 images (N, 64, 64, 3) and the numbers of their types (N,)."""
    torch.manual_seed(settings.seed)
    rng = torch.Generator().manual_seed(settings.seed)
    network = make_network(settings.width).to(memory_format=torch.channels_last)
    total = settings.epochs * (len(pixels) // settings.batch)
    optimiser = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=total)
    answers = torch.from_numpy(types)
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(pixels), generator=rng).split(settings.batch):
            if len(rows) < settings.batch:
                continue
            x = augmented(scaled(pixels[rows.numpy()]), rng)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(x.to(memory_format=torch.channels_last))
            optimiser.zero_grad()
            cross_entropy(logits.float(), answers[rows], label_smoothing=0.05).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def augmented(x: Tensor, rng: torch.Generator) -> Tensor:
    """Images (B, 3, 64, 64) in -1..1 mirrored, turned, moved, zoomed, blurred, recoloured and with noise."""
    b = len(x)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(b, *shape, generator=rng) * (high - low) + low

    turn, size = uniform(-0.12, 0.12), uniform(0.85, 1.15)
    flip = torch.where(torch.rand(b, generator=rng) < 0.5, -1.0, 1.0)
    cos, sin = turn.cos() * size, turn.sin() * size
    place = torch.stack((cos * flip, -sin, sin * flip, cos), 1).view(b, 2, 2)  # (B, 2, 2)
    grid = affine_grid(
        torch.cat((place, uniform(-0.12, 0.12, 2, 1)), 2), list(x.shape), align_corners=False
    )
    x = grid_sample(x, grid, padding_mode="border", align_corners=False)
    soft = avg_pool2d(pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, soft, uniform(0, 1, 1, 1, 1))
    order = torch.rand(b, 3, generator=rng).argsort(1)[:, :, None, None].expand_as(x)
    x = torch.where(torch.rand(b, 1, 1, 1, generator=rng) < 0.5, x.gather(1, order), x)
    x = x * uniform(0.7, 1.2, 1, 1, 1) + uniform(-0.15, 0.15, 3, 1, 1)
    return x + uniform(0, 0.1, 1, 1, 1) * torch.randn(x.shape, generator=rng)


@torch.no_grad()
def answers(network: nn.Module, pixels: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The types of uint8 images (N, 64, 64, 3), and how sure the probe is of each (N,), 0..1."""
    x = scaled(np.ascontiguousarray(pixels))
    sure, best = torch.cat([network(part) for part in x.split(256)]).softmax(1).max(1)
    return [NAMES[i] for i in best], sure.numpy()


def unseen_share(
    network: nn.Module, vae: AutoencoderKL, settings: Settings | None = None
) -> dict[str, float]:
    """Share of right answers on renderings it never saw, and on the same through the autoencoder."""
    first = FIRST_SEED + (settings or Settings()).images
    looks = [look_of(seed) for seed in range(first, first + UNSEEN)]
    pixels = render(looks)
    types = [look.type for look in looks]
    return {
        name: float(
            np.mean([a == t for a, t in zip(answers(network, shown)[0], types, strict=True)])
        )
        for name, shown in (
            ("probe_unseen", pixels),
            ("probe_unseen_reconstructed", through(vae, pixels)),
        )
    }


def _key(vae: AutoencoderKL, settings: Settings) -> str:
    """What the weights depend on, as JSON: the settings, and hashes of this file, the renderer and the autoencoder."""
    sources = [Path(__file__), *sorted(Path(sample_catalog.__file__).parent.glob("*.py"))]
    code = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
    weights = hashlib.sha256(
        b"".join(v.numpy().tobytes() for v in vae.state_dict().values())
    ).hexdigest()
    return json.dumps(asdict(settings) | {"code": code, "autoencoder": weights}, indent=2)
