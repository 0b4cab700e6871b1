"""Inception: the network of FID, in the TorchScript file that StyleGAN and clean-fid share.

TorchScript is code, the one exception to safetensors only. So the file is opened only from a path
that the person names, and only if it is byte for byte the known one.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from unidiff_cli import machine
from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.project.files import file_digest

# inception-2015-12-05.pt of NVIDIA's StyleGAN, which k-diffusion and others check by the same hash.
SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
# Images that the network sees at once: more is no faster on a processor, and takes memory.
BATCH = 16


class Inception:
    """The extractor of clean-fid: its resize to 299 px, pixels (x − 128)/128, 2,048 features."""

    name = "Inception-v3 (2015-12-05)"
    caution = ""
    image_size = 299
    feature_size = 2048

    def __init__(self, script: Any, weights_hash: str) -> None:
        from cleanfid.resize import make_resizer

        self._device = machine.device()
        # As clean-fid, `layers` and not the script's own forward, which resizes again. Frozen and
        # channels last they take 94 ms an image of one core's time where the script as it is takes
        # 149 (random weights, torch 2.14).
        layers = script.layers.to(self._device, memory_format=torch.channels_last).eval()
        self._layers = torch.jit.freeze(layers)
        self.weights_hash = weights_hash
        self._resize = make_resizer("PIL", False, "bicubic", (self.image_size, self.image_size))

    @classmethod
    def read(cls, path: Path) -> Inception:
        """Reads the known file.

        Raises UsageError if it is missing, EnvironmentProblem if it is another file.
        """
        if not path.is_file():
            raise UsageError(
                f"evaluate.inception names {path}, and there is no such file.",
                "Give inception-2015-12-05.pt.",
            )
        if (sha := file_digest(path)) != SHA256:
            raise EnvironmentProblem(
                f"{path} is not inception-2015-12-05.pt: "
                f"its sha256 is {sha[:12]}…, not {SHA256[:12]}….",
                "It holds code, so nothing else is run. "
                "Fetch that file, or leave evaluate.inception empty.",
            )
        return cls(torch.jit.load(str(path), map_location="cpu"), sha[:16])

    def features(self, images: Iterable[Image | np.ndarray]) -> np.ndarray:
        """Features (N, 2048), float32, of images of any size, resized to 299 px as clean-fid does.

        An image that PIL has opened and not read is decoded here. Decoding and resizing run in
        threads, a batch ahead of the network.
        """
        rest = iter(images)
        with ThreadPoolExecutor(machine.cores()) as threads:

            def submit() -> list[Future[np.ndarray]]:
                return [threads.submit(self.resized, image) for image in islice(rest, BATCH)]

            upcoming, parts = submit(), [np.empty((0, self.feature_size), np.float32)]
            while batch := upcoming:
                upcoming = submit()
                parts.append(self.forward(np.stack([future.result() for future in batch])))
        return np.concatenate(parts)

    def resized(self, image: Image | np.ndarray) -> np.ndarray:
        """An image as the network reads it, (299, 299, 3), float32, 0..255."""
        return self._resize(np.asarray(image.convert("RGB") if isinstance(image, Image) else image))

    @torch.inference_mode()
    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """Features (B, 2048) of resized images (B, 299, 299, 3)."""
        # (B, 3, 299, 299), channels last.
        x = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2)
        features = self._layers((x - 128) / 128).reshape(len(x), self.feature_size)
        return features.float().cpu().numpy()
