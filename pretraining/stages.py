"""The stages of nano's making: each reads and writes folders of --work, and is skipped when its own is finished."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from pretraining import autoencoder, card, clip, data, denoiser, folder, measure
from pretraining.data import Mixture
from pretraining.loop import fit, trained
from pretraining.tokenizer import make_tokenizer

# Shares of the budget; clip runs beside autoencoder and scorer, and what is left is for the caches and write.
SHARES = {"clip": 0.42, "autoencoder": 0.25, "scorer": 0.17, "denoiser": 0.50}
PHOTOS = {"clip": 0.4, "scorer": 0.4, "autoencoder": 0.5, "denoiser": 0.25}  # of a batch
SCORER_SEED = 1_000  # added to the seed


@dataclass
class Making:
    photos: Path
    work: Path
    out: Path
    budget: float  # seconds
    renders: int
    seed: int

    def run(self, stage: str) -> None:
        if (self.work / stage / "done.json").exists():
            return
        self.stage = stage
        seed = self.seed + (SCORER_SEED if stage == "scorer" else 0)
        np.random.seed(seed)
        torch.manual_seed(seed)
        getattr(self, stage)()

    def data(self) -> None:
        data.prepare(self.work / "data", self.photos, self.renders)
        if not (self.work / "tokenizer").exists():
            captions = (c for source in self.mixture.sources for words in source.captions for c in words)
            make_tokenizer(captions).save_pretrained(self.work / "tokenizer")

    def clip(self) -> None:
        self._fit(clip.Contrast(self._clip), clip.batches(self.mixture, self.tokenizer), lr=1e-3, decay=0.1)

    scorer = clip

    def autoencoder(self) -> None:
        loss = autoencoder.Reconstruction(autoencoder.make_autoencoder())
        self._fit(loss, autoencoder.batches(self.mixture), lr=2e-3)

    def latents(self) -> None:
        loss = autoencoder.Reconstruction(autoencoder.make_autoencoder())
        vae = trained(self.work / "autoencoder", loss).vae
        drawings = self.mixture.sources[0].pixels
        rows = np.sort(np.random.permutation(len(drawings))[:2_000])
        autoencoder.fold_normalisation(vae, drawings[rows, 0])
        folder.rounded(vae).save_pretrained(self.work / "latents" / "vae")
        denoiser.cache_latents(self.work / "latents", self.mixture, vae)
        (self.work / "latents" / "done.json").write_text("{}")

    def states(self) -> None:
        (self.work / "states").mkdir(exist_ok=True)
        text = folder.text_tower(self._trained_clip("clip"))
        denoiser.cache_states(self.work / "states", self.mixture, text, self.tokenizer)
        (self.work / "states" / "done.json").write_text("{}")

    def denoiser(self) -> None:
        batches = denoiser.batches(self.work / "latents", self.work / "states", self.mixture)
        self._fit(denoiser.Denoise(self._unet), batches, lr=1e-3, ema=0.999)

    def write(self) -> None:
        unet = folder.rounded(trained(self.work / "denoiser", denoiser.Denoise(self._unet)).unet)
        vae = AutoencoderKL.from_pretrained(self.work / "latents" / "vae")
        folder.write_pipeline(self.out / "nano", unet, vae, self._trained_clip("clip"), self.tokenizer)
        folder.write_clip(self.out / "nano_scorer", self._trained_clip("scorer"), self.tokenizer)

    def measure(self) -> None:
        measure.measure(self.work, self.out)
        card.write(self.work, self.out, self.seed)

    def _fit(self, loss: nn.Module, batches, **how) -> None:
        seed = self.seed + (SCORER_SEED if self.stage == "scorer" else 0)
        seconds = SHARES[self.stage] * self.budget
        fit(self.work / self.stage, loss, batches, seconds=seconds, seed=seed, **how)

    @cached_property
    def mixture(self) -> Mixture:
        return Mixture(self.work / "data", PHOTOS.get(self.stage, 0.5))

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        return folder.load_tokenizer(self.work / "tokenizer")

    @property
    def _clip(self) -> CLIPModel:
        return clip.make_clip(self.stage, self.tokenizer)

    def _trained_clip(self, name: str) -> CLIPModel:
        return folder.rounded(
            trained(self.work / name, clip.Contrast(clip.make_clip(name, self.tokenizer))).clip
        )

    @property
    def _unet(self):
        return denoiser.make_unet(clip.SHAPES["clip"]["text"][0])
