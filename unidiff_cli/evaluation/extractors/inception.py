"""Inception as FID has it: the TorchScript file that StyleGAN and clean-fid share, the one exception to safetensors only.

It is run code, so it is opened only from a path the person names and only when it is byte for byte the known file.
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


BATCH = 16  # images the network sees at once: more is no faster on a processor, and takes memory


class Inception:
    """2,048 features of images, as clean-fid extracts them: its resize to 299 px, pixels (x − 128)/128."""

    name, features, image_size = "Inception-v3 (2015-12-05)", 2048, 299
    caution = ""

    def __init__(self, script: Any, fingerprint: str) -> None:
        from cleanfid.resize import make_resizer

        self._device = machine.device()
        # As clean-fid, `layers` and not the script's own forward, which resizes again. Frozen and channels last they
        # take 94 ms an image of one core's time where the script as it is takes 149 (random weights, torch 2.14).
        layers = script.layers.to(self._device, memory_format=torch.channels_last).eval()
        self._layers = torch.jit.freeze(layers)
        self.fingerprint = fingerprint
        self._resize = make_resizer("PIL", False, "bicubic", (self.image_size, self.image_size))

    @classmethod
    def read(cls, path: Path) -> Inception:
        """Raises UsageError for a path without a file, EnvironmentProblem for a file that is not the known one."""
        if not path.is_file():
            raise UsageError(
                f"evaluate.inception names {path}, and there is no such file.",
                "Give inception-2015-12-05.pt.",
            )
        if (sha := file_digest(path)) != SHA256:
            raise EnvironmentProblem(
                f"{path} is not inception-2015-12-05.pt: its sha256 is {sha[:12]}…, not {SHA256[:12]}….",
                "It holds code, so nothing else is run. Fetch that file, or leave evaluate.inception empty.",
            )
        return cls(torch.jit.load(str(path), map_location="cpu"), sha[:16])

    def features_of(self, images: Iterable[Any]) -> np.ndarray:
        """Features (N, 2048), float32, of images of any size, squeezed to 299 px as clean-fid does.

        An image is an array (H, W, 3) or of PIL. One that PIL has opened and not read is decoded here: in threads,
        as the squeeze, a batch ahead of the network.
        """
        rest = iter(images)
        with ThreadPoolExecutor(machine.cores()) as threads:

            def begin() -> list[Future[np.ndarray]]:
                return [threads.submit(self._squeeze, image) for image in islice(rest, BATCH)]

            soon, found = begin(), [np.empty((0, self.features), np.float32)]
            while now := soon:
                soon = begin()
                found.append(self._look(np.stack([future.result() for future in now])))
        return np.concatenate(found)

    def _squeeze(self, image: Any) -> np.ndarray:
        """(299, 299, 3), float32, 0..255."""
        return self._resize(np.asarray(image.convert("RGB") if isinstance(image, Image) else image))

    @torch.inference_mode()
    def _look(self, pixels: np.ndarray) -> np.ndarray:
        """Features (B, 2048) of squeezed images (B, 299, 299, 3)."""
        x = (
            torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2)
        )  # (B, 3, 299, 299), channels last
        return self._layers((x - 128) / 128).reshape(len(x), self.features).float().cpu().numpy()
