"""The collapse meters of a run, measured at every validation and compared with its base's.

They are the cheap ones of the metric `collapse`, on two sets of images: the validation split, and
renderings of everyday objects that no shop shows. The base's embeddings of both are kept in the
run's folder before the first step, so a resumed run is compared with them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.captions import number_distinct
from unidiff_cli.errors import Damaged
from unidiff_cli.evaluation.classification import classify
from unidiff_cli.evaluation.collapse_meters import (
    PROBE,
    drift,
    effective_rank,
    flags,
    meters,
    retention,
    uniformity,
)
from unidiff_cli.evaluation.probe import ProbeSet
from unidiff_cli.models.base import DualEncoder
from unidiff_cli.models.encoders import ClipEncoder
from unidiff_cli.project import checkpoints
from unidiff_cli.reports.schema import Probe

# The base's embeddings of both sets: a folder beside the checkpoints, and the file in it.
FOLDER, GROUP = "base", "embeds"
# What the meters are taken on, and how a warning names it.
PLACES: Mapping[Probe, str] = {
    "catalogue": "the validation split",
    "everyday objects": "everyday objects",
}
Embeds = Mapping[str, np.ndarray]

logger = logging.getLogger("unidiff")


@cache
def probe() -> ProbeSet:
    """The everyday objects, rendered once a process, which takes a second and a half."""
    return ProbeSet.everyday_objects()


class CollapseMonitor:
    """Meters of a model beside its base's.

    `tripped` names the meters that were warned of, once each, as `Flag.name` does.
    """

    def __init__(
        self, base: DualEncoder, captions: Sequence[str], folder: Path, images: np.ndarray | None
    ) -> None:
        """`base` before the first step, the N held-out captions, and its embeddings (N, D) of
        their images."""
        # The number of each row's caption among the C distinct ones, (N,).
        self.caption_of = np.array(number_distinct(captions, base.window.same))
        first = np.unique(self.caption_of, return_index=True)[1]
        self.captions = [captions[i] for i in first]
        self.tripped: list[str] = []
        stored = _stored(folder / "checkpoints")
        self.before = stored or self._embeds(base, images)
        # Else the base was measured before, by the run that this one continues.
        if stored is None:
            tensors = {name: torch.from_numpy(array) for name, array in self.before.items()}
            checkpoints.save(folder / "checkpoints", FOLDER, {GROUP: tensors}, {})
        self.base_meters = self._meters(self.before)

    def measure(
        self, model: DualEncoder, images: np.ndarray | None
    ) -> tuple[dict[str, float], list[str]]:
        """The meters of a model, and a sentence for each that tripped for the first time.

        `images` (N, D) are its embeddings of the held-out images.
        """
        measured, sentences = self._meters(self._embeds(model, images)), []
        for probe_name, place in PLACES.items():
            for flag in flags(self.base_meters, measured, probe_name):
                if flag.raised and flag.name not in self.tripped:
                    self.tripped.append(flag.name)
                    sentences.append(f"{place}: {flag.sentence}")
        return measured, sentences

    def _embeds(self, model: DualEncoder, images: np.ndarray | None) -> Embeds:
        encoder = ClipEncoder(model)
        embeds = {
            "text": encoder.embed_captions(self.captions),
            "probe_image": encoder.embed_images(probe().images),
            "probe_text": encoder.embed_captions(probe().prompts),
        }
        return embeds if images is None else {**embeds, "image": images}

    def _meters(self, embeds: Embeds) -> dict[str, float]:
        measured: dict[str, float] = {}
        if len(self.captions) > 1:
            measured |= _spread(embeds["text"], "text")
            measured["text_drift"] = drift(embeds["text"], self.before["text"])
            if "image" in embeds:
                measured |= meters(embeds["image"], embeds["text"], self.caption_of)
        neutral = _spread(embeds["probe_image"], "image") | _spread(embeds["probe_text"], "text")
        neutral["accuracy"] = _accuracy(embeds)
        chance = 1 / len(probe().classes)
        retained = retention(neutral["accuracy"], _accuracy(self.before), chance)
        if not np.isnan(retained):
            neutral["retention"] = retained
        return measured | {PROBE + name: value for name, value in neutral.items()}


def _stored(folder: Path) -> Embeds | None:
    """The base's embeddings that the run wrote; None where they are missing or damaged."""
    try:
        checkpoints.verified(folder / FOLDER)
    except Damaged:
        return None
    tensors = checkpoints.tensors(folder / FOLDER, GROUP)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _accuracy(embeds: Embeds) -> float:
    """The share of everyday objects whose class is recognised."""
    labels = probe().labels
    predicted = classify(embeds["probe_image"], embeds["probe_text"], labels)
    return float((predicted == labels).mean())


def _spread(x: np.ndarray, side: str) -> dict[str, float]:
    return {f"uniformity_{side}": uniformity(x), f"effective_rank_{side}": effective_rank(x)}


def warn_of_collapse(line: Mapping[str, Any], recipe: Recipe) -> None:
    """Says which meters tripped at a validation, by its line of the log, and what helps."""
    if any(term.keeps_base and term.weight for term in recipe.active().values()):
        keep = "blend the export with the base: unidiff export --alpha auto"
    else:
        keep = "keep more of the base: --set objectives.anchor.weight=1"
    for sentence in line.get("tripped", ()):
        logger.warning(f"Step {line['step']}, {sentence}. Lower train.lr, or {keep}")
