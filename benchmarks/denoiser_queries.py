"""Text queries with the denoiser's help: generated images added to the text, and a re-ranking.

    python -m benchmarks.denoiser_queries PROJECT [--queries 40]

Captions of validation rows ask for their images among those of the split. `imagine` adds the mean
embedding of four images that the export generates from the caption, at several weights. `rerank`
orders CLIP's first 20 images by how much the caption lowers the denoiser's error (the diffusion
classifier, arXiv 2303.16203), over 8 noises, alone and added to the cosine, both standardised.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.embedded import arguments, embed_split, open_encoder
from unidiff_cli.config.schema import Generate
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.captions import same_text
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.evaluation.metrics.diffusion_classifier import trial_timesteps
from unidiff_cli.evaluation.ranking import Ranking, Rescore, rank_answers
from unidiff_cli.evaluation.statistics import paired
from unidiff_cli.models.base import BaseModel
from unidiff_cli.models.guidance_file import own_guidance
from unidiff_cli.models.keyed_random import keyed_random
from unidiff_cli.models.loading import load_base
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.models.sources import resolve_base
from unidiff_cli.project.project import Project

IMAGES, LIST, TRIALS = 4, 20, 8
WEIGHTS = (0.125, 0.25, 0.5, 1.0, 2.0)


def imagined(base: BaseModel, folder: str, captions: Sequence[str]) -> list:
    """IMAGES images of each caption, in order."""
    guidance, _ = own_guidance(resolve_base(folder)[1])
    prompts = [caption for caption in captions for _ in range(IMAGES)]
    return list(
        generate_images(
            base,
            prompts,
            list(range(len(prompts))),
            steps=Generate().steps,
            guidance=guidance,
            batch_size=32,
        )
    )


class CaptionGains:
    """How much a caption lowers the denoiser's mean squared error of an image."""

    def __init__(self, base: BaseModel, shards: Shards, rows: Sequence[Row]) -> None:
        self.base = base
        with torch.no_grad():
            images = [open_image(shards, row) for row in rows]
            self.latents = base.encode_latents(base.diffusion_pixels(images)).mean
        self.times = trial_timesteps(len(base.schedule), TRIALS)
        self.unconditional: dict[int, np.ndarray] = {}

    @torch.no_grad()
    def errors(self, number: int, caption: str) -> np.ndarray:
        """The error of each trial, (TRIALS,)."""
        z = self.latents[number].expand(TRIALS, *self.latents.shape[1:])
        shape = tuple(z.shape[1:])
        noises = [keyed_random(0, trial, [number], "class", shape) for trial in range(TRIALS)]
        eps, t = torch.cat(noises), torch.from_numpy(self.times).long()
        text = self.base.encode_text([caption] * TRIALS)
        schedule = self.base.schedule
        off = self.base.denoise(schedule.add_noise(z, eps, t), t, text) - schedule.target(z, eps, t)
        return off.square().flatten(1).mean(1).numpy()

    def __call__(self, number: int, caption: str) -> float:
        if number not in self.unconditional:
            self.unconditional[number] = self.errors(number, "")
        return float((self.unconditional[number] - self.errors(number, caption)).mean())


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=40)
    options = parser.parse_args()
    encoder = open_encoder(options)
    split = embed_split(options, encoder, "val")
    folder = Project(options.project).export(None)
    project = Project(options.project)
    size = project.receipt("exports", folder.name).settings["image_size"]
    base = load_base(str(folder), size).eval()
    shards = Shards.open(project.path("shards"))

    first = {same_text(row.captions[0]): n for n, row in reversed(list(enumerate(split.rows)))}
    order = np.random.default_rng(0).permutation(sorted(first.values()))[: options.queries]
    captions = [split.rows[n].captions[0] for n in order]
    groups = split.groups[order]
    pairs = np.array(
        [
            (q, n)
            for q, caption in enumerate(captions)
            for n, row in enumerate(split.rows)
            if same_text(row.captions[0]) == same_text(caption)
        ]
    )
    texts = encoder.embed_captions(captions)
    plain = rank_answers(texts, split.images, pairs)
    print(f"{len(captions)} captions, {len(split.rows)} images")
    show("CLIP", plain, plain, groups, 0)

    start = time.perf_counter()
    images = encoder.embed_images(imagined(base, str(folder), captions))
    mean = images.reshape(len(captions), IMAGES, -1).mean(1)
    seconds = (time.perf_counter() - start) / len(captions)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    show("imagined images alone", rank_answers(mean, split.images, pairs), plain, groups, seconds)
    for weight in WEIGHTS:
        queries = texts + weight * mean
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        ranking = rank_answers(queries, split.images, pairs)
        show(f"with imagined images^{weight}", ranking, plain, groups, seconds)

    gains, scores = CaptionGains(base, shards, split.rows), {}
    start = time.perf_counter()
    lists = rank_answers(texts, split.images, pairs, top=LIST).top
    for query, best in enumerate(lists):
        for number in best:
            scores[query, int(number)] = gains(int(number), captions[query])
    seconds = (time.perf_counter() - start) / len(captions)

    def by_denoiser(query: int, best: np.ndarray, cosines: np.ndarray) -> np.ndarray:
        return np.array([scores[query, int(number)] for number in best])

    def by_both(query: int, best: np.ndarray, cosines: np.ndarray) -> np.ndarray:
        gain = by_denoiser(query, best, cosines)
        return (gain - gain.mean()) / gain.std() + (cosines - cosines.mean()) / cosines.std()

    ways: dict[str, Rescore] = {"re-ranked by the denoiser": by_denoiser, "by both": by_both}
    for name, rescore in ways.items():
        ranking = rank_answers(texts, split.images, pairs, top=LIST, rescore=rescore)
        show(name, ranking, plain, groups, seconds)


def show(name: str, ranking: Ranking, plain: Ranking, groups: np.ndarray, seconds: float) -> None:
    """Prints R@1, mean average precision, its difference from CLIP's, and seconds a query."""
    precision = ranking.average_precision
    test = paired(plain.average_precision, precision, groups=groups)
    print(
        f"{name:28} R@1 {100 * (ranking.rank < 1).mean():5.1f}  mAP {100 * precision.mean():5.1f}  "
        f"{100 * test.difference:+.1f} [{100 * (test.low or 0):+.1f}, "
        f"{100 * (test.high or 0):+.1f}] p = {test.p:.3f}  {seconds:.2f} s a query"
    )


if __name__ == "__main__":
    main()
