"""What is measured while training: held-out losses, retrieval and collapse meters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unidiff_cli import signals
from unidiff_cli.data.batch import Batch
from unidiff_cli.data.dataset import Samples, loader
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of
from unidiff_cli.evaluation.metrics.image_recall import query_count, search_by_image
from unidiff_cli.evaluation.metrics.recall import recall_both_ways
from unidiff_cli.models.encoders import CLIP, EncoderName, encoder_of
from unidiff_cli.objectives import trained_encoder
from unidiff_cli.training.collapse_monitor import CollapseMonitor
from unidiff_cli.training.module import TrainingModule


@dataclass(frozen=True)
class Validated:
    """Losses and recall by name, collapse meters by name, and a sentence for each that tripped."""

    figures: dict[str, float]
    meters: dict[str, float]
    tripped: list[str]


class Validation:
    """Measures a module, with the weights it has, on held-out samples; two at least."""

    def __init__(self, module: TrainingModule, held_out: Samples) -> None:
        self.module, self.held_out = module, held_out
        self.captions = [captions[0] for captions in column_of(held_out.rows, "captions")]
        self.monitor: CollapseMonitor | None = None

    @property
    def queries(self) -> dict[str, int]:
        """How many queries each direction's R@1 is the mean over."""
        return directions(self.held_out.rows)

    def watch_collapse(self, folder: Path) -> None:
        """Measures the base's collapse meters into a run's folder, where CLIP trains.

        Call it before the first step, and before a checkpoint is loaded.
        """
        towers = self.module.base.parameter_groups()
        if any(p.requires_grad for p in [*towers["vision"], *towers["text"]]):
            self.module.eval()
            images = self._clip_embeds()
            self.monitor = CollapseMonitor(self.module.base, self.captions, folder, images)

    def measure(self) -> Validated:
        """All figures of the module as it stands, with fixed noise. A signal raises Interrupted."""
        figures = mean_losses(self.module, self._batches())
        images = self._clip_embeds()
        encoder = trained_encoder(self.module.objectives.values())
        embeds = images
        if images is None and encoder is not None:
            embeds = self._embeds(encoder)
        if embeds is not None:
            texts = encoder_of(self.module.base).embed_captions(self.captions)
            figures |= recall_both_ways(embeds, texts, self.captions, self.module.base.window.same)
            if search := search_by_image(embeds, *images_of(self.held_out.rows)):
                figures |= {key: float(values.mean()) for key, values in search.values().items()}
        if self.monitor is None:
            return Validated(figures, {}, [])
        return Validated(figures, *self.monitor.measure(self.module.base, images))

    def _clip_embeds(self) -> np.ndarray | None:
        """CLIP's embeddings of the held-out images, (N, D), where an objective reads them."""
        return self._embeds(CLIP) if self.module.needs.clip_pixels else None

    def _embeds(self, name: EncoderName) -> np.ndarray:
        """Unit embeddings of the held-out images by an image encoder, (N, D)."""
        encoder = encoder_of(self.module.base, name)
        return np.concatenate([encoder.embed_batch(b).cpu().numpy() for b in self._batches()])

    def _batches(self) -> Iterator[Batch]:
        for batch in loader(self.held_out, range(len(self.held_out))):
            signals.check(even_held=True)
            yield batch


def images_of(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """The rows' groups, and what tells their images apart."""
    names = zip(column_of(rows, "content"), column_of(rows, "id"), strict=True)
    return list(column_of(rows, "group")), [content or name for content, name in names]


def directions(rows: Sequence[Row]) -> dict[str, int]:
    """How many queries the R@1 of each direction has that held-out rows can measure."""
    counts = {"r1_t2i": len(rows), "r1_i2t": len(rows)}
    images = query_count(*images_of(rows))
    return counts | ({"r1_i2i": images} if images else {})


@torch.no_grad()
def mean_losses(module: TrainingModule, batches: Iterator[Batch]) -> dict[str, float]:
    """The mean of the total and every part over held-out samples."""
    module.eval()
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for batch in batches:
        size = len(batch.rows)
        # A lone sample has no negative and no neighbour.
        if size < 2:
            continue
        total, parts = module(batch)
        # Not every batch has every figure.
        for name, value in {"loss": total, **parts}.items():
            sums[name] = sums.get(name, 0.0) + float(value) * size
            counts[name] = counts.get(name, 0) + size
    return {name: value / counts[name] for name, value in sums.items()}
