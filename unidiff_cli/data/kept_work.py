"""What earlier runs of prepare left: images that were decoded, shards that were written."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data.decode import kept_by
from unidiff_cli.data.kept_images import KeptImages
from unidiff_cli.data.refusals import checked_folder
from unidiff_cli.data.shard_units import ShardUnits
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Damaged, NotReady, WorkError
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt


def kept_work(project: Project, options: Prepare, anew: bool) -> tuple[KeptImages, ShardUnits]:
    """What earlier runs decoded and wrote; `anew` nothing of it is used."""
    folder = checked_folder(project)
    earlier = None if anew else _finished_shards(project)
    kept = KeptImages(folder / "images", kept_by(options), earlier)
    units = ShardUnits(folder / "shards", earlier, kept.damaged)
    if anew:
        kept.clear()
        units.release()
    kept.tidy()
    return kept, units


def mark_damaged(project: Project, contents: Collection[str], settings: dict[str, Any]) -> None:
    """Marks images of the shards as damaged. Raises WorkError where others would come instead."""
    receipt = Receipt.read(project.path("shards"))
    with project.lock():
        KeptImages(checked_folder(project) / "images", "").mark_damaged(contents)
    if receipt is None or not receipt.same_work(settings, {}):
        raise WorkError(
            "The catalogue is not as it was when the shards were made.",
            "Prepare it as it is now, damaged images too: unidiff prepare CATALOGUE",
        )


def _finished_shards(project: Project) -> Shards | None:
    """The shards that are there; None where there are none, or they are not whole."""
    try:
        return Shards.open(project.path("shards"))
    except (NotReady, Damaged):
        return None
