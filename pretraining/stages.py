"""The stages of nano's making: each reads and writes folders of --work.

A stage is skipped when its folder is finished.
"""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from pretraining import autoencoder, card, clip, data, denoiser, distillation, folder, loop, teacher
from pretraining.data import Mixture
from pretraining.images import Images
from pretraining.measure import QUICK, Sizes, Sources, measure
from pretraining.photos import CROPS, VIEWS
from pretraining.tokenizer import make_tokenizer
from unidiff_cli.models.sources import EMBEDDED

# Shares of the budget; what is left is for the caches and write.
SHARES = {
    "autoencoder": 0.142,
    "clip": 0.108,
    "scorer": 0.042,
    "denoiser": 0.35,
    "vision": 0.18,
    "decoder": 0.05,
}
# Of a batch. The CLIPs also learn real outlines from dyed images, which are too soft to learn
# generation from.
CLIP_MIXTURE = {"renders": 0.5, "photos": 0.3, "dyed": 0.2}
VISION_MIXTURE = {"renders": 0.25, "photos": 0.6, "dyed": 0.15}
SCORER_MIXTURE = {"scorer-renders": 0.5, "photos": 0.3, "scorer-dyed": 0.2}
DENOISER_MIXTURE = {"renders": 0.8, "photos": 0.2}
MIXTURES = {
    "teacher": CLIP_MIXTURE | SCORER_MIXTURE,
    "clip": CLIP_MIXTURE,
    "vision": VISION_MIXTURE,
    "scorer": SCORER_MIXTURE,
    "autoencoder": {"renders": 0.5, "photos": 0.5},
    "decoder": {"renders": 0.35, "photos": 0.35, "white": 0.3},
}
# Added to the seed for the scorer.
SCORER_SEED = 1_000
# A budget below this is a test's: a few images are measured.
QUICK_BUDGET = 1_200


