"""Compiled blocks: the same training to rounding, and a compiler that is missing."""

import pytest
from accelerate import Accelerator

from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.loading import load_base
from unidiff_cli.training import compilation
from unidiff_cli.training.assembly import trainer_of


@pytest.mark.slow
def test_compiled_blocks_lose_what_plain_ones_lose(tiny_base):
    lost = {}
    for compiled in ("false", "true"):
        recipe = load_recipe(tiny_base, "train.steps=4", f"train.compile={compiled}", name="joint")
        base = load_base(str(tiny_base), 32)
        names = list(base.state_dict())
        trainer = trainer_of(Accelerator(cpu=True), base, recipe)
        steps = trainer.steps(iter([batch_of(8, step) for step in range(4)]))
        lost[compiled] = [float(step.loss) for step in steps]
        assert list(base.state_dict()) == names
        blocks = [m for m in base.modules() if type(m).__name__ in compilation.BLOCKS]
        # All but the autoencoder's.
        count = sum(m._compiled_call_impl is not None for m in blocks)
        inside = sum(type(m).__name__ in compilation.BLOCKS for m in base.vae.modules())
        assert 0 < inside < len(blocks)
        assert count == (len(blocks) - inside if compiled == "true" else 0)
    assert lost["true"] == pytest.approx(lost["false"], rel=1e-5)


def test_without_a_compiler_it_is_refused(tiny_base, monkeypatch):
    options = load_recipe(tiny_base, "train.compile=true").train
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EnvironmentProblem, match=r"needs a C\+\+ compiler, and no-such-compiler"):
        compilation.require(options)
    compilation.require(load_recipe(tiny_base).train)
