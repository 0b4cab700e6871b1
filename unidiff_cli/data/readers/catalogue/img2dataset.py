"""What img2dataset writes: `00000.parquet` with `key` and `status`, `00000/000000000.jpg`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.sample import Reason, Rejected, Sample
from unidiff_cli.errors import UsageError

KEY, STATUS, SUCCESS = "key", "status", "success"


def with_key(options: Prepare, names: Collection[str]) -> Prepare:
    """The options for a table of these columns: img2dataset names files by `key`, not by `url`."""
    if options.columns.image is not None or not {KEY, STATUS} <= set(names):
        return options
    columns = options.columns.model_copy(update={"image": KEY})
    return options.model_copy(update={"columns": columns})


def failure(cells: Mapping[str, Any]) -> Reason | None:
    """Why img2dataset has no image of a row, where it says so."""
    status = cells.get(STATUS)
    if not isinstance(status, str) or not status.startswith("failed"):
        return None
    return Reason(
        f"never downloaded: img2dataset says {status[:40]} "
        f"(leave such rows out: --set prepare.where.{STATUS}={SUCCESS})"
    )


def are_addresses(items: Sequence[Sample | Rejected]) -> bool:
    """Whether all images of a table's rows are web addresses that are not read."""
    return bool(items) and all(
        isinstance(item, Rejected) and "web address" in item.reason.text for item in items
    )


def unclear(table: str) -> UsageError:
    """What is wrong with a table of web addresses that images lie beside."""
    return UsageError(
        f"{table} names its images by web address, and no column says which of the images "
        "in the catalogue is which.",
        "Keep what img2dataset writes beside them: 00000.parquet with its column key, or a .txt or "
        ".json of every image. Then leave this table out.",
    )
