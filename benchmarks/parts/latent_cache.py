"""A step of `sd-only` that encodes its images, beside one that reads latents from the cache."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measurement import in_fresh_process, in_turns, medians, ratio
from benchmarks.parts.steps import Bench


@dataclass(frozen=True)
class LatentCache:
    """Of a base whose denoiser and autoencoder have Stable Diffusion 1.5's shares of a step.

    `kind` names it (`full_size.PIPELINES`), or it is `nano`.
    """

    kind: str = "sd15-narrow"
    batch: int = 2
    rounds: int = 5

    def measure(self) -> dict[str, float]:
        """Seconds of both, their ratio, and losses that must be equal."""
        return in_fresh_process(_measure, self)


def _measure(sizes: LatentCache) -> dict[str, float]:
    import torch

    from benchmarks.parts.full_size import write_full_size

    with tempfile.TemporaryDirectory() as folder:
        base = sizes.kind
        if base != "nano":
            write_full_size(Path(folder), base)
            base = f"{{diffusion: {folder}/sd, clip: {folder}/clip}}"
        bench = Bench(sizes, Path(folder), base)
        names = {"cached": "true", "encoded": "false"}
        steps = {n: bench.our_step("sd-only", f"train.cache_latents={v}") for n, v in names.items()}
        with torch.no_grad():
            losses = [float(step.module(step.first)[0]) for step in steps.values()]
        candidates = {name: step.step for name, step in steps.items()}
        # The first step allocates.
        for step in candidates.values():
            step()
        spent, _ = in_turns(candidates, sizes.rounds)
    return {
        **medians(spent),
        **ratio("times_cached", spent["encoded"], spent["cached"]),
        # Latents are kept in half precision.
        "loss_difference": abs(losses[0] / losses[1] - 1),
    }
