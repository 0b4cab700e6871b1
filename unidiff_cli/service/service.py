"""What the routes share: the catalogue in force, the queue of generations, and what is kept."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from anyio import to_thread

from unidiff_cli.data.shards import Row
from unidiff_cli.errors import UsageError
from unidiff_cli.models.encoders import CLIP
from unidiff_cli.project.project import Project
from unidiff_cli.retrieval.composition import Part
from unidiff_cli.retrieval.query import open_query
from unidiff_cli.service.catalogue import Catalogue, Current
from unidiff_cli.service.guard import Refused
from unidiff_cli.service.images import Kept, thumbnail
from unidiff_cli.service.jobs import Jobs
from unidiff_cli.service.limits import Limits
from unidiff_cli.service.metrics import Metrics
from unidiff_cli.service.turns import Turns

# Seconds between two looks whether another index is there.
WATCH = 2.0


class Service:
    """A project that is served."""

    def __init__(
        self,
        project: Project,
        export: str | None = None,
        encoder: str = CLIP,
        limits: Limits | None = None,
    ) -> None:
        """Opens the index and loads the model. Raises what `Retriever.open` raises."""
        self.project, self.limits = project, limits or Limits()
        self.current = Current(project, export, encoder)
        self.jobs = Jobs(project, export, self.limits)
        self.turns = Turns(self.limits.waiting, self.limits.patience)
        self.thumbnails = Kept(self.limits.thumbnails)
        self.queries = Kept(self.limits.kept << 20, self.limits.kept)
        self.metrics = Metrics()
        self.metrics.waiting.set_function(lambda: self.turns.waiting)
        self.metrics.queued.set_function(lambda: len(self.jobs))
        self.metrics.images.set_function(lambda: len(self.catalogue.items))
        # When what runs is given up, as `time.monotonic` counts; set once it takes no more.
        self.until = math.inf

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue in force; a request asks once and keeps it."""
        return self.current.catalogue

    async def watch(self) -> None:
        """Puts another index in force when there is one, for as long as it runs."""
        while True:
            await asyncio.sleep(WATCH)
            if self.current.changed() and await to_thread.run_sync(self.current.reload):
                self.metrics.reloads.inc()

    @property
    def draining(self) -> bool:
        """Whether it takes no more."""
        return self.until < math.inf

    def drain(self) -> None:
        """Takes no more generations, and lets what runs come to its end, within bounds."""
        self.until = min(self.until, time.monotonic() + self.limits.drain)
        self.jobs.stop(self.until)

    def views(self, name: str, catalogue: Catalogue) -> list[Row]:
        """The images of the product of an image, which is the first. Raises Refused."""
        known(name, catalogue)
        return catalogue.retriever.views(name)

    def image(self, name: str) -> bytes:
        """The bytes of an image of the catalogue. Raises Refused, Damaged."""
        catalogue = self.catalogue
        [row] = catalogue.items.rows([known(name, catalogue)])
        return catalogue.retriever.shards.image_bytes(row)

    def thumbnail(self, name: str) -> bytes:
        """A small JPEG of an image of the catalogue. Raises Refused, Damaged."""
        catalogue = self.catalogue
        [row] = catalogue.items.rows([known(name, catalogue)])
        small = self.thumbnails.get(row.content)
        if small is None:
            small = thumbnail(catalogue.retriever.shards.image_bytes(row))
            self.thumbnails.put(row.content, small)
        return small

    def kept_image(self, name: str) -> bytes:
        """A query image that was sent, or a generated one, "job-n". Raises UsageError."""
        job_name, _, number = name.rpartition("-")
        job = self.jobs.get(job_name)
        if job and number.isascii() and number.isdigit() and int(number) < len(job.images):
            return job.images[int(number)]
        if (data := self.queries.get(name)) is None:
            raise UsageError("The image is no longer kept.", "Send it again.")
        return data

    def parts(
        self,
        catalogue: Catalogue,
        *,
        texts: Sequence[tuple[str, float]] = (),
        images: Sequence[tuple[bytes, float]] = (),
        like: Sequence[tuple[str, float]] = (),
    ) -> list[Part]:
        """The parts of a query with their weights: texts, images, and the catalogue's own by id.

        Raises UsageError for an image that cannot be read, an unknown id, and too much of either.
        """
        if len(texts) + len(images) + len(like) > self.limits.parts:
            raise UsageError(f"A query may have {self.limits.parts} parts.", "Leave some out.")
        if any(len(text) > self.limits.text for text, _ in texts):
            raise UsageError(f"A text may have {self.limits.text:,} characters.", "Shorten it.")
        return [
            *(Part(text.strip(), weight) for text, weight in texts if text.strip()),
            *(Part(open_query(data), weight) for data, weight in images),
            *(catalogue.retriever.like(name, weight) for name, weight in like),
        ]


def known(name: str, catalogue: Catalogue) -> int:
    """The number of an image among a catalogue's. Raises Refused where there is none."""
    number = catalogue.items.number(name)
    if number is None:
        raise Refused(404, "The catalogue has no such image.")
    return number
