"""What the embedded base can do, opened as its user opens it, on images it never learned from.

    python -m pretraining.measure --photos DIR --luma DIR --grocery DIR --out DIR

--photos is clothing-dataset-small, --luma a shop's product photos, --grocery the Grocery Store
Dataset: folders of images/ and captions.jsonl. Writes OUT/figures.json and sheets to check the
figures by eye, and prints them beside their targets. Nothing here is fitted to the base but the
probe (see probe.py), which never sees a generated image.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline

from pretraining import probe
from pretraining.measures import generation, targets
from pretraining.measures.autoencoder import autoencoder
from pretraining.measures.encoders import Encoder
from pretraining.measures.inputs import (
    OTHER_SEED,
    PROMPTS_SEED,
    REAL_SEED,
    Photos,
    load_photos,
    random_prompts,
    renderings,
)
from pretraining.measures.likeness import copies, distance, training_images
from pretraining.measures.neighbours import neighbours
from pretraining.measures.retrieval import retrieval
from pretraining.measures.speed import speed
from pretraining.measures.targets import Figures
from pretraining.measures.zero_shot import everyday_objects, zero_shot
from pretraining.renderings import UNSEEN, UNSEEN_SEED, render_looks
from unidiff_cli.evaluation.extractors.efficientnet_lite0 import EfficientNetLite0
from unidiff_cli.models.sources import EMBEDDED


@dataclass(frozen=True)
class Sources:
    """Where the images come from; `training` are the arrays that the base learned from."""

    photos: Path
    luma: Path | None = None
    grocery: Path | None = None
    training: Path | None = None


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    `photos` None is all. Without the training arrays, the first `learned` renderings stand for
    what the base learned from.
    """

    photos: int | None = None
    renderings: int = UNSEEN
    prompts: int = 600
    real: int = 1_000
    learned: int = 14_000
    times: int = 3
    judge: probe.Settings = probe.Settings()


# A few images of everything: proves that it runs.
QUICK = Sizes(
    photos=24,
    renderings=48,
    prompts=8,
    real=64,
    learned=200,
    times=1,
    judge=probe.Settings(images=256, epochs=1),
)


def measure(base: Path, sources: Sources, out: Path, sizes: Sizes) -> dict[str, Figures]:
    """All figures by part, also in `out`/figures.json, with sheets beside it.

    `base` holds nano/ and nano_scorer/.
    """
    out.mkdir(parents=True, exist_ok=True)
    return Measurement(base, sources, out, sizes).run()


class Measurement:
    """The opened base and the figures measured so far."""

    def __init__(self, base: Path, sources: Sources, out: Path, sizes: Sizes):
        self.nano, self.sources, self.out, self.sizes = base / "nano", sources, out, sizes
        self.pipeline = StableDiffusionPipeline.from_pretrained(self.nano)
        self.pipeline.set_progress_bar_config(disable=True)
        unet, factor = self.pipeline.unet, self.pipeline.vae_scale_factor
        self.size = unet.config.sample_size * factor
        self.generator = generation.Generator(self.pipeline, self.nano)
        self.clip = Encoder(self.nano / "clip")
        self.scorer = Encoder(base / "nano_scorer")
        self.figures: dict[str, Figures] = {}

    def run(self) -> dict[str, Figures]:
        """Measures part after part."""
        self._note("parameters", self._parameters())
        sources, sizes = self.sources, self.sizes
        sets = load_photos(sources.photos, sources.luma, sources.grocery, self.size, sizes.photos)
        seeds = range(UNSEEN_SEED, UNSEEN_SEED + sizes.renderings)
        unseen, captions = renderings(seeds, self.size)
        shown = {name: photos.pixels for name, photos in sets.items() if name != "grocery"}
        shown["drawings"] = unseen
        self._note("autoencoder", autoencoder(self.pipeline.vae, shown, self.out))
        self._note("teacher", neighbours(EfficientNetLite0.read(), sets))
        for name, encoder in (("clip", self.clip), ("scorer", self.scorer)):
            seen = zero_shot(encoder, sets) | everyday_objects(encoder, self.size)
            found = retrieval(encoder, unseen, captions) | neighbours(encoder, sets)
            self._note(name, seen | found)
        self._measure_generation(sets)
        self._note("speed", speed(self.generator, self.nano, self.sizes.times))
        return self.figures

    def _note(self, part: str, figures: Figures) -> None:
        """Writes a part's figures at once: the next part may take half an hour."""
        self.figures[part] = {name: round(float(value), 4) for name, value in figures.items()}
        (self.out / "figures.json").write_text(json.dumps(self.figures, indent=2) + "\n")

    def _parameters(self) -> Figures:
        parts = {name: getattr(self.pipeline, name) for name in ("unet", "vae", "text_encoder")}
        parts |= {"clip": self.clip.clip, "scorer": self.scorer.clip}
        return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}

    def _measure_generation(self, sets: dict[str, Photos]) -> None:
        """The parts `generation` and `likeness`."""
        out, vae, settings = self.out, self.pipeline.vae, self.sizes.judge
        network = probe.load_or_train(out, vae, self.size, settings)
        judge = probe.unseen_accuracy(network, vae, self.size, settings)
        judge |= generation.probe_on_photos(network, sets, out)
        looks, prompts = random_prompts(self.sizes.prompts, PROMPTS_SEED)
        real_looks, real_prompts = random_prompts(self.sizes.real, REAL_SEED)
        other_looks, _ = random_prompts(len(looks), OTHER_SEED)
        real, other = (render_looks(each, self.size) for each in (real_looks, other_looks))
        generated = self.generator.images(prompts)
        np.savez(out / "generated.npz", pixels=generated, prompts=prompts)
        figures = judge | generation.agreement(network, generated, looks, prompts)
        ceiling = generation.agreement(network, real, real_looks, real_prompts)
        self._note("generation", figures | {f"{k}_ceiling": v for k, v in ceiling.items()})
        generation.sheets(self.generator, network, looks, prompts, generated, out)
        learned = training_images(self.sources.training, self.sizes.learned, self.size)
        near = copies(self.scorer, generated, real, learned, out)
        self._note("likeness", distance(self.scorer, generated, real, other) | near)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.measure", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--base", type=Path, default=EMBEDDED, help="holds nano/ and nano_scorer/")
    add("--photos", type=Path, required=True, help="clothing-dataset-small")
    add("--luma", type=Path, help="product photos; their figures are left out without it")
    add("--grocery", type=Path, help="the Grocery Store Dataset, likewise")
    add("--out", type=Path, required=True, help="figures.json, the sheets, the probe")
    add("--training", type=Path, help="the arrays nano learned from; else they are made again")
    add("--renders", type=int, default=14_000, help="how many renderings nano learned from")
    add("--quick", action="store_true", help="a few images of everything: proves that it runs")
    given = parser.parse_args()
    sources = Sources(given.photos, given.luma, given.grocery, given.training)
    sizes = QUICK if given.quick else Sizes(learned=given.renders)
    figures = measure(given.base, sources, given.out, sizes)
    print("\n".join(targets.lines(figures)))


if __name__ == "__main__":
    main()
