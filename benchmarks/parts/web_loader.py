"""webdataset's own loader over our shards: raw samples, training tensors, and skipping."""

import json
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

Made = tuple[Tensor, list[Any]]


class WebLoader:
    """`wds.WebLoader` over tars, in batches, in the order of their bytes."""

    def __init__(self, tars: list[str], batch_size: int) -> None:
        self.tars, self.batch_size = tars, batch_size

    def raw(self, workers: int = 0) -> Iterator[list[tuple[str, bytes, bytes]]]:
        """Key, image and text of each sample as they are stored; the text is not parsed."""
        stages = self._opened().to_tuple("__key__", "jpg", "json")
        return self._loaded(stages.batched(self.batch_size, collation_fn=list), workers)

    def by_pillow(self, side: int, workers: int = 0) -> Iterator[Made]:
        """Images decoded by Pillow, cut to a side by torchvision on Pillow's images."""
        cut = v2.Compose([_resized(side), v2.CenterCrop(side), v2.PILToTensor()])
        return self._decoded("pil", cut, workers)

    def by_tensors(self, side: int, workers: int = 0) -> Iterator[Made]:
        """Images decoded by Pillow to uint8 tensors, cut to a side as such."""
        cut = v2.Compose([_resized(side), v2.CenterCrop(side)])
        return self._decoded("torchrgb8", cut, workers)

    def skipped(self, batches: int) -> Made:
        """The batch behind so many, the samples before it read and left out undecoded."""
        first = batches * self.batch_size
        opened = self._opened().slice(first, first + self.batch_size)
        images, texts = zip(*opened.decode("torchrgb8").to_tuple("jpg", "json"), strict=True)
        return torch.stack(images), list(texts)

    def _opened(self) -> Any:
        import webdataset

        return webdataset.WebDataset(self.tars, shardshuffle=False)

    def _decoded(self, how: str, cut: Any, workers: int) -> Iterator[Made]:
        stages = self._opened().decode(how).to_tuple("jpg", "json").map_tuple(cut, _itself)
        return self._loaded(stages.batched(self.batch_size), workers)

    def _loaded(self, stages: Any, workers: int) -> Iterator[Any]:
        import webdataset

        return iter(webdataset.WebLoader(stages, batch_size=None, num_workers=workers))


def sums_of(batches: Iterator[list[tuple[str, bytes, bytes]]]) -> dict[str, tuple[int, str]]:
    """By key the CRC of the image and the caption."""
    return {
        key: (zlib.crc32(image), json.loads(text)["caption"])
        for batch in batches
        for key, image, text in batch
    }


def tensors_of(batches: Iterator[Made], count: int) -> Tensor:
    """The images of the first batches, as one tensor."""
    return torch.cat([images for images, _ in islice(batches, count)])


def _resized(side: int) -> v2.Resize:
    return v2.Resize(side, v2.InterpolationMode.BICUBIC, antialias=True)


def _itself(value: Any) -> Any:
    return value
