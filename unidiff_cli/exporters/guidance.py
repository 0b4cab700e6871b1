"""The guidance that an export gets: chosen on the run's validation split, or its base's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.evaluation.guidance import choose_guidance
from unidiff_cli.models.guidance_file import GuidanceFile, own_guidance
from unidiff_cli.progress import Progress
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

logger = logging.getLogger("unidiff")


def export_guidance(
    project: Project,
    trained: Receipt,
    recipe: Recipe,
    base: BaseModel,
    choose: bool,
    on_progress: Progress | None = None,
) -> GuidanceFile:
    """The guidance of a base that holds a run's weights, and why; says it where it was to choose.

    `trained` is the receipt of the run. Without `choose`, or where the images that it was validated
    on are gone, it is the base's own.
    """
    if not choose:
        return _own(base, "the base's own; it was not asked to choose one")
    prepared = project.known("shards")
    if prepared is None or prepared.hash != trained.inputs.get("shards"):
        guidance = _own(base, "the base's own: the shards of its run are gone")
    else:
        shards = Shards.of(project)
        guidance = choose_guidance(shards, recipe, base.to(machine.device()), on_progress)
    logger.info(f"guidance {guidance.guidance}: {guidance.reason}")
    return guidance


def _own(base: BaseModel, reason: str) -> GuidanceFile:
    return GuidanceFile(guidance=own_guidance(base.source)[0], reason=reason)
