"""Peak memory and time of a batch in chunks, beside a plain batch.

Peaks are over what was resident before the first step, in MB; seconds a sample are of the steps
after it. `mb` is what is in use: malloc gives every freed block back at once. `resident_mb` is what
glibc holds by default, whose heap keeps holes that grow with the number of chunks; a GPU's
allocator is neither.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.measurement import environment, in_fresh_process, peak_growth, seconds
from benchmarks.parts.recipes import SIDE, recipe_of

if TYPE_CHECKING:
    from unidiff_cli.data.batch import Batch
    from unidiff_cli.models.base import BaseModel


@dataclass(frozen=True)
class GradCache:
    """The plain batch, and the larger ones in chunks of its size.

    They are `times` as large, and `most` times, whose memory alone is measured. `timed` steps are
    timed after the first.
    """

    batch: int = 64
    times: int = 8
    most: int = 64
    timed: int = 3

    def measure(self) -> dict[str, float]:
        """Figures of `clip-only` and of `joint`, and losses that must be equal."""
        figures: dict[str, float] = {}
        for name, denoise_batch in (("clip-only", 0), ("joint", self.batch)):
            figures |= self._figures(name, denoise_batch)
        figures["loss_difference"] = in_fresh_process(chunked_difference, self.batch)
        return figures

    def _figures(self, name: str, denoise_batch: int) -> dict[str, float]:
        b, key = self.batch, name.replace("-", "_")
        plain = Setting(name, b)
        large = Setting(name, self.times * b, chunk=b, denoise_batch=denoise_batch)
        largest = large._replace(size=self.most * b)
        # Blocks of 64 KB or more are mapped by themselves, so that freeing one gives it back
        # (mallopt(3)).
        with environment(MALLOC_MMAP_THRESHOLD_=str(64 * 1024)):
            used = [in_fresh_process(run_steps, s, 0)[0] for s in (plain, large, largest)]
        held, took = in_fresh_process(run_steps, plain, self.timed)
        held_large, took_large = in_fresh_process(run_steps, large, self.timed)
        sizes = (plain.size, large.size, largest.size)
        return {
            **{f"{key}_{size}_mb": mb for size, mb in zip(sizes, used, strict=True)},
            f"{key}_memory": used[1] / used[0],
            f"{key}_memory_largest": used[2] / used[0],
            f"{key}_{plain.size}_resident_mb": held,
            f"{key}_{large.size}_resident_mb": held_large,
            f"{key}_sample_seconds": took,
            f"{key}_chunked_sample_seconds": took_large,
            f"{key}_time": took_large / took,
        }


class Setting(NamedTuple):
    """A recipe at a batch size, in chunks, with a part of the rows for the denoiser (0: all)."""

    name: str
    size: int
    chunk: int = 0
    denoise_batch: int = 0


def run_steps(setting: Setting, timed: int) -> tuple[float, float]:
    """The peak of a first step over what was resident before, MB.

    Then the seconds a sample of the steps after it.
    """
    import torch
    from accelerate import Accelerator

    from unidiff_cli.models import loading
    from unidiff_cli.training.module import TrainingModule
    from unidiff_cli.training.trainer import Trainer

    torch.manual_seed(0)
    size, chunk = setting.size, setting.chunk
    options = (f"train.chunk={chunk}", f"train.denoise_batch={setting.denoise_batch}")
    recipe = recipe_of(setting.name, size, *options)
    base = loading.load_base("nano", recipe.image_size)
    module = TrainingModule(base, recipe.active(), 0, chunk, cached=True)
    trainer = Trainer(Accelerator(cpu=True), module, recipe.train)
    batches = [random_batch(base, size, setting.denoise_batch, i) for i in range(1 + timed)]
    steps = trainer.steps(iter(batches))
    peak, _, _ = peak_growth(lambda: next(steps))
    took = [seconds(lambda: next(steps))[0] for _ in range(timed)]
    return peak, sorted(took)[len(took) // 2] / size if took else 0.0


def chunked_difference(size: int) -> float:
    """The relative difference of the loss of one batch, whole and in chunks."""
    import torch

    from unidiff_cli.models import loading
    from unidiff_cli.training.module import TrainingModule

    base, recipe = loading.load_base("nano", SIDE), recipe_of("fashion", size)
    torch.manual_seed(0)
    batch = random_batch(base, size)
    with torch.no_grad():
        whole, chunked = (
            float(TrainingModule(base, recipe.active(), 0, chunk)(batch)[0])
            for chunk in (0, max(1, size // 3))
        )
    return abs(chunked / whole - 1)


def random_batch(base: "BaseModel", size: int, denoise_batch: int = 0, step: int = 0) -> "Batch":
    """A batch of noise, of whose rows the denoiser sees `denoise_batch` (0: all)."""
    import torch

    from unidiff_cli.data.batch import Batch
    from unidiff_cli.data.order import subsample

    channels, height, width = base.latent_shape
    positions = list(range(step * size, (step + 1) * size))
    return Batch(
        step,
        positions,
        [],
        [f"a thing, number {i}" for i in range(size)],
        torch.arange(size),
        torch.arange(size),
        clip_pixels=torch.randint(0, 256, (size, 3, SIDE, SIDE), dtype=torch.uint8),
        latents=torch.rand(denoise_batch or size, 2 * channels, height, width),
        denoise_rows=subsample(positions, denoise_batch, size) if denoise_batch else None,
        frozen_image_embeds=torch.nn.functional.normalize(torch.randn(size, base.dimension)),
    )
