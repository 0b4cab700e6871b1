"""Makes the batches of a run: it picks the samples of step k and turns images into tensors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from unidiff_cli import machine, processes
from unidiff_cli.data.alike_order import AlikeOrder, block_size
from unidiff_cli.data.augmentation import Augmentation
from unidiff_cli.data.batch import Batch, Transform, image_of
from unidiff_cli.data.by_shape import Maps, put
from unidiff_cli.data.captions import same_text
from unidiff_cli.data.distinct_order import DistinctOrder
from unidiff_cli.data.order import (
    PairedOrder,
    shuffled_index,
    subsample,
    subsample_position,
    text_id,
)
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import Rows, column_of, taken
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.stored_rows import StoredRows, StoredShapes
from unidiff_cli.errors import EnvironmentProblem

# Batches that each loader process reads ahead.
AHEAD = 4
# The tensors that only the rows of the denoiser have.
DENOISED = ("latents", "diffusion_pixels")
# The latents of mirrored images, which take the place of the others' in a batch.
MIRRORED = "mirrored_latents"


Order = Literal["shuffled", "distinct", "views", "listed"]


@dataclass(frozen=True)
class BatchPlan:
    """How many samples make a batch, in which order, and which of them this process takes.

    `order` is "shuffled" (anew each epoch), "distinct" (shuffled, no two of one group or caption in
    a batch as far as they allow), "views" (shuffled, samples of a group in pairs) or "listed" (each
    row once, as given). Blocks of `alike` of a batch hold samples of one key (0: no blocks), which
    goes with "shuffled" and "views". The denoiser sees `denoise_batch` of a step's samples, evenly
    spread; 0: all.
    """

    batch_size: int
    seed: int
    order: Order = "shuffled"
    denoise_batch: int = 0
    rank: int = 0
    world: int = 1
    alike: float = 0.0

    @property
    def share(self) -> int:
        """The samples of a step on one process."""
        return self.batch_size // self.world


@dataclass
class PriorDataset:
    """A second stream beside a catalogue's: general captions and the base's own images of them.

    There is one for every `every` samples that the denoiser sees. Each is a pure function of the
    sample's number among those, and they are shuffled anew whenever all were seen.
    """

    # Of each image.
    captions: list[str]
    # .npy files by the batch's tensor, each with one row, that of an image.
    files: Mapping[str, Sequence[Path]]
    every: int
    seed: int

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Each tensor of all captions. Raises EnvironmentProblem where the files hold others."""
        arrays = {}
        for name, files in self.files.items():
            arrays[name] = np.concatenate([np.load(file) for file in files])
            if len(arrays[name]) != len(self.captions):
                raise EnvironmentProblem(
                    f"{files[0].parent} holds {len(arrays[name]):,} images of the prior's "
                    f"{len(self.captions):,} captions.",
                    "Delete that folder; the next run generates them again.",
                )
        return arrays

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "arrays"}

    def batch(self, step: int, denoise_positions: Sequence[int]) -> Batch | None:
        """Those that fall to these of the samples that denoisers see; None where none does."""
        numbers = [p // self.every for p in denoise_positions if p % self.every == 0]
        if not numbers:
            return None
        indices = [shuffled_index(len(self.captions), self.seed, number) for number in numbers]
        captions = [self.captions[i] for i in indices]
        ids = torch.tensor([text_id(caption) for caption in captions])
        # Below zero, so that none of their random numbers are those of a catalogue's sample.
        positions = [-1 - number for number in numbers]
        tensors: dict[str, Any] = {
            name: torch.from_numpy(array[indices]) for name, array in self.arrays.items()
        }
        return Batch(step, positions, [], captions, ids, ids, **tensors)


class Samples(Dataset[Batch]):
    """Step number → Batch.

    Tensors come from `cached` rows (one a sample), or images are decoded and given to `transforms`;
    both by the name of the tensor.
    """

    def __init__(
        self,
        shards: Shards,
        rows: Sequence[Row],
        plan: BatchPlan,
        *,
        cached: Mapping[str, StoredRows | StoredShapes] | None = None,
        transforms: Mapping[str, Transform] | None = None,
        prior: PriorDataset | None = None,
        same: Callable[[str], str] = same_text,
        keys: Sequence[Hashable] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        """`same` gives what captions have in common that count as equal; `keys` what rows of a
        block share, where the plan wants blocks."""
        self.same, self.keys, self.augmentation = same, keys, augmentation
        self.rows = rows if isinstance(rows, Rows) else list(rows)
        self.shards, self.plan, self.prior = shards, plan, prior
        self.cached, self.transforms = dict(cached or {}), dict(transforms or {})
        self.order = self._order()

    def _order(self) -> Callable[[int], int]:
        """The index of the row at a position of the run."""
        plan = self.plan
        if plan.alike:
            assert self.keys is not None
            views = plan.order == "views"
            block = block_size(plan.batch_size, plan.alike, views)
            pairs = column_of(self.rows, "group") if views else None
            return AlikeOrder(self.keys, plan.batch_size, block, plan.seed, pairs)
        if plan.order == "distinct":
            return DistinctOrder(self.rows, plan.batch_size, plan.seed, self.same)
        if plan.order == "views":
            return PairedOrder(column_of(self.rows, "group"), plan.seed)
        if plan.order == "shuffled":
            return partial(shuffled_index, len(self.rows), plan.seed)
        return _itself

    def __len__(self) -> int:
        """The steps of one epoch, the last of which may be short or span two epochs."""
        return -(-len(self.rows) // self.plan.batch_size)

    def __getitem__(self, step: int) -> Batch:
        return self.batch(step, self.tensors(self.positions(step)))

    def positions(self, step: int) -> list[int]:
        """This process's share of a step's positions.

        It is a contiguous block, so that the processes' blocks follow each other in order.
        """
        first = step * self.plan.batch_size + self.plan.rank * self.plan.share
        last = first + self.plan.share
        return list(range(first, min(last, len(self.rows)) if self._listed else last))

    def tensors(self, positions: Sequence[int]) -> dict[str, Maps]:
        """The tensors of the samples at these positions, by name."""
        chosen = dict.fromkeys(DENOISED, self._denoise_rows(positions))
        indices = [self.order(p) for p in positions]
        tensors: dict[str, Maps] = {
            name: stored.take(_rows_of(indices, chosen.get(name)))
            for name, stored in self.cached.items()
            if name != MIRRORED
        }
        if MIRRORED in self.cached and self.augmentation:
            self._mirror(tensors["latents"], positions, indices)
        if self.transforms:
            images = self.images(positions)
            for name, transform in self.transforms.items():
                if part := _rows_of(images, chosen.get(name)):
                    tensors[name] = transform(part)
        return tensors

    def _mirror(self, latents: Maps, positions: Sequence[int], indices: Sequence[int]) -> None:
        """Puts the latents of mirrored images in their place, of the rows that denoisers see."""
        assert self.augmentation is not None
        seen = _rows_of(list(range(len(positions))), self._denoise_rows(positions))
        places = [n for n, i in enumerate(seen) if self.augmentation.mirrored(positions[i])]
        if places:
            put(latents, places, self.cached[MIRRORED].take([indices[seen[n]] for n in places]))

    def images(self, positions: Sequence[int]) -> list[Image.Image]:
        """The decoded images at these positions."""
        return [image_of(data) for data in self.image_bytes(positions)]

    def image_bytes(self, positions: Sequence[int]) -> Iterator[bytes]:
        """The images at these positions as they are stored, checked. Raises Damaged."""
        return self.shards.images(taken(self.rows, [self.order(p) for p in positions]))

    def batch(self, step: int, tensors: Mapping[str, Any]) -> Batch:
        """The batch of a step, its tensors given."""
        plan, positions = self.plan, self.positions(step)
        indices = [self.order(p) for p in positions]
        rows = list(taken(self.rows, indices))
        captions = [
            _caption(row, plan.seed, 0 if self._listed else p)
            for row, p in zip(rows, positions, strict=True)
        ]
        denoise_rows = self._denoise_rows(positions)
        denoise_positions = denoise_rows and [
            subsample_position(positions[i], plan.denoise_batch, plan.batch_size)
            for i in denoise_rows
        ]
        seen = positions if denoise_positions is None else denoise_positions
        batch = Batch(
            step,
            positions,
            rows,
            captions,
            caption_ids=torch.tensor([text_id(caption, self.same) for caption in captions]),
            group_ids=torch.tensor([text_id(row.group) for row in rows]),
            prior=self.prior.batch(step, seen) if self.prior else None,
            denoise_rows=denoise_rows,
            denoise_positions=denoise_positions,
            recoloured=(),
            cropped=(),
            mirrored=(),
            **tensors,
        )
        return self._augmented(batch, indices) if self.augmentation else batch

    def _augmented(self, batch: Batch, indices: Sequence[int]) -> Batch:
        """The batch with the captions of the augmentation, and which of its images change."""
        assert self.augmentation is not None
        shown = [
            self.augmentation.shown(*of)
            for of in zip(indices, batch.captions, batch.positions, strict=True)
        ]
        return replace(
            batch,
            captions=[row.caption for row in shown],
            caption_ids=torch.tensor([row.caption_id for row in shown]),
            true_ids=torch.tensor([row.true_ids for row in shown]),
            recoloured=[i for i, row in enumerate(shown) if row.recoloured],
            cropped=[i for i, row in enumerate(shown) if row.cropped],
            mirrored=[i for i, row in enumerate(shown) if row.mirrored],
        )

    def read(self, steps: range, workers: int) -> Iterator[Batch]:
        """The batches of the given steps, in order; see `loader`."""
        return read_ahead(self, steps, workers)

    @property
    def _listed(self) -> bool:
        return self.plan.order == "listed"

    def _denoise_rows(self, positions: Sequence[int]) -> list[int] | None:
        """Which of these samples the denoiser sees; None: all."""
        part, whole = self.plan.denoise_batch, self.plan.batch_size
        return subsample(positions, part, whole) if 0 < part < whole else None


def loader(samples: Samples, steps: range, workers: int = 0) -> Iterator[Batch]:
    """The batches of the given steps, in order, read ahead by `workers` processes."""
    return samples.read(steps, workers)


def read_ahead(dataset: Dataset[Any], keys: Iterable[Any], workers: int) -> Iterator[Any]:
    """The items of a data set, in the order of their keys, made by `workers` processes."""
    items = DataLoader(
        dataset,
        sampler=keys,
        batch_size=1,
        collate_fn=_only,
        num_workers=workers,
        worker_init_fn=partial(_begin, os.getpid()),
        prefetch_factor=AHEAD if workers else None,
        multiprocessing_context="spawn" if workers else None,
    )
    if not workers:
        yield from items
        return
    others = multiprocessing.active_children()
    with processes.starting():
        batches = iter(items)
    started = [child for child in multiprocessing.active_children() if child not in others]
    try:
        yield from batches
    finally:
        _end(started)


def _itself(position: int) -> int:
    return position


def _rows_of(values: list[Any], chosen: Sequence[int] | None) -> list[Any]:
    return values if chosen is None else [values[i] for i in chosen]


def _caption(row: Row, seed: int, position: int) -> str:
    """One of a row's captions, chosen by the position; the first where there is no choice."""
    if len(row.captions) == 1 or position == 0:
        return row.captions[0]
    return row.captions[crc32(f"{seed}/{position}".encode()) % len(row.captions)]


def _only(items: list[Any]) -> Any:
    return items[0]


def _end(started: Iterable[BaseProcess]) -> None:
    """Ends the processes of a loader at once, where torch waits five seconds for each."""
    # torch takes the end of one for a failure, in the main thread, where it hears of it.
    if threading.current_thread() is threading.main_thread():
        heard = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for process in started:
            process.kill()
            process.join()
        signal.signal(signal.SIGCHLD, heard)


def _begin(parent: int, worker: int) -> None:
    """Prepares a process of a loader, which makes batches of the same sizes until it ends."""
    processes.end_with_parent(parent)
    machine.keep_freed()
