"""A catalogue's rows as a reader gives them."""

from pathlib import Path

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.sample import Rejected, Sample


def read(path: Path, **options) -> tuple[list[Sample], list[Rejected]]:
    """The samples and the rejected rows; the options are those of `prepare`."""
    items = list(readers.choose(path, Prepare(**options)))
    samples = [item for item in items if isinstance(item, Sample)]
    return samples, [item for item in items if isinstance(item, Rejected)]


def read_all(path: Path, **options) -> tuple[Reader, list[Sample], list[Rejected]]:
    """The reader after a pass, with the samples and the rejected rows."""
    reader = readers.choose(path, Prepare(**options))
    items = list(reader)
    samples = [item for item in items if isinstance(item, Sample)]
    return reader, samples, [item for item in items if isinstance(item, Rejected)]


def facts(reader: Reader, stops: bool | None = None) -> str:
    """What is doubtful of a catalogue, one fact a line; `stops`: only what does, or does not."""
    doubts = [doubt for doubt in reader.doubts() if stops in (None, doubt.stops)]
    return "\n".join(doubt.fact for doubt in doubts)
