"""Half precision, asked for on any machine."""

import numpy as np

from tests.support.projects import load_recipe
from unidiff_cli import train
from unidiff_cli.project import run_log


def test_half_precision_trains_and_stays_finite(project, tiny_base):
    name, _ = train(project, load_recipe(tiny_base, "train.precision=bf16", "train.steps=3"))
    lines = run_log.read(project.path("runs", name))
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 3 and np.isfinite(losses).all()
