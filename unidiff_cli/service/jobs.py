"""Generation in the background: a bounded queue, one worker, progress and cancelling."""

from __future__ import annotations

import io
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from unidiff_cli.config.schema import Generate
from unidiff_cli.data.buckets import Size
from unidiff_cli.errors import UnidiffError, UsageError
from unidiff_cli.generation.generator import Generator
from unidiff_cli.generation.record import write_image
from unidiff_cli.project.project import Project
from unidiff_cli.service.limits import Limits

logger = logging.getLogger("unidiff.service")

WAITING, RUNNING, DONE, CANCELLED, FAILED = "waiting", "running", "done", "cancelled", "failed"
ENDED = (DONE, CANCELLED, FAILED)


class Full(Exception):
    """More is waiting than the service takes."""


class Cancelled(Exception):
    """Raised between two denoising steps of a generation that nobody wants any more."""


@dataclass(frozen=True)
class Wanted:
    """What is to be generated."""

    prompt: str
    count: int = 4
    seed: int = 0
    negative: str = ""
    steps: int | None = None
    guidance: float | None = None
    size: str | None = None


@dataclass
class Job:
    """A generation. The worker changes it and others read it; `images` are PNGs that hold how."""

    wanted: Wanted
    id: str = field(default_factory=lambda: uuid4().hex)
    state: str = WAITING
    done: int = 0
    steps: int = 0
    images: list[bytes] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    unwanted: bool = False
    seconds: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Jobs:
    """Generations of a project's export, one after another in a thread of their own.

    The model is loaded with the first one, and again when another export is the current one.
    """

    def __init__(self, project: Project, export: str | None, limits: Limits) -> None:
        self.project, self.limits = project, limits
        self._export = export
        self._generator: Generator | None = None
        self._waiting: deque[Job] = deque()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._change = threading.Condition()
        self._stopped = False
        # When what runs is given up, once no more is taken.
        self._until = math.inf
        self._worker = threading.Thread(target=self._work, name="generation", daemon=True)
        self._worker.start()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, wanted: Wanted) -> Job:
        """Puts a generation at the end of the queue. Raises Full."""
        with self._change:
            if self._stopped or len(self._waiting) >= self.limits.queue:
                raise Full
            job = Job(wanted)
            self._waiting.append(job)
            self._jobs[job.id] = job
            self._forget()
            self._change.notify()
        return job

    def get(self, name: str) -> Job | None:
        """A generation that waits, runs or ended not long ago."""
        return self._jobs.get(name)

    def cancel(self, job: Job) -> None:
        """Ends a generation before its next denoising step; one that ended stays as it is."""
        with self._change:
            job.unwanted = True
            if job in self._waiting:
                self._waiting.remove(job)
                job.state = CANCELLED

    def stop(self, until: float = math.inf) -> None:
        """Takes no more, and cancels what waits; what runs goes on to its end.

        Where it has not come to it at a time of `time.monotonic`, it is cancelled.
        """
        with self._change:
            self._stopped, self._until = True, min(self._until, until)
            while self._waiting:
                self._waiting.popleft().state = CANCELLED
            self._change.notify()

    def join(self, seconds: float) -> None:
        """Waits for what runs, at most so many seconds."""
        self._worker.join(seconds)

    def _forget(self) -> None:
        """Lets go of generations that ended long ago, so that memory stays as it is."""
        ended = [name for name, job in self._jobs.items() if job.ended]
        for name in ended[: max(0, len(ended) - self.limits.finished)]:
            del self._jobs[name]

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                job = self._waiting.popleft()
                job.state = RUNNING
            started = time.monotonic()
            try:
                self._generate(job)
                job.state = DONE
            except Cancelled:
                job.state = CANCELLED
            except UnidiffError as problem:
                job.error, job.state = str(problem), FAILED
            # A mistake of ours costs one generation, not the service.
            except Exception:
                logger.exception("A generation failed.")
                job.error, job.state = "The generation failed; the service's log says why.", FAILED
            job.seconds = round(time.monotonic() - started, 3)

    def _generate(self, job: Job) -> None:
        wanted = job.wanted
        generator = self._open()
        options = _options(generator.options, wanted)
        batches = -(-wanted.count // options.batch_size)
        job.steps = options.steps * batches

        def on_step() -> None:
            if job.unwanted or time.monotonic() > self._until:
                raise Cancelled
            # DDIM and its kin take a step for each; another sampler may take more.
            job.done = min(job.done + 1, job.steps)

        seeds = [wanted.seed + n for n in range(wanted.count)]
        for image, record in generator.generate(
            [wanted.prompt] * wanted.count,
            seeds,
            options,
            negative=wanted.negative,
            size=Size.parse(wanted.size) if wanted.size else None,
            on_step=on_step,
        ):
            stream = io.BytesIO()
            write_image(stream, image, record)
            job.records.append(record.plain())
            job.images.append(stream.getvalue())

    def _open(self) -> Generator:
        """The generator of the export in force."""
        name = self.project.export(self._export).name
        known = self._generator
        if known is None or known.export != name or known.weights_hash != self._weights(name):
            self._generator = None
            self._generator = Generator.open(self.project, self._export)
        assert self._generator
        return self._generator

    def _weights(self, name: str) -> str:
        return str(self.project.receipt("exports", name).figures["weights_hash"])


def _options(options: Generate, wanted: Wanted) -> Generate:
    """The export's own options with what was asked for. Raises UsageError."""
    given = {"steps": wanted.steps, "guidance": wanted.guidance}
    changed = {name: value for name, value in given.items() if value is not None}
    try:
        return Generate.model_validate({**options.model_dump(), **changed})
    except ValueError as problem:
        raise UsageError(f"These options cannot be used: {problem}.") from problem
