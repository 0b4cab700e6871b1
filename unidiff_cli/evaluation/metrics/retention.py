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
    def compute(self, evidence: ModelOutputs) -> dict[str, float]:
        accuracy = float(self._hits(evidence).mean())
        before = float(self._hits(evidence.before).mean()) if evidence.before else accuracy
        kept = retention(accuracy, before, self._chance(evidence))
        found = {"probe_accuracy": accuracy} | ({} if np.isnan(kept) else {"retention": kept})
        if evidence.held.photos:
            told, first = self._photos(evidence), self._photos(evidence.before or evidence)
            kept = retention(told.accuracy, first.accuracy, told.chance)
            found |= {"photo_accuracy": told.accuracy, "photo_balanced": told.balanced}
            found |= {} if np.isnan(kept) else {"photo_retention": kept}
        return found

    def items(self, evidence: ModelOutputs) -> dict[str, PerItem]:
        hits = self._hits(evidence)
        found = {"probe_accuracy": PerItem(hits, np.arange(len(hits)))}
        if photos := evidence.held.photos:
            hits = (self._answers(evidence) == photos.labels).astype(float)
            found["photo_accuracy"] = PerItem(hits, np.arange(len(hits)))
        return found

    def references(self, evidence: ModelOutputs) -> dict[str, dict[str, float]]:
        found = {"probe_accuracy": self._chance(evidence)}
        if photos := evidence.held.photos:
            found |= dict.fromkeys(("photo_accuracy", "photo_balanced"), 1 / len(photos.classes))
        return {"chance": found}

    def shows(self, evidence: ModelOutputs) -> dict[str, Any]:
        probe = evidence.held.probe
        told = classify(evidence.probe_image_embeds, evidence.probe_text_embeds, probe.labels)
        found = confusion(probe.labels, told, probe.classes)
        return {"matrix": found.matrix.tolist(), "values": list(found.values)}

    def _hits(self, evidence: ModelOutputs) -> np.ndarray:
        labels = evidence.held.probe.labels
        told = classify(evidence.probe_image_embeds, evidence.probe_text_embeds, labels)
        return (told == labels).astype(float)

    def _answers(self, evidence: ModelOutputs) -> np.ndarray:
        """The class that each photo is told to be, int (N,)."""
        assert evidence.held.photos
        return classify(
            evidence.photo_image_embeds, evidence.photo_text_embeds, evidence.held.photos.labels
        )

    def _photos(self, evidence: ModelOutputs) -> Confusion:
        photos = evidence.held.photos
        assert photos
        return confusion(photos.labels, self._answers(evidence), photos.classes)

    def _chance(self, evidence: ModelOutputs) -> float:
        return 1 / len(evidence.held.probe.classes)

    def notes(self, evidence: ModelOutputs) -> list[str]:
        probe = evidence.held.probe
        said = [
            f"{len(probe.pictures)} drawings of {len(probe.classes)} everyday objects, told by “{probe.prompts[0]}” and the like. "
            "A base that learned from photos only may tell drawings badly: then look at its column first."
        ]
        if photos := evidence.held.photos:
            said.append(
                f"{len(photos.pictures):,} photos of {len(photos.classes)} classes, told by “{photos.prompts[0]}” and the like."
            )
        if "retention" not in self.compute(evidence):
            said.append(
                "The base tells them no better than chance: it has nothing to keep, and no ρ is given."
            )
        return said
