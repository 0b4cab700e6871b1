"""Bases of two sources, and of files in half precision."""

import subprocess
import sys

import numpy as np
import pytest

from tests.support.base import write_base
from unidiff_cli.errors import UsageError
from unidiff_cli.models import encoders, loading
from unidiff_cli.models.clip import Clip


def test_two_text_towers_that_differ_are_refused_unless_one_wins(tmp_path):
    one, two = write_base(tmp_path / "one", seed=0), write_base(tmp_path / "two", seed=1)
    both = {"diffusion": str(one), "clip": str(two / "clip")}
    with pytest.raises(UsageError, match="differ by up to"):
        loading.load_base(both, 32)
    winner = loading.load_base({**both, "text": "clip"}, 32)
    assert np.allclose(
        encoders.embed_captions(winner, ["a"]),
        encoders.embed_captions(Clip.read(two / "clip"), ["a"]),
        atol=1e-6,
    )
    assert loading.load_base({**both, "text": "diffusion"}, 32).pipeline.text_encoder is not None


def test_half_precision_folders_load_in_full(tmp_path):
    import torch
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPModel

    folder = write_base(tmp_path / "base")
    StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float16).save_pretrained(folder)
    CLIPModel.from_pretrained(folder / "clip", dtype=torch.float16).save_pretrained(folder / "clip")
    base = loading.load_base(str(folder), 32)
    assert {p.dtype for p in base.parameters()} == {torch.float32}


# As a stage does: the base is in a frame above the one that imports its family for the first time.
LOADED_AND_DROPPED = """
import gc, sys, weakref
from unidiff_cli.models import loading

def load():
    base = loading.load_base(sys.argv[1], 32)
    return weakref.ref(base)

gc.disable()
assert load()() is None
"""


def test_the_first_base_of_a_process_is_freed_when_it_is_dropped(tiny_base):
    """An import that failed inside a package keeps its error, and with it the frames of callers."""
    subprocess.run([sys.executable, "-c", LOADED_AND_DROPPED, str(tiny_base)], check=True)
