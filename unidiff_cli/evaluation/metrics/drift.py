"""Drift: how far tuning moved the model from its base, in its embeddings and in the denoiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.evaluation.collapse_meters import (
    denoiser_drift,
    drift,
    nonrigid_drift,
    relation_drift,
)
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs

# Of 1,000: where the denoiser predicts.
TIMESTEPS = (50, 200, 400, 600, 800, 950)


class Drift(Metric):
    """Distances from the base, which are 0 for the base itself; method.md §6.

    Text drift is over the captions of the held-out rows. Relation drift and denoiser drift are over
    the neutral probe, so that what the catalogue is meant to change does not count.
    """

    place: ClassVar[int] = 150
    in_ablations: ClassVar[bool] = True
    plotted: ClassVar[tuple[str, ...]] = ("text_drift", "denoiser_drift")
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "text_drift": FigureSpec("Text drift", "knowledge", "lower", headline=False),
        "text_drift_nonrigid": FigureSpec(
            "Text drift beyond a rotation", "knowledge", "lower", headline=False
        ),
        "relation_drift": FigureSpec(
            "Relation drift on everyday objects", "knowledge", "lower", headline=False
        ),
        "denoiser_drift": FigureSpec("Denoiser drift", "knowledge", "lower", headline=False),
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        base = outputs.base_outputs or outputs
        return {
            "text_drift": drift(outputs.text_embeds, base.text_embeds),
            "text_drift_nonrigid": nonrigid_drift(outputs.text_embeds, base.text_embeds),
            "relation_drift": relation_drift(
                outputs.probe_image_embeds,
                outputs.probe_text_embeds,
                base.probe_image_embeds,
                base.probe_text_embeds,
            ),
            "denoiser_drift": denoiser_drift(self._predictions(outputs), self._predictions(base)),
        }

    def _predictions(self, outputs: ModelOutputs) -> np.ndarray:
        """The denoiser's predictions for fixed latents, timesteps and prompts, (n, c, h, w)."""
        return outputs.remember(self, "predictions", lambda: _denoiser_predictions(outputs))

    def notes(self, outputs: ModelOutputs) -> list[str]:
        return [
            "Drifts are distances from the base and 0 for it: no target, a warning where they are "
            "large. A rotation of a whole tower changes nothing between captions; the part beyond "
            "a rotation does."
        ]


def _denoiser_predictions(outputs: ModelOutputs) -> np.ndarray:
    """Of one noised image of each class of the probe, with its prompt.

    Models of one base share its autoencoder, so that all get the same latents.
    """
    import torch

    probe = outputs.eval_set.probe
    prompts, first = probe.prompts, np.unique(probe.labels, return_index=True)[1]
    images = [probe.images[i] for i in first]

    def make() -> np.ndarray:
        base = outputs.base
        generator = torch.Generator().manual_seed(0)
        parts = []
        with torch.no_grad():
            text = base.encode_text(prompts)
            z = base.encode_latents(base.diffusion_pixels(images)).mean
            for t in TIMESTEPS:
                noise = torch.randn(z.shape, generator=generator).to(z)
                step = t * len(base.schedule) // 1000
                times = torch.full((len(prompts),), step, device=base.device)
                z_t = base.schedule.add_noise(z, noise, times)
                parts.append(base.denoise(z_t, times, text).float().cpu())
        return torch.cat(parts).numpy()

    return outputs.array("drift.predictions", [prompts, probe.images_hash, TIMESTEPS], make)
