"""Retention: is what the base knew outside of the catalogue still there? Everyday objects, and photos of
known classes, told by prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unidiff_cli.evaluation.classification import Confusion, classify, confusion
from unidiff_cli.evaluation.collapse_meters import retention
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem, once

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs


class Retention(Metric):
    """Zero-shot accuracy on a neutral probe, drawings of everyday objects that no shop of clothes shows.

    The figure is the share told right; beside it ρ = (accuracy − chance)/(the base's − chance), what is left of the
    base's knowledge: method.md §6. A base that tells the probe at chance has nothing to keep, and no ρ is given.
    `evaluate.probe` adds the same for photos of known classes.
    """

    reads: ClassVar[frozenset[str]] = frozenset(
        {"probe_image_embeds", "probe_text_embeds", "photo_image_embeds", "photo_text_embeds"}
    )
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "probe_accuracy": FigureSpec("Everyday objects told", "knowledge", "higher", percent=True),
        "retention": FigureSpec("Retention ρ", "knowledge", "higher", headline=False),
        "photo_accuracy": FigureSpec("Photos told", "knowledge", "higher", percent=True),
        "photo_balanced": FigureSpec(
            "Photos told, mean of classes", "knowledge", "higher", percent=True, headline=False
        ),
        "photo_retention": FigureSpec(
            "Retention ρ of photos", "knowledge", "higher", headline=False
        ),
    }

    @once
    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        accuracy = float(self._hits(outputs).mean())
        before = float(self._hits(outputs.before).mean()) if outputs.before else accuracy
        kept = retention(accuracy, before, self._chance(outputs))
        found = {"probe_accuracy": accuracy} | ({} if np.isnan(kept) else {"retention": kept})
        if outputs.eval_set.photos:
            told, first = self._photos(outputs), self._photos(outputs.before or outputs)
            kept = retention(told.accuracy, first.accuracy, told.chance)
            found |= {"photo_accuracy": told.accuracy, "photo_balanced": told.balanced}
            found |= {} if np.isnan(kept) else {"photo_retention": kept}
        return found

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        hits = self._hits(outputs)
        found = {"probe_accuracy": PerItem(hits, np.arange(len(hits)))}
        if photos := outputs.eval_set.photos:
            hits = (self._answers(outputs) == photos.labels).astype(float)
            found["photo_accuracy"] = PerItem(hits, np.arange(len(hits)))
        return found

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        found = {"probe_accuracy": self._chance(outputs)}
        if photos := outputs.eval_set.photos:
            found |= dict.fromkeys(("photo_accuracy", "photo_balanced"), 1 / len(photos.classes))
        return {"chance": found}

    def details(self, outputs: ModelOutputs) -> dict[str, Any]:
        probe = outputs.eval_set.probe
        told = classify(outputs.probe_image_embeds, outputs.probe_text_embeds, probe.labels)
        found = confusion(probe.labels, told, probe.classes)
        return {"matrix": found.matrix.tolist(), "values": list(found.values)}

    def _hits(self, outputs: ModelOutputs) -> np.ndarray:
        labels = outputs.eval_set.probe.labels
        told = classify(outputs.probe_image_embeds, outputs.probe_text_embeds, labels)
        return (told == labels).astype(float)

    def _answers(self, outputs: ModelOutputs) -> np.ndarray:
        """The class that each photo is told to be, int (N,)."""
        assert outputs.eval_set.photos
        return classify(
            outputs.photo_image_embeds, outputs.photo_text_embeds, outputs.eval_set.photos.labels
        )

    def _photos(self, outputs: ModelOutputs) -> Confusion:
        photos = outputs.eval_set.photos
        assert photos
        return confusion(photos.labels, self._answers(outputs), photos.classes)

    def _chance(self, outputs: ModelOutputs) -> float:
        return 1 / len(outputs.eval_set.probe.classes)

    def notes(self, outputs: ModelOutputs) -> list[str]:
        probe = outputs.eval_set.probe
        said = [
            f"{len(probe.images)} drawings of {len(probe.classes)} everyday objects, told by “{probe.prompts[0]}” and the like. "
            "A base that learned from photos only may tell drawings badly: then look at its column first."
        ]
        if photos := outputs.eval_set.photos:
            said.append(
                f"{len(photos.images):,} photos of {len(photos.classes)} classes, told by “{photos.prompts[0]}” and the like."
            )
        if "retention" not in self.compute(outputs):
            said.append(
                "The base tells them no better than chance: it has nothing to keep, and no ρ is given."
            )
        return said
