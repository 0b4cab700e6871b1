"""A tiny random CLIP in the place of the shipped scorer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.support.base import write_base


@contextmanager
def tiny_scorer(folder: Path) -> Iterator[Path]:
    """Within it the scorer is a random CLIP that is written to `folder`, and torch has one thread.

    Models this small only wait for each other's threads. Gives the CLIP's folder.
    """
    from unidiff_cli.evaluation import extractors
    from unidiff_cli.evaluation.extractors import nano_scorer

    clip, threads = write_base(folder, seed=7) / "clip", torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nano_scorer, "FOLDER", clip)
        extractors.load_scorer.cache_clear()
        yield clip
    extractors.load_scorer.cache_clear()
    torch.set_num_threads(threads)
