"""A catalogue's rows as a reader gives them."""

from pathlib import Path

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.sample import Rejected, Sample


def read(path: Path, **options) -> tuple[list[Sample], list[Rejected]]:
    """The samples and the rejected rows; the options are those of `prepare`."""
    items = list(readers.choose(path, Prepare(**options)))
    samples = [item for item in items if isinstance(item, Sample)]
    return samples, [item for item in items if isinstance(item, Rejected)]
