"""What earlier runs of prepare left: images that were decoded, shards that were written."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.decode import kept_by
from unidiff_cli.data.kept_images import KeptImages
from unidiff_cli.data.shard_units import ShardUnits
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Damaged, NotReady, WorkError
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt

# Where both lie until the shards are finished.
CACHE, IMAGES, SHARDS = "cache", "images", "unfinished-shards"


def kept_work(project: Project, options: Prepare, anew: bool) -> tuple[KeptImages, ShardUnits]:
    """What earlier runs decoded and wrote; `anew` nothing of it is used."""
    earlier = None if anew else _finished_shards(project)
    kept = kept_images(project, options, earlier)
    units = ShardUnits(project.path(CACHE, SHARDS), earlier, kept.damaged)
    if anew:
        kept.clear()
        units.release()
    kept.tidy()
    return kept, units


def kept_images(project: Project, options: Prepare, earlier: Shards | None = None) -> KeptImages:
    """The images that earlier runs decoded; those of finished shards where these are given."""
    project.folder(CACHE)
    return KeptImages(project.path(CACHE, IMAGES), kept_by(options), earlier)


def release(project: Project) -> None:
    """Lets go of what was kept for shards that are finished, where a kill came before that."""
    packs = project.path(CACHE, IMAGES).glob("*.bin")
    if any(packs) or project.path(CACHE, SHARDS).is_dir():
        with project.lock():
            KeptImages(project.path(CACHE, IMAGES), "").release()
            ShardUnits(project.path(CACHE, SHARDS)).release()


def mark_damaged(project: Project, contents: Collection[str], settings: dict[str, Any]) -> None:
    """Marks images of the shards as damaged. Raises WorkError where others would come instead."""
    receipt = Receipt.read(project.path("shards"))
    with project.lock():
        project.folder(CACHE)
        KeptImages(project.path(CACHE, IMAGES), "").mark_damaged(contents)
    if receipt is None or not receipt.same_work(settings, {}):
        raise WorkError(
            "The catalogue is not as it was when the shards were made.",
            "Prepare it as it is now, damaged images too: unidiff prepare CATALOGUE",
        )


def _finished_shards(project: Project) -> Shards | None:
    """The shards that are there; None where there are none, or they are not whole."""
    try:
        shards = Shards.of(project)
    except (NotReady, Damaged):
        return None
    # Those at a storage are not fetched for what they may hold.
    return shards if shards.has_tars() else None
