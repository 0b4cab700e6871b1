"""What a frozen ImageNet network sees of images: EfficientNet-Lite0's maps, compared and judged.

The distance is that of LPIPS (Zhang et al. 2018, arXiv 1801.03924) without its learned weights:
maps of unit length at every place, squared differences, the mean over places, the sum over layers.
The critic is a projected GAN's (Sauer et al. 2021, arXiv 2111.01007) without random projections.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unidiff_cli.evaluation.extractors.efficientnet_lite0 import EfficientNetLite0

# Blocks whose maps are compared: 1/2, 1/4, 1/8 and 1/16 of the image's side.
BLOCKS = (0, 2, 4, 7)
# Channels of their maps, and of what a critic makes of them.
WIDTHS = (16, 24, 40, 80)
INNER = 64


class Perceptual:
    """The network, which does not learn. It is no module, so that it is in no checkpoint."""

    def __init__(self, device: torch.device):
        network = EfficientNetLite0.read().network
        # Only the first blocks are read.
        del network._blocks[max(BLOCKS) + 1 :]
        self.network = network.to(device, memory_format=torch.channels_last)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w) of images (B, 3, H, W) in -1..1, of unit length at every place."""
        with torch.autocast(x.device.type, torch.bfloat16):
            # 0..255 becomes (p - 127) / 128.
            x = self.network.stem(x * (127.5 / 128) + 0.5 / 128)
            maps = []
            for number, block in enumerate(self.network._blocks):
                x = block(x)
                if number in BLOCKS:
                    maps.append(nn.functional.normalize(x.float(), dim=1))
        return maps


def distance(real: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """How unlike the maps of two batches of images are, a scalar."""
    pairs = zip(real, other, strict=True)
    return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).sum()


class Critic(nn.Module):
    """Learns to tell images from what an autoencoder makes of them, by their maps."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, INNER, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(INNER, 1, 1)
            )
            for width in WIDTHS
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Higher where the images look real: one number for each place of each map, (n,)."""
        judged = (head(part) for head, part in zip(self.heads, maps, strict=True))
        return torch.cat([each.flatten() for each in judged])

    def loss(self, real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
        """Its hinge loss; nothing is learned by what made the images."""
        real, made = self([m.detach() for m in real]), self([m.detach() for m in made])
        return nn.functional.relu(1 - real).mean() + nn.functional.relu(1 + made).mean()

    def deceived(self, made: Sequence[Tensor]) -> Tensor:
        """The loss of what made the images; the critic learns nothing by it."""
        weights = {name: part.detach() for name, part in self.named_parameters()}
        return -torch.func.functional_call(self, weights, (made,)).mean()
