"""Denoise loss: how well the denoiser predicts on held-out images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs

# Timesteps of an image, one from each of so many equal parts of the schedule.
TIMESTEPS = 4


class DenoiseLoss(Metric):
    """The mean squared error of the base's own target (ε or v) on `denoise_rows`.

    Unweighted, so it is not the min-SNR loss that training logs. Each image has TIMESTEPS timesteps
    and its first caption, which is never dropped; noise and timesteps are equal for every model.
    """

    place: ClassVar[int] = 160
    in_ablations: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "denoise_loss": FigureSpec("Held-out denoise loss", "generation", "lower", headline=False)
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"denoise_loss": float(self._errors(outputs).mean())}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        groups = [row.group for row in outputs.eval_set.denoise_rows]
        return {"denoise_loss": PerItem(self._errors(outputs), groups)}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        return [
            "The denoiser's squared error, unweighted, over "
            f"{len(self._errors(outputs)):,} held-out images at four timesteps each; "
            "the same noise for every model. Comparable between models of one base only."
        ]

    def _errors(self, outputs: ModelOutputs) -> np.ndarray:
        """The mean squared error of each image over its timesteps, (n,)."""
        return outputs.remember(self, "errors", lambda: _denoise_errors(outputs))


def _denoise_errors(outputs: ModelOutputs) -> np.ndarray:
    eval_set = outputs.eval_set
    rows, seed = eval_set.denoise_rows, eval_set.evaluate.seed

    def make(start: int, stop: int) -> np.ndarray:
        # A batch of the denoiser may be smaller than the chunk that is stored at a time.
        size = eval_set.evaluate.batch_size
        parts = [_batch_errors(outputs, i, min(i + size, stop)) for i in range(start, stop, size)]
        return np.concatenate(parts)

    depends = [eval_set.shards_hash, [row.id for row in rows], seed, TIMESTEPS]
    return outputs.rows("denoise_loss.errors", depends, len(rows), make)


def _batch_errors(outputs: ModelOutputs, start: int, stop: int) -> np.ndarray:
    """The errors of rows start … stop − 1, (B,)."""
    import torch

    from unidiff_cli.models.keyed_random import keyed_random

    eval_set, count = outputs.eval_set, TIMESTEPS
    base, places, errors = outputs.base, list(range(start, stop)), []
    z = torch.from_numpy(np.array(outputs.latents[start:stop])).to(base.device)  # (B, c, h, w)
    with torch.no_grad():
        captions = [row.captions[0] for row in eval_set.denoise_rows[start:stop]]
        text = base.encode_text(captions)
        for k in range(count):
            u = keyed_random(eval_set.evaluate.seed, k, places, "t", (), uniform=True)
            t = base.schedule.timesteps((k + u) / count).to(base.device)
            eps = keyed_random(eval_set.evaluate.seed, k, places, "noise", tuple(z.shape[1:])).to(
                base.device
            )
            prediction = base.denoise(base.schedule.add_noise(z, eps, t), t, text)
            off = prediction - base.schedule.target(z, eps, t)
            errors.append(off.float().square().mean(dim=(1, 2, 3)).cpu())
    return torch.stack(errors).mean(dim=0).double().numpy()
