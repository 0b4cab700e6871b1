"""What `index` has to embed, in units: on this machine, in parts of an array, or over a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unidiff_cli import machine
from unidiff_cli.data.parts import Part
from unidiff_cli.data.ray_executor import RayExecutor
from unidiff_cli.data.row import Row
from unidiff_cli.data.shards import Shards
from unidiff_cli.models import encoders
from unidiff_cli.models.encoders import ImageEncoder
from unidiff_cli.progress import Counter
from unidiff_cli.project.project import Project
from unidiff_cli.retrieval.blocks import BLOCK, Blocks
from unidiff_cli.retrieval.earlier import Earlier
from unidiff_cli.retrieval.provenance import index_inputs


@dataclass
class EmbedWork:
    """The images that an export's index lacks, its encoders on the device, and where blocks lie."""

    shards: Shards
    rows: Sequence[Row]
    encoders: list[ImageEncoder]
    blocks: Blocks

    @classmethod
    def of(cls, project: Project, export: str | None, force: bool = False) -> EmbedWork:
        """With `force` nothing is taken from earlier indexes. Raises as `index` does."""
        folder, inputs = index_inputs(project, export, hashed=None)
        shards = Shards.of(project)
        earlier = None if force else Earlier.of(project, folder.name, inputs)
        rows = earlier.unknown_rows(shards.rows()) if earlier else shards.rows()
        loaded = list(encoders.load_encoders(project, folder).values())
        for encoder in loaded:
            encoder.to(machine.device())
        return cls(shards, rows, loaded, Blocks(project, inputs[f"exports/{folder.name}"]))

    def fill(self, part: Part, on_progress: Counter | None = None) -> int:
        """Embeds the blocks of a part that are not there yet; how many images that were."""
        return sum(
            self.blocks.fill(encoder, self.shards, self.rows, part, on_progress)
            for encoder in self.encoders
        )


@dataclass(frozen=True)
class EmbedBlock:
    """Embeds the block of a number and keeps it for `index`; a block that is there stays.

    `state` is the digest of shards and export: a process that did another's work opens it anew.
    """

    project: Path
    export: str
    state: str
    force: bool
    count: int

    def __call__(self, number: int) -> int:
        """The images of the block, of `count` blocks from 0 on."""
        return _opened(self).fill(Part(number + 1, self.count))


@lru_cache(maxsize=1)
def _opened(block: EmbedBlock) -> EmbedWork:
    return EmbedWork.of(Project(block.project), block.export, block.force)


def embed_over_ray(
    address: str, block: EmbedBlock, images: int, on_progress: Counter | None = None
) -> None:
    """Embeds all blocks over a Ray cluster whose nodes see the project's folder at the same path.

    A block whose process is lost again and again is left to who calls. Raises EnvironmentProblem
    where no cluster answers, and what the work raises.
    """
    executor = RayExecutor(address, chunk=1, accelerated=True)
    for done, _ in enumerate(executor.map(block, range(block.count), crashed=0), start=1):
        if on_progress:
            on_progress(min(done * BLOCK, images), images)
