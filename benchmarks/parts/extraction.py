"""Inception features of JPEG files, from the file on, beside clean-fid and the network alone.

The network is clean-fid's wrapper of the same TorchScript file.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import set_start_method
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measurement import in_turns, medians, ratio, relative_difference
from unidiff_cli.evaluation.metrics.fid import frechet
from unidiff_cli.machine import cores

# The name that clean-fid opens.
WEIGHTS = "inception-2015-12-05.pt"


@dataclass(frozen=True)
class Extraction:
    """`workers` are those of clean-fid's loader, one run each: 12 is its default."""

    images: int = 96
    workers: tuple[int, ...] = (12, 2, 0)
    rounds: int = 5

    def measure(self) -> dict[str, float]:
        """Times, features that must be equal, and the network's share of the machine."""
        import torch

        torch.set_num_threads(cores())
        # clean-fid's loader can be handed to a worker in no other way.
        set_start_method("fork", force=True)
        with tempfile.TemporaryDirectory() as folder:
            files = write_photos(Path(folder), self.images)
            flops = save_random_inception(Path(folder))
            candidates = _Candidates(files, Path(folder))
            spent, results = in_turns(candidates.by_name(self.workers), self.rounds)
            resize_difference = candidates.resize_difference()
        # The best of each round.
        clean_fid = np.min([spent[f"clean_fid_{n}_workers"] for n in self.workers], axis=0)
        features, expected = results["ours"], results["clean_fid_0_workers"]
        half = len(files) // 2
        fid, expected_fid = (frechet(x[:half], x[half:]) for x in (features, expected))
        network_seconds = np.median(spent["forward"])
        return {
            "images": len(files),
            **medians(spent),
            "images_a_second": len(files) / np.median(spent["ours"]),
            **ratio("times_clean_fid", clean_fid, spent["ours"]),
            **ratio("of_forward", spent["forward"], spent["ours"]),
            "resize_difference": resize_difference,
            "feature_difference": relative_difference(features, expected),
            "fid": fid,
            "fid_difference": abs(fid / expected_fid - 1),
            "forward_gflops": flops * len(files) / network_seconds / 1e9,
        }


class _Candidates:
    """What is timed in turns: our extractor, clean-fid's, and each network on resized images."""

    def __init__(self, files: list[str], folder: Path):
        import torch
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        from unidiff_cli.evaluation.extractors.inception import Inception

        self.files = files
        resize = build_resizer("clean")
        self.resized = np.stack([resize(np.array(Image.open(f).convert("RGB"))) for f in files])
        self.clean_fid = InceptionV3W(str(folder), download=False).eval()
        self.ours = Inception(torch.jit.load(str(folder / WEIGHTS)), "random")
        # As clean-fid's loader collates.
        self.channels_first = torch.from_numpy(self.resized).permute(0, 3, 1, 2).contiguous()

    def by_name(self, workers: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
        """The candidates; both networks were warmed up."""
        # TorchScript rewrites itself in the first calls.
        self._forward()
        self._forward_clean_fid()
        return {
            "ours": lambda: self.ours.features(Image.open(file) for file in self.files),
            "forward": self._forward,
            **{f"clean_fid_{n}_workers": partial(self._read_clean_fid, n) for n in workers},
            "clean_fid_forward": self._forward_clean_fid,
        }

    def resize_difference(self) -> float:
        """The largest difference between our resized images and clean-fid's."""
        ours = np.stack([self.ours.resized(Image.open(file)) for file in self.files])
        return float(np.abs(ours - self.resized).max())

    def _forward(self) -> list[np.ndarray]:
        from unidiff_cli.evaluation.extractors.inception import BATCH

        starts = range(0, len(self.resized), BATCH)
        return [self.ours.forward(self.resized[i : i + BATCH]) for i in starts]

    def _forward_clean_fid(self) -> list[np.ndarray]:
        import torch

        with torch.no_grad():
            return [self.clean_fid(x).numpy() for x in self.channels_first.split(32)]

    def _read_clean_fid(self, workers: int) -> np.ndarray:
        import torch
        from cleanfid.fid import get_files_features

        return get_files_features(
            self.files,
            self.clean_fid,
            num_workers=workers,
            batch_size=32,
            device=torch.device("cpu"),
            verbose=False,
        )


def write_photos(folder: Path, count: int) -> list[str]:
    """JPEG files of 256 to 512 px, as heavy as photos.

    The second half is of other colours and finer grain.
    """
    files = []
    for i in range(count):
        rng, second = np.random.default_rng(i), i >= count // 2
        width, height = (int(side) for side in rng.choice((256, 320, 384, 448, 512), 2))
        x = np.zeros((height, width, 3))
        for cells, weight in ((3, 0.6), (12, 0.35), (48, 0.2), (192, 0.1 + 0.1 * second)):
            noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
            enlarged = noise.resize((width, height), Image.Resampling.BICUBIC)
            x += weight * (np.asarray(enlarged).astype(float) - 127)
        x += (110, 120, 150) if second else (150, 130, 120)
        files.append(str(folder / f"{i:04d}.jpg"))
        Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def save_random_inception(folder: Path) -> float:
    """Saves an untrained Inception as WEIGHTS, called as NVIDIA's file is.

    Gives the FLOPs it takes an image. Weights of He et al. (arXiv 1502.01852) carry both the signal
    and its rounding through 48 layers as trained ones do. torchvision's own let the signal die, and
    with batch statistics the rounding grows a hundredfold on the way.
    """
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode
    from torchvision.models import inception_v3

    class Script(nn.Module):
        def __init__(self, layers: nn.Module) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
            return self.layers((x - 128) / 128)

    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, aux_logits=False)
    # Its children stand in the order of its forward; after the pooling come a dropout and the
    # classes.
    children = [child for name, child in network.named_children() if name not in ("dropout", "fc")]
    layers = nn.Sequential(*children, nn.Flatten())
    for layer in layers.eval().modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layers(torch.zeros(1, 3, 299, 299))
    torch.jit.save(torch.jit.script(Script(layers).eval()), str(folder / WEIGHTS))
    return counter.get_total_flops()
