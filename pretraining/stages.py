"""The stages of nano's making: each reads and writes folders of --work, and is skipped when its own is finished."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from pretraining import autoencoder, card, clip, data, denoiser, folder
from pretraining import measure as measure_module
from pretraining.data import Mixture
from pretraining.loop import fit, trained
from pretraining.tokenizer import make_tokenizer
from unidiff_cli.models import sources as sources_module

# Shares of the budget; clip runs beside autoencoder and scorer, and what is left is for the caches and write.
SHARES = {
    "clip": 0.36,
    "autoencoder": 0.20,
    "scorer": 0.12,
    "denoiser": 0.62,
    "vision": 0.17,
    "decoder": 0.1,
}
# Of a batch. The CLIPs also learn real outlines from dyed images, which are too soft to draw from.
READ = {"renders": 0.5, "photos": 0.3, "dyed": 0.2}
DRAWN = {"renders": 0.8, "photos": 0.2}
MIXTURES = {
    "clip": READ,
    "vision": READ,
    "scorer": READ,
    "autoencoder": {"renders": 0.5, "photos": 0.5},
}
MIXTURES["decoder"] = {"renders": 0.35, "photos": 0.35, "white": 0.3}
SCORER_SEED = 1_000  # added to the seed


@dataclass
class Making:
    photos: Path
    fashion_mnist: Path
    work: Path
    out: Path
    budget: float  # seconds
    renders: int
    seed: int
    luma: Path | None = None  # only measured on
    grocery: Path | None = None

    def run(self, stage: str) -> None:
        if (self.work / stage / "done.json").exists():
            return
        self.stage = stage
        seed = self.seed + (SCORER_SEED if stage == "scorer" else 0)
        np.random.seed(seed)
        torch.manual_seed(seed)
        getattr(self, stage)()

    def data(self) -> None:
        data.prepare(self.work / "data", self.photos, self.fashion_mnist, self.renders)
        if not (self.work / "tokenizer").exists():
            sources = Mixture(self.work / "data", READ).sources.values()
            captions = (c for source in sources for words in source.captions for c in words)
            make_tokenizer(captions).save_pretrained(self.work / "tokenizer")

    def clip(self) -> None:
        self._fit(
            clip.Contrast(self._clip),
            clip.batches(self.mixture, self.tokenizer),
            lr=1e-3,
            decay=0.1,
        )

    scorer = clip

    def vision(self) -> None:
        """More of the same for the image tower alone: the denoiser has learned to read the text tower as it is."""
        loss = trained(
            self.work / "clip", clip.Contrast(clip.make_clip("clip", self.tokenizer))
        ).lock_text()
        self._fit(loss, clip.batches(self.mixture, self.tokenizer), lr=5e-4, decay=0.1)

    def autoencoder(self) -> None:
        loss = autoencoder.Reconstruction(autoencoder.make_autoencoder())
        photos = data.Images.load(self.work / "data" / "photos-test").pixels[:240:20, 0]

        def image(loss):
            return autoencoder.round_trip(loss.vae, photos)

        self._fit(loss, autoencoder.batches(self.mixture), lr=2e-3, image=image)

    def latents(self) -> None:
        loss = autoencoder.Reconstruction(autoencoder.make_autoencoder())
        vae = trained(self.work / "autoencoder", loss).vae
        drawings = self.mixture.sources["renders"].pixels
        rows = np.sort(np.random.permutation(len(drawings))[:2_000])
        autoencoder.fold_normalisation(vae, drawings[rows, 0])
        folder.rounded(vae).save_pretrained(self.work / "latents" / "vae")
        denoiser.cache_latents(self.work / "latents", self.mixture, vae)
        (self.work / "latents" / "done.json").write_text("{}")

    def decoder(self) -> None:
        """More for the decoder alone, with what shops do and neither source has: things cut out on pure white."""
        vae = AutoencoderKL.from_pretrained(self.work / "latents" / "vae")
        loss = autoencoder.Reconstruction(vae).lock_encoder()
        self._fit(loss, autoencoder.batches(self.mixture), lr=1e-3)

    def states(self) -> None:
        (self.work / "states").mkdir(exist_ok=True)
        text = folder.text_tower(self._trained_clip("clip"))
        denoiser.cache_states(self.work / "states", self.mixture, text, self.tokenizer)
        (self.work / "states" / "done.json").write_text("{}")

    def denoiser(self) -> None:
        batches = denoiser.batches(self.work / "latents", self.work / "states", self.mixture)
        vae = AutoencoderKL.from_pretrained(self.work / "latents" / "vae")
        text = folder.text_tower(self._trained_clip("clip"))

        def image(loss):
            return denoiser.sheet(folder.make_pipeline(loss.unet, vae, text, self.tokenizer))

        self._fit(denoiser.Denoise(self._unet), batches, lr=1e-3, ema=0.999, image=image)

    def write(self) -> None:
        unet = folder.rounded(trained(self.work / "denoiser", denoiser.Denoise(self._unet)).unet)
        loss = autoencoder.Reconstruction(autoencoder.make_autoencoder())
        vae = folder.rounded(trained(self.work / "decoder", loss).vae)
        folder.write_pipeline(
            self.out / "nano", unet, vae, self._trained_clip("vision"), self.tokenizer
        )
        folder.write_clip(self.out / "nano_scorer", self._trained_clip("scorer"), self.tokenizer)
        numbers = self.out / "nano" / "base.yaml"  # how it is used is chosen by hand, and kept
        if not numbers.exists():
            shutil.copyfile(sources_module.EMBEDDED / "nano" / "base.yaml", numbers)

    def measure(self) -> None:
        measured = {"photos": self.photos, "luma": self.luma, "grocery": self.grocery}
        quick = self.budget < 1200
        measure_module.measure(
            self.out,
            **measured,
            out=self.work / "measured",
            training=self.work / "data",
            quick=quick,
        )
        card.write(
            self.work, self.out, {"photos": self.photos, "fashion_mnist": self.fashion_mnist}
        )

    def _fit(self, loss: nn.Module, batches, **how) -> None:
        seed = self.seed + (SCORER_SEED if self.stage == "scorer" else 0)
        seconds = SHARES[self.stage] * self.budget
        fit(self.work / self.stage, loss, batches, seconds=seconds, seed=seed, **how)

    @cached_property
    def mixture(self) -> Mixture:
        reads = self.stage in ("clip", "vision", "scorer")
        views = data.VIEWS + (data.CROPS if reads else 0)
        return Mixture(self.work / "data", MIXTURES.get(self.stage, DRAWN), views)

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        return folder.load_tokenizer(self.work / "tokenizer")

    @property
    def _clip(self) -> CLIPModel:
        return clip.make_clip(self.stage, self.tokenizer)

    def _trained_clip(self, name: str) -> CLIPModel:
        shape = "scorer" if name == "scorer" else "clip"
        return folder.rounded(
            trained(self.work / name, clip.Contrast(clip.make_clip(shape, self.tokenizer))).clip
        )

    @property
    def _unet(self):
        return denoiser.make_unet(clip.SHAPES["clip"]["text"][0])
