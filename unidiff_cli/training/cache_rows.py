"""Which rows of the cache a run reads of its images: their folders, and the keys of the rows.

A row is kept by the image's bytes, in a folder for everything else that its numbers depend on: the
sizes and the weights. So a new image costs a row, whatever else changed in the catalogue. Latents
in buckets lie in a folder for each size, whose rows are all of one shape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidiff_cli.data.buckets import Buckets, Size, grouped
from unidiff_cli.data.dataset import MIRRORED
from unidiff_cli.data.reads import Reads
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of
from unidiff_cli.data.stored_rows import StoredRows, StoredShapes
from unidiff_cli.models.needs import Needs
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.row_store import RowStore, keys_of
from unidiff_cli.training.share import WHOLE, Share

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

# CLIP's embeddings before it was trained, tensors of a batch.
FROZEN, FROZEN_TEXT = "frozen_image_embeds", "frozen_text_embeds"
# What comes before the size of a bucket in the name of its rows.
AT = "@"


def image_keys(rows: Sequence[Row]) -> Iterator[str]:
    """The sha256 of each row's image, in hex; of its id in shards that do not know it."""
    for content, name in zip(column_of(rows, "content"), column_of(rows, "id"), strict=True):
        yield content or hashlib.sha256(name.encode()).hexdigest()


def row_folder(project: Project, name: str, depends: Any) -> Path:
    """The folder of the rows of a name, all of which depend on the same."""
    return project.folder("cache") / "rows" / f"{name}-{digest(depends)}"


def buckets_of(buckets: Buckets, rows: Sequence[Row]) -> list[Size]:
    """The size in which a denoiser learns the image of each row."""
    sizes = zip(column_of(rows, "width"), column_of(rows, "height"), strict=True)
    return [buckets.nearest(width, height) for width, height in sizes]


def tensor_and_size(name: str) -> tuple[str, Size | None]:
    """The tensor of a batch and the bucket that a name of rows stands for: `latents@52x76`."""
    tensor, _, size = name.partition(AT)
    return tensor, Size.parse(size) if size else None


def row_folders(
    project: Project, base: BaseModel, needs: Needs, rows: Sequence[Row], mirrored: bool = False
) -> dict[str, Path]:
    """The folders of the rows of each tensor that is needed.

    In buckets there are latents of each size that some of `rows` have. Those of the square are the
    ones that a run without buckets reads: that bucket holds only images which are nearly square.
    """
    depends: dict[str, tuple[str, Any]] = {}
    if needs.clip_pixels:
        depends["clip_pixels"] = "clip_pixels", base.clip_preprocessing
    for size in _by_size(base, rows) if needs.latents else ():
        at = "" if size is None else f"{AT}{size}"
        own = [] if size is None or size.is_square else [list(size)]
        for tensor in ("latents", MIRRORED) if mirrored else ("latents",):
            depends[f"{tensor}{at}"] = tensor, [*base.latent_preprocessing, *own]
    if needs.frozen_image_embeds:
        depends[FROZEN] = FROZEN, [*base.clip_preprocessing, base.vision_hash]
    return {name: row_folder(project, *of) for name, of in depends.items()}


def _by_size(base: BaseModel, rows: Sequence[Row]) -> dict[Size | None, list[int]]:
    """The numbers of the rows of each bucket; of all under None where there are no buckets."""
    if base.buckets is None:
        return {None: list(range(len(rows)))} if len(rows) else {}
    return dict(grouped(buckets_of(base.buckets, rows)))


def missing_rows(
    project: Project,
    base: BaseModel,
    rows: Sequence[Row],
    needs: Needs,
    mirrored: bool = False,
    share: Share = WHOLE,
    reads: Reads | None = None,
) -> tuple[dict[str, Path], dict[str, set[str]]]:
    """The folders of rows by name, and the keys that each lacks of what is read, of this process's
    share."""
    folders = row_folders(project, base, needs, rows, mirrored)
    keys, of_size = list(image_keys(rows)), _by_size(base, rows)
    reads, missing = reads or Reads.all_of(len(rows)), {}
    for name, folder in folders.items():
        tensor, size = tensor_and_size(name)
        mask = reads.of_tensor(tensor)
        own = range(len(keys)) if size is None else of_size[size]
        missing[name] = missing_keys(folder, [keys[n] for n in own if mask[n]], share)
    return folders, missing


def missing_keys(folder: Path, keys: Sequence[str], share: Share = WHOLE) -> set[str]:
    """Which of some keys a store lacks, of this process's share."""
    places = RowStore(folder).places(keys_of(keys))
    lacking = (key for key, place in zip(keys, places, strict=True) if place < 0)
    return {key for key in lacking if share.has(int(key[:8], 16))}


def stored_tensors(
    folders: Mapping[str, Path],
    rows: Sequence[Row],
    base: BaseModel,
    reads: Reads | None = None,
) -> dict[str, StoredRows | StoredShapes]:
    """The stored tensors of a split's rows, by their names in a batch.

    Raises EnvironmentProblem where rows that are read are not there.
    """
    keys, reads = list(image_keys(rows)), reads or Reads.all_of(len(rows))
    stored: dict[str, StoredRows | StoredShapes] = {}
    in_buckets: dict[str, dict[Size, Path]] = {}
    for name, folder in folders.items():
        tensor, size = tensor_and_size(name)
        if size is None:
            stored[tensor] = StoredRows.of(folder, keys, reads.of_tensor(tensor))
        else:
            in_buckets.setdefault(tensor, {})[size] = folder
    if base.buckets and in_buckets:
        sizes = buckets_of(base.buckets, rows)
        for tensor, of_size in in_buckets.items():
            stored[tensor] = StoredShapes.of(of_size, sizes, keys, reads.of_tensor(tensor))
    return stored


def tidy_cache(folders: Mapping[str, Path], keys: Iterable[str]) -> None:
    """Deletes what these folders hold beyond bounds; `keys` are all that are still of use.

    No other process may use them meanwhile.
    """
    live = keys_of(set(keys))
    for folder in folders.values():
        RowStore(folder).tidy(live)
