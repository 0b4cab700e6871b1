"""What an ImageNet network knows of nano's images: the features of EfficientNet-Lite0.

Vision towers learn to predict them beside their own loss. The network (Apache-2.0) is read from
its wheel, and nothing of it ends up in nano's files.
"""

from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pretraining.data import Mixture, Pick
from unidiff_cli import machine
from unidiff_cli.evaluation.extractors.efficientnet_lite0 import EfficientNetLite0

# Dyed images are enlarged from 28 px: no photos, so the network says nothing of them.
SOURCES = ("renders", "photos", "scorer-renders")
SIZE = EfficientNetLite0.feature_size
# Rows that are held in memory at a time.
BLOCK = 1024
# Photos that means and deviations are taken over, and that are seen at once.
COUNTED, CHUNK = 2048, 64


def cache_features(folder: Path, data: Mixture) -> None:
    """Features of every view that a mixture may show, one float16 array (N, V, 1280) a source.

    An array that is there already is left as it is.
    """
    folder.mkdir(exist_ok=True)
    network = EfficientNetLite0.read()
    for name in SOURCES:
        if (folder / f"{name}.npy").exists():
            continue
        pixels = data.sources[name].pixels
        n, views = len(pixels), min(data.views, pixels.shape[1])
        features = np.empty((n, views, SIZE), np.float16)
        for start in range(0, n, BLOCK):
            block = pixels[start : start + BLOCK, :views]
            images = chain.from_iterable(block)
            features[start : start + BLOCK] = network.features(images).reshape(
                len(block), views, SIZE
            )
        np.save(folder / "next.npy", features)
        (folder / "next.npy").rename(folder / f"{name}.npy")


class Teacher:
    """The cached features of a mixture's sources.

    Each dimension has zero mean and unit variance over all of their first views.
    """

    def __init__(self, folder: Path, data: Mixture):
        files = {name: folder / f"{name}.npy" for name in SOURCES if name in data.sources}
        self.features = {name: np.load(file, mmap_mode="r") for name, file in files.items()}
        rows = np.concatenate([f[:, 0].astype(np.float32) for f in self.features.values()])
        self.mean, self.std = rows.mean(0), rows.std(0) + 1e-3

    def of(self, picks: list[Pick]) -> tuple[Tensor, Tensor]:
        """Features (B, 1280) of picks, and 1 where there are any, 0 elsewhere, (B,)."""
        known = torch.tensor([float(p.source in self.features) for p in picks])
        features = np.zeros((len(picks), SIZE), np.float32)
        for i, p in enumerate(picks):
            if p.source in self.features:
                features[i] = (self.features[p.source][p.row, p.view] - self.mean) / self.std
        return torch.from_numpy(features), known


class OnlineTeacher:
    """The network, asked about photos at their own 128 px.

    Enlarged to 224 px they take four times as long, and neighbours are found no better. Features
    have zero mean and unit variance over a mixture's photos.
    """

    def __init__(self, data: Mixture):
        network = EfficientNetLite0.read().network
        self.network = network.to(memory_format=torch.channels_last)
        photos = data.sources["photos"].pixels
        rows = np.linspace(0, len(photos) - 1, min(COUNTED, len(photos))).astype(int)
        seen = self._features(photos[rows, 0])
        self.mean, self.std = seen.mean(0), seen.std(0) + 1e-3

    def of(self, pixels: np.ndarray, photo: np.ndarray) -> Tensor:
        """Features (B, 1280) of images (B, S, S, 3), 0..255, and zeros of those that are no photo.

        `photo` is (B,), bool.
        """
        features = torch.zeros(len(pixels), SIZE)
        features[photo] = (self._features(pixels[photo]) - self.mean) / self.std
        return features

    @torch.no_grad()
    def _features(self, pixels: np.ndarray) -> Tensor:
        parts, device = [torch.zeros(0, SIZE)], machine.device()
        for start in range(0, len(pixels), CHUNK):
            x = torch.from_numpy(pixels[start : start + CHUNK].astype(np.float32)).to(device)
            with torch.autocast(device.type, torch.bfloat16):
                parts.append(self.network((x.permute(0, 3, 1, 2) - 127) / 128).float().cpu())
        return torch.cat(parts)
