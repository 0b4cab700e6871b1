"""What a frozen ImageNet network sees of two images: EfficientNet-Lite0's maps compared.

As LPIPS (Zhang et al. 2018, arXiv 1801.03924) without its learned weights: maps of unit length at
every place, squared differences, the mean over places, the sum over layers.
"""

import torch
from torch import Tensor, nn

from unidiff_cli.evaluation.extractors.efficientnet_lite0 import EfficientNetLite0

# Blocks whose maps are compared: 1/2, 1/4, 1/8 and 1/16 of the image's side.
BLOCKS = (0, 2, 4, 7)


class Perceptual:
    """The distance of two batches of images (B, 3, H, W) in -1..1; its network does not learn.

    It is no module, so that it is in no checkpoint.
    """

    def __init__(self, device: torch.device):
        network = EfficientNetLite0.read().network
        # Only the first blocks are read.
        del network._blocks[max(BLOCKS) + 1 :]
        self.network = network.to(device, memory_format=torch.channels_last)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """A scalar, with a gradient to `y`."""
        with torch.no_grad():
            real = self._maps(x)
        total = x.new_zeros(())
        for a, b in zip(real, self._maps(y), strict=True):
            total = total + (a - b).square().sum(1).mean()
        return total

    def _maps(self, x: Tensor) -> list[Tensor]:
        with torch.autocast(x.device.type, torch.bfloat16):
            # 0..255 becomes (p - 127) / 128.
            x = self.network.stem(x * (127.5 / 128) + 0.5 / 128)
            maps = []
            for number, block in enumerate(self.network._blocks):
                x = block(x)
                if number in BLOCKS:
                    maps.append(nn.functional.normalize(x.float(), dim=1))
        return maps
