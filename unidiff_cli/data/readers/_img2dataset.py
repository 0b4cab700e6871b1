"""What img2dataset writes: `00000.parquet` with `key` and `status`, `00000/000000000.jpg`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unidiff_cli.data.locations import Location
from unidiff_cli.data.sample import Reason, Rejected, Sample
from unidiff_cli.errors import UsageError

STATUS, SUCCESS = "status", "success"


def failure(cells: Mapping[str, Any]) -> Reason | None:
    """Why img2dataset has no image of a row, where it says so."""
    status = cells.get(STATUS)
    if not isinstance(status, str) or not status.startswith("failed"):
        return None
    return Reason(
        f"never downloaded: img2dataset says {status[:40]} "
        f"(leave such rows out: --set prepare.where.{STATUS}={SUCCESS})"
    )


def explain(table: Location, items: Sequence[Sample | Rejected]) -> UsageError | None:
    """What is wrong with a table whose images are web addresses, though images lie beside it."""
    addresses = [
        item for item in items if isinstance(item, Rejected) and "web address" in item.reason.text
    ]
    if not items or len(addresses) < len(items) or not _has_images(table):
        return None
    return UsageError(
        f"{table.name} names its images by web address, and no column says which of the images "
        "beside it is which.",
        "Keep what img2dataset writes beside them: 00000.parquet with its column key, or a .txt or "
        ".json of every image. Then leave this table out.",
    )


def _has_images(table: Location) -> bool:
    try:
        return any(entry.is_folder for entry in table.parent.entries())
    except OSError:
        return False
