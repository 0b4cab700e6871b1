"""Watch: a run's collapse meters, taken at every validation and held against those of its base.

The cheap ones of `metrics.collapse`, on two probes: the validation split, and drawings of everyday objects that no shop
shows. What the base made of both is kept in the run's folder before the first step, so a resumed run is held against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from unidiff_cli.data.captions import number_distinct
from unidiff_cli.evaluation.classification import classify
from unidiff_cli.evaluation.collapse_meters import (
    drift,
    effective_rank,
    flags,
    meters,
    retention,
    uniformity,
)
from unidiff_cli.evaluation.probe import ProbeSet
from unidiff_cli.models.encoders import embed_captions

if TYPE_CHECKING:
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base


FILE = "base_embeds.safetensors"  # what the base made of both probes
NEUTRAL = "probe_"
Embeds = Mapping[str, np.ndarray]

probe = cache(ProbeSet.drawn)  # a second and a half, once a process


class CollapseMonitor:
    """Meters of a model beside its base's. `tripped` names the meters that were warned of, once each."""

    def __init__(
        self, base: Base, captions: Sequence[str], folder: Path, images: np.ndarray | None
    ) -> None:
        """`base` as it is before the first step, the N held-out captions, and its embeddings (N, D) of their images."""
        from safetensors.numpy import load_file, save_file

        self.own = np.array(number_distinct(captions))  # (N,)
        self.captions = [
            captions[i] for i in np.unique(self.own, return_index=True)[1]
        ]  # (C,) distinct
        self.pixels = base.clip_pixels(probe().images)  # (P, 3, s, s)
        self.tripped: list[str] = []
        self.known = (folder / FILE).is_file()
        if not self.known:
            save_file(dict(self._embeds(base, images)), folder / FILE)
        self.before = load_file(folder / FILE)
        self.base_meters = self._meters(self.before)

    def look(self, model: Base, images: np.ndarray | None) -> tuple[dict[str, float], list[str]]:
        """The meters of a model, and a sentence for each that tripped for the first time. `images` (N, D) unit."""
        found = self._meters(self._embeds(model, images))
        said = []
        for prefix, where in (("", "the validation split"), (NEUTRAL, "everyday objects")):
            own, theirs = _of(prefix, found), _of(prefix, self.base_meters)
            for flag in flags(theirs, own):
                if flag.raised and prefix + flag.meter not in self.tripped:
                    self.tripped.append(prefix + flag.meter)
                    said.append(
                        f"{where}: {flag.rule.words} ({flag.meter} {flag.tuned:.3g}, the base's {flag.base:.3g})"
                    )
        return found, said

    @torch.no_grad()
    def _embeds(self, model: Base, images: np.ndarray | None) -> Embeds:
        seen = [model.image(some).cpu().numpy() for some in self.pixels.split(64)]
        return {
            "text": embed_captions(model, self.captions),
            "probe_image": np.concatenate(seen),
            "probe_text": embed_captions(model, probe().prompts),
        } | ({} if images is None else {"image": images})

    def _meters(self, now: Embeds) -> dict[str, float]:
        found: dict[str, float] = {}
        if len(self.captions) > 1:
            found |= _spread(now["text"], "text")
            found["text_drift"] = drift(now["text"], self.before["text"])
            if "image" in now:
                found |= meters(now["image"], now["text"], self.own)
        labels = probe().labels
        now_right, before_right = (
            float((classify(e["probe_image"], e["probe_text"], labels) == labels).mean())
            for e in (now, self.before)
        )
        neutral = _spread(now["probe_image"], "image") | _spread(now["probe_text"], "text")
        kept = retention(now_right, before_right, 1 / len(probe().classes))
        neutral |= {"accuracy": now_right} | ({} if np.isnan(kept) else {"retention": kept})
        return found | {NEUTRAL + key: value for key, value in neutral.items()}


def _spread(x: np.ndarray, side: str) -> dict[str, float]:
    return {f"uniformity_{side}": uniformity(x), f"effective_rank_{side}": effective_rank(x)}


def _of(prefix: str, found: Mapping[str, float]) -> dict[str, float]:
    """The meters of one probe, by their own names."""
    if prefix:
        return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
    return {k: v for k, v in found.items() if not k.startswith(NEUTRAL)}
