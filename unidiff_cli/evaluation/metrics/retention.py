"""Retention: how much of the base's general knowledge, outside the catalogue, is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.evaluation.classification import Confusion, Predictions, classify, confusion
from unidiff_cli.evaluation.collapse_meters import retention
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.probe import ProbeSet
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import Details, FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs


class Retention(Metric):
    """Zero-shot accuracy on renderings of everyday objects, and what is left of the base's.

    Retention is ρ = (accuracy − chance)/(the base's accuracy − chance): method.md §6. A base at
    chance has nothing to lose, and no ρ is given. `evaluate.probe` adds the same for photos of
    known classes.
    """

    place: ClassVar[int] = 130
    in_ablations: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "probe_accuracy": FigureSpec(
            "Zero-shot accuracy on everyday objects", "knowledge", "higher", percent=True
        ),
        "retention": FigureSpec(
            "General-knowledge retention", "knowledge", "higher", headline=False
        ),
        "photo_accuracy": FigureSpec(
            "Zero-shot accuracy on photos", "knowledge", "higher", percent=True
        ),
        "photo_balanced": FigureSpec(
            "Zero-shot accuracy on photos, mean of classes",
            "knowledge",
            "higher",
            percent=True,
            headline=False,
        ),
        "photo_retention": FigureSpec(
            "General-knowledge retention on photos", "knowledge", "higher", headline=False
        ),
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return outputs.remember(self, "figures", lambda: self._figures(outputs))

    def _figures(self, outputs: ModelOutputs) -> dict[str, float]:
        base = outputs.base_outputs or outputs
        objects, base_objects = self._objects(outputs).confusion, self._objects(base).confusion
        values = {"probe_accuracy": objects.accuracy}
        values |= _without_nan("retention", _retention(objects, base_objects))
        if outputs.eval_set.photos:
            photos, base_photos = self._photos(outputs).confusion, self._photos(base).confusion
            values |= {"photo_accuracy": photos.accuracy, "photo_balanced": photos.balanced}
            values |= _without_nan("photo_retention", _retention(photos, base_photos))
        return values

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        # Images of a class share its prompt: they are right and wrong together.
        objects = self._objects(outputs)
        items = {"probe_accuracy": PerItem(objects.hits, objects.labels)}
        if outputs.eval_set.photos:
            photos = self._photos(outputs)
            items["photo_accuracy"] = PerItem(photos.hits, photos.labels)
        return items

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        chance = {"probe_accuracy": 1 / len(outputs.eval_set.probe.classes)}
        if photos := outputs.eval_set.photos:
            chance |= dict.fromkeys(("photo_accuracy", "photo_balanced"), 1 / len(photos.classes))
        return {"chance": chance}

    def details(self, outputs: ModelOutputs) -> Details:
        confusion = self._objects(outputs).confusion
        return Details(confusions=[confusion.as_detail("everyday objects")])

    def _objects(self, outputs: ModelOutputs) -> Predictions:
        """The predicted class of each everyday object."""
        return _predictions(
            outputs.eval_set.probe, outputs.probe_image_embeds, outputs.probe_text_embeds
        )

    def _photos(self, outputs: ModelOutputs) -> Predictions:
        """The predicted class of each photo of `evaluate.probe`."""

        def make() -> Predictions:
            photos = outputs.eval_set.photos
            assert photos
            images = outputs.embed_images("retention.photos", photos.images, photos.images_hash)
            prompts = outputs.embed_captions("retention.prompts", photos.prompts)
            return _predictions(photos, images, prompts)

        return outputs.remember(self, "photos", make)

    def notes(self, outputs: ModelOutputs) -> list[str]:
        probe = outputs.eval_set.probe
        notes = [
            f"{len(probe.images)} renderings of {len(probe.classes)} everyday objects, classified "
            f"by “{probe.prompts[0]}” and the like. A base that learned from photos only may "
            "classify renderings badly: then look at its column first."
        ]
        if photos := outputs.eval_set.photos:
            notes.append(
                f"{len(photos.images):,} photos of {len(photos.classes)} classes, classified by "
                f"“{photos.prompts[0]}” and the like."
            )
        if "retention" not in self.compute(outputs):
            notes.append(
                "The base classifies them no better than chance: it has nothing to lose, "
                "and no retention is given."
            )
        return notes


def _predictions(probe: ProbeSet, images: np.ndarray, prompts: np.ndarray) -> Predictions:
    """The nearest prompt (K, D) of each image (N, D), unit embeddings."""
    predicted = classify(images, prompts, probe.labels)
    counts = confusion(probe.labels, predicted, probe.classes)
    return Predictions(np.arange(len(images)), probe.labels, predicted, counts)


def _retention(tuned: Confusion, base: Confusion) -> float:
    return retention(tuned.accuracy, base.accuracy, tuned.chance)


def _without_nan(key: str, value: float) -> dict[str, float]:
    return {} if np.isnan(value) else {key: value}
