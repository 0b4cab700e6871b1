"""Frozen networks that turn images into features for the metrics. None of them is ever trained here."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from unidiff_cli import machine

if TYPE_CHECKING:
    from unidiff_cli.evaluation.extractors.nano_scorer import Scorer


@cache
def scorer() -> Scorer:
    """The independent frozen scorer that comes with unidiff, loaded once. Raises EnvironmentProblem."""
    from unidiff_cli.evaluation.extractors import nano_scorer

    return nano_scorer.Scorer.read(nano_scorer.FOLDER).to(machine.device())
