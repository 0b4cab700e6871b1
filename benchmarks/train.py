"""What a training step costs, beside open_clip, diffusers and the bare mathematics.

    python -m benchmarks.train --out DIR [--only PART ...] [--quick]

steps      a step of `joint` and of `fashion` (UniDiff), as `unidiff train` runs them: loader, keyed
           random numbers, clipping, averaged weights, log. Against the sum of an open_clip step and
           a diffusers text-to-image step (its VAE and its text encoding in every step, its text
           tower frozen, as its example has it), and against forward, backward and optimiser alone
           on ready tensors.
cache      a step of `sd-only` that encodes its images, against one that reads their latents, on a
           base with Stable Diffusion 1.5's shares of both at 512 px and half of its channels.
growth     resident memory over 3,000 steps of `joint`.
gradcache  peak memory and time a sample of 8 times (and 64 times) the batch in chunks, each in a
           process of its own.

The towers are nano's, the batch and its images are the same, all are timed in turns in one process
on all cores, and the losses are equal: a time whose check fails ends the command with an error. The
peers get ready tensors where their loader would decode, tokenise and augment. Writes
OUT/figures.json.
"""

from benchmarks.figures import Benchmark, Bound, Figures, Part
from benchmarks.parts.gradcache import GradCache
from benchmarks.parts.latent_cache import LatentCache
from benchmarks.parts.memory_growth import MemoryGrowth
from benchmarks.parts.steps import Steps

CHECKS = {
    "steps.contrastive_difference": Bound(1e-5),
    "steps.denoise_difference": Bound(1e-4),
    "steps.bare_difference": Bound(1e-5),
    "gradcache.loss_difference": Bound(1e-5),
    "cache.loss_difference": Bound(5e-3),
}
TARGETS = {
    "steps.joint_of_sum": Bound(0.85),
    "steps.unidiff_of_sum": Bound(1.0),
    "steps.joint_of_bare": Bound(1.03),
    "steps.cosine_share": Bound(0.03),
    "gradcache.clip_only_memory": Bound(1.05),
    "gradcache.joint_memory": Bound(1.05),
    "gradcache.clip_only_memory_largest": Bound(1.05),
    "gradcache.joint_memory_largest": Bound(1.05),
    "gradcache.clip_only_time": Bound(1.35),
    "gradcache.joint_time": Bound(1.35),
    "cache.times_cached": Bound(1.4, at_least=True),
    "growth.mib_a_thousand_steps": Bound(0.1),
    "steps.steady": Bound(0.9, at_least=True),
}
PARTS: dict[str, Part] = {
    "steps": Steps(),
    "cache": LatentCache(),
    "growth": MemoryGrowth(),
    "gradcache": GradCache(),
}
QUICK: dict[str, Part] = {
    "steps": Steps(batch=4, rounds=2),
    "cache": LatentCache("nano", batch=4, rounds=2),
    "growth": MemoryGrowth(settling=2, steps=5),
    "gradcache": GradCache(batch=4, times=4, most=8, timed=1),
}


def _measure_part(part: Part) -> Figures:
    return part.measure()


BENCHMARK = Benchmark(PARTS, QUICK, CHECKS, TARGETS, _measure_part)


def main() -> None:
    parser = BENCHMARK.arguments("python -m benchmarks.train", __doc__.splitlines()[0])
    given = parser.parse_args()
    BENCHMARK.run(given.out, BENCHMARK.chosen(given))


if __name__ == "__main__":
    main()