@dataclass
class Pretraining:
    """One making of nano: where everything is, its seed and its budget in seconds.

    `luma` and `grocery` are only measured on.
    """

    photos: Path
    fashion_mnist: Path
    work: Path
    out: Path
    budget: float
    renders: int
    seed: int
    luma: Path | None = None
    grocery: Path | None = None

    def run(self, stage: str) -> None:
        """Runs a stage, the method of that name, unless it is finished."""
        if (self.work / stage / "done.json").exists():
            return
        self.stage = stage
        np.random.seed(self.stage_seed)
        torch.manual_seed(self.stage_seed)
        getattr(self, stage)()

    # ------------------------------------------------------------ stages

    def data(self) -> None:
        data.prepare(self.work / "data", self.photos, self.fashion_mnist, self.renders)
        if not (self.work / "tokenizer").exists():
            captions = Mixture(self.work / "data", CLIP_MIXTURE).captions()
            make_tokenizer(captions).save_pretrained(self.work / "tokenizer")

    def teacher(self) -> None:
        teacher.cache_features(self.work / "teacher", self.mixture)
        (self.work / "teacher" / "done.json").write_text("{}")

    def clip(self) -> None:
        loss = clip.Contrast(clip.make_clip(self.stage, self.tokenizer))
        self._train(loss, self._captioned(), lr=1e-3, decay=0.1)

    scorer = clip

    def vision(self) -> None:
        """More for the image tower alone: the denoiser has learned to read the text tower."""
        loss = clip.Contrast(clip.make_clip("clip", self.tokenizer))
        loss = distillation.Distillation(loop.load_trained(self.work / "clip", loss))
        crops = data.NewCrops(self.work / "data", self.mixture)
        network = teacher.OnlineTeacher(self.mixture)
        batches = distillation.batches(self.mixture, crops, self.tokenizer, network)
        self._train(loss, batches, lr=5e-4, decay=0.1)

    def autoencoder(self) -> None:
        loss = autoencoder.Reconstruction(autoencoder.make_autoencoder())
        photos = Images.load(self.work / "data" / "photos-test").pixels[:240:20, 0]

        def image(loss: autoencoder.Reconstruction) -> Image.Image:
            return autoencoder.round_trip_sheet(loss.vae, photos)

        self._train(loss, autoencoder.batches(self.mixture), image, lr=2e-3)

    def latents(self) -> None:
        vae = self._trained_autoencoder("autoencoder")
        renderings = self.mixture.sources["renders"].pixels
        rows = np.sort(np.random.permutation(len(renderings))[:2_000])
        autoencoder.fold_normalisation(vae, renderings[rows, 0])
        folder.rounded(vae).save_pretrained(self.work / "latents" / "vae")
        denoiser.cache_latents(self.work / "latents", self.mixture, vae)
        (self.work / "latents" / "done.json").write_text("{}")

    def decoder(self) -> None:
        """More for the decoder alone, with what shops do and neither source has.

        That is things cut out on pure white.
        """
        loss = autoencoder.Reconstruction(self._normalised_autoencoder()).lock_encoder()
        self._train(loss, autoencoder.batches(self.mixture), lr=1e-3)

    def states(self) -> None:
        (self.work / "states").mkdir(exist_ok=True)
        text = folder.text_tower(self._trained_clip("clip"))
        denoiser.cache_states(self.work / "states", self.mixture, text, self.tokenizer)
        (self.work / "states" / "done.json").write_text("{}")

    def denoiser(self) -> None:
        batches = denoiser.batches(self.work / "latents", self.work / "states", self.mixture)
        vae = self._normalised_autoencoder()
        text = folder.text_tower(self._trained_clip("clip"))

        def image(loss: denoiser.Denoise) -> Image.Image:
            return denoiser.sheet(folder.make_pipeline(loss.unet, vae, text, self.tokenizer))

        loss = denoiser.Denoise(self._make_unet())
        self._train(loss, batches, image, lr=1e-3, ema=0.999)

    def write(self) -> None:
        loss = denoiser.Denoise(self._make_unet())
        unet = folder.rounded(loop.load_trained(self.work / "denoiser", loss).unet)
        vae = folder.rounded(self._trained_autoencoder("decoder"))
        vision = self._trained_clip("vision")
        folder.write_pipeline(self.out / "nano", unet, vae, vision, self.tokenizer)
        folder.write_clip(self.out / "nano_scorer", self._trained_clip("scorer"), self.tokenizer)
        # How the base is used is chosen by hand, and stays.
        settings = self.out / "nano" / "base.yaml"
        if not settings.exists():
            shutil.copyfile(EMBEDDED / "nano" / "base.yaml", settings)

    def measure(self) -> None:
        sources = Sources(self.photos, self.luma, self.grocery, training=self.work / "data")
        sizes = QUICK if self.budget < QUICK_BUDGET else Sizes()
        measure(self.out, sources, self.work / "measured", sizes)
        origins = {"photos": self.photos, "fashion_mnist": self.fashion_mnist}
        card.write(self.work, self.out, origins)

    # ------------------------------------------------------------ what stages share

    @property
    def stage_seed(self) -> int:
        return self.seed + (SCORER_SEED if self.stage == "scorer" else 0)

    @cached_property
    def mixture(self) -> Mixture:
        shares = MIXTURES.get(self.stage, DENOISER_MIXTURE)
        taught = self.stage in ("teacher", "clip", "vision", "scorer")
        return Mixture(self.work / "data", shares, VIEWS + CROPS if taught else VIEWS)

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        return folder.load_tokenizer(self.work / "tokenizer")

    def _train(
        self,
        loss: nn.Module,
        batches: loop.MakeBatch,
        image: loop.MakeImage | None = None,
        **settings: float,
    ) -> None:
        seconds = SHARES[self.stage] * self.budget
        full = loop.Settings(seconds=seconds, seed=self.stage_seed, **settings)
        loop.train(self.work / self.stage, loss, batches, full, image)

    def _captioned(self) -> loop.MakeBatch:
        features = teacher.Teacher(self.work / "teacher", self.mixture)
        return clip.batches(self.mixture, self.tokenizer, features)

    def _trained_clip(self, name: str) -> CLIPModel:
        shape = "scorer" if name == "scorer" else "clip"
        loss = clip.Contrast(clip.make_clip(shape, self.tokenizer))
        if name == "vision":
            loop.load_trained(self.work / name, distillation.Distillation(loss))
        else:
            loop.load_trained(self.work / name, loss)
        return folder.rounded(loss.clip.eval())

    def _trained_autoencoder(self, name: str) -> AutoencoderKL:
        loss = autoencoder.Reconstruction(autoencoder.make_autoencoder())
        if name == "decoder":
            # Its critic is among the weights.
            loss = loss.lock_encoder()
        return loop.load_trained(self.work / name, loss).vae

    def _normalised_autoencoder(self) -> AutoencoderKL:
        return AutoencoderKL.from_pretrained(self.work / "latents" / "vae")

    def _make_unet(self) -> UNet2DConditionModel:
        return denoiser.make_unet(clip.SHAPES["clip"].text[0])
