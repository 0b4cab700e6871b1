"""GradCache and the sub-batch: the whole batch's gradients from chunks, a part denoised."""

import pytest

from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from tests.support.runs import TRAINED, assert_equal_gradients, gradients_of_one_and_two, losses
from unidiff_cli import train
from unidiff_cli.data.order import subsample
from unidiff_cli.models import loading
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups, trained_parameters

ANCHORED = "objectives.anchor.weight=1"


def with_denoise_rows(batch, rows):
    """The batch as `Samples` loads it where the denoiser sees only these rows."""
    batch.denoise_rows, batch.latents = rows, batch.latents[rows]
    return batch


def module_of(tiny_base, chunk=0, name="fashion", *assignments):
    """A module ready to train, in float64."""
    recipe = load_recipe(tiny_base, *assignments, name=name)
    base = loading.load_base(str(tiny_base), 32)
    module = TrainingModule(base, recipe.active(), 0, chunk).double().train()
    parameter_groups(module, recipe.train)
    return module


def gradients(module, rows=None):
    """The parts of a step over ten samples, and its gradients by parameter."""
    batch = batch_of(10) if rows is None else with_denoise_rows(batch_of(10), rows)
    total, parts = module(batch)
    total.backward()
    return parts, {name: p.grad for name, p in trained_parameters(module).items()}


@pytest.mark.parametrize("name", ["fashion", "joint", "clip-only"])
@pytest.mark.parametrize("rows", [None, [1, 4, 9]])
def test_chunks_give_the_gradients_of_the_whole_batch(tiny_base, name, rows):
    """float64; chunks of 3 of 10 rows; the anchor's frozen copy too."""
    parts, whole = gradients(module_of(tiny_base, 0, name, ANCHORED), rows)
    again, chunked = gradients(module_of(tiny_base, 3, name, ANCHORED), rows)
    for key, value in parts.items():
        assert float(again[key]) == pytest.approx(float(value), rel=1e-12, abs=1e-14), key
    scale = max(float(g.abs().max()) for g in whole.values() if g is not None)
    for key, gradient in whole.items():
        assert (gradient is None) == (chunked[key] is None), key
        if gradient is not None:
            assert float((chunked[key] - gradient).abs().max()) < 1e-12 * scale, key


def test_contrastive_is_over_all_rows_whatever_the_denoiser_sees(tiny_base):
    parts, _ = gradients(module_of(tiny_base), [1, 4, 9])
    whole, _ = gradients(module_of(tiny_base))
    assert parts["contrastive"] == whole["contrastive"]


def test_a_sub_batch_is_those_samples_with_their_own_noise(tiny_base):
    """Denoise over some rows equals a batch of these rows alone."""
    rows = [1, 4, 9]
    parts, _ = gradients(module_of(tiny_base), rows)
    alone = with_denoise_rows(batch_of(10), rows)
    for key in ("clip_pixels", "caption_ids", "group_ids"):
        setattr(alone, key, getattr(alone, key)[rows])
    for key in ("positions", "captions"):
        setattr(alone, key, [getattr(alone, key)[i] for i in rows])
    alone.denoise_rows = None
    _, parts_alone = module_of(tiny_base)(alone)
    for key in ("denoise", "consistency"):
        assert float(parts_alone[key]) == pytest.approx(float(parts[key]), rel=1e-12)


def test_no_tower_holds_more_than_a_chunk(tiny_base, monkeypatch):
    module, sizes = module_of(tiny_base, 4), []
    for name in ("encode_images", "encode_text"):
        whole = getattr(module.base, name)

        def counted(rows, _whole=whole):
            sizes.append(len(rows))
            return _whole(rows)

        monkeypatch.setattr(module.base, name, counted)
    total = module(batch_of(10))[0]
    assert max(sizes) == 4 and sum(sizes) == 10 + 11
    total.backward()
    # Each row once more.
    assert max(sizes) == 4 and sum(sizes) == 2 * (10 + 11)


def test_any_number_of_processes_takes_the_same_samples():
    whole = [p for i, p in enumerate(range(24, 36)) if i in subsample(range(24, 36), 4, 12)]
    parts = [range(24, 30), range(30, 36)]
    assert [part[i] for part in parts for i in subsample(part, 4, 12)] == whole
    assert [len(subsample(part, 4, 12)) for part in parts] == [2, 2]
    assert subsample(range(5), 5, 5) == [0, 1, 2, 3, 4]


def test_a_run_with_chunks_and_a_sub_batch(project, recipe):
    options = ("train.chunk=3", "train.denoise_batch=4", "train.steps=2")
    name, _ = train(project, load_recipe(recipe.base, *options))
    assert sorted(losses(project, name)) == [1, 2]


@pytest.mark.parametrize(
    "option", ["train.pcgrad=false", "train.pcgrad=true", "objectives.text_diffusion.weight=1"]
)
@pytest.mark.slow
def test_two_processes_with_chunks_and_a_sub_batch_equal_one(tmp_path, tiny_base, option):
    """float64, through accelerate's DDP or, with PCGrad, past it."""
    options = ("train.chunk=3", option, "train.measure_gradients_every=0")
    one, two = gradients_of_one_and_two(TRAINED, tmp_path, tiny_base, *options)
    assert_equal_gradients(one, two)
