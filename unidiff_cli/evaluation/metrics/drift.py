"""Drift: how far tuning moved the model from its base, in what captions mean and in what the denoiser answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from unidiff_cli.evaluation.collapse_meters import (
    denoiser_drift,
    drift,
    nonrigid_drift,
    relation_drift,
)
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs


class Drift(Metric):
    """Distances from the base, which are 0 for the base itself; method.md §6.

    Captions: those of the held-out rows. Relations and the denoiser: the neutral probe, so that what the catalogue asks to
    change does not count.
    """

    reads: ClassVar[frozenset[str]] = frozenset(
        {"text_embeds", "probe_image_embeds", "probe_text_embeds", "probe_predictions"}
    )
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "text_drift": FigureSpec("Drift of captions", "knowledge", "lower", headline=False),
        "text_drift_nonrigid": FigureSpec(
            "of it no rotation", "knowledge", "lower", headline=False
        ),
        "relation_drift": FigureSpec(
            "Drift of everyday objects' relations", "knowledge", "lower", headline=False
        ),
        "denoiser_drift": FigureSpec("Drift of the denoiser", "knowledge", "lower", headline=False),
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        before = outputs.before or outputs
        mine, theirs = outputs.text_embeds, before.text_embeds
        return {
            "text_drift": drift(mine, theirs),
            "text_drift_nonrigid": nonrigid_drift(mine, theirs),
            "relation_drift": relation_drift(
                outputs.probe_image_embeds,
                outputs.probe_text_embeds,
                before.probe_image_embeds,
                before.probe_text_embeds,
            ),
            "denoiser_drift": denoiser_drift(outputs.probe_predictions, before.probe_predictions),
        }

    def notes(self, outputs: ModelOutputs) -> list[str]:
        return [
            "Drifts are distances from the base and 0 for it: no target, a warning where they are large. A rotation of a whole "
            "tower changes nothing between captions; the part that is no rotation does."
        ]
