"""Each output is computed once, only what is asked for runs, and noise is keyed by sample."""

import gc
import weakref

import pytest
import torch

from tests.support.batches import batch_of, forward_of
from tests.support.projects import load_recipe
from unidiff_cli.models import loading
from unidiff_cli.models.dual_stream import DualStream
from unidiff_cli.models.keyed_random import keyed_random
from unidiff_cli.objectives import needs_of
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


@pytest.fixture
def calls(base, monkeypatch):
    """How often each part of the base ran."""
    count: dict[str, int] = {}

    def counted(owner, name):
        whole = getattr(owner, name)

        def call(*args, **options):
            count[name] = count.get(name, 0) + 1
            return whole(*args, **options)

        monkeypatch.setattr(owner, name, call)

    for name in ("encode_text", "encode_images", "denoise", "features"):
        counted(base, name)
    counted(DualStream, "predict")
    return count


def needs_of_recipe(tiny_base, *assignments, name="fashion"):
    return needs_of(load_recipe(tiny_base, *assignments, name=name).active().values())


@pytest.mark.parametrize(
    "name, expected",
    [
        ("fashion", {"encode_text": 1, "encode_images": 1, "denoise": 1, "features": 1}),
        ("joint", {"encode_text": 1, "encode_images": 1, "denoise": 1}),
        ("clip-only", {"encode_text": 1, "encode_images": 1}),
        ("sd-only", {"encode_text": 1, "denoise": 1}),
        ("diffdis", {"encode_text": 1, "denoise": 1, "predict": 1}),
    ],
)
def test_one_forward_each_however_many_objectives_ask(base, tiny_base, calls, name, expected):
    module = TrainingModule(base, load_recipe(tiny_base, name=name).active(), seed=0)
    module.train()
    total, parts = module(batch_of(4))
    assert calls == expected
    assert torch.isfinite(total) and set(module.objectives) <= set(parts)


def test_a_step_s_activations_are_freed_with_its_last_reader(base, tiny_base):
    """In a circle of objects they would wait for Python's collector, on a GPU too."""
    module = TrainingModule(base, load_recipe(tiny_base).active(), seed=0).train()
    gc.collect()
    gc.disable()
    try:
        forward = module.forward_pass(batch_of(4))
        module.losses(forward)
        kept = weakref.ref(forward)
        del forward
        assert kept() is None
    finally:
        gc.enable()


def test_the_total_is_the_weighted_sum(base, tiny_base):
    recipe = load_recipe(
        tiny_base, "objectives.denoise.weight=0.25", "objectives.consistency.weight=2"
    )
    module = TrainingModule(base, recipe.active(), seed=0)
    total, parts = module(batch_of(4))
    expected = parts["contrastive"] + 0.25 * parts["denoise"] + 2 * parts["consistency"]
    assert torch.allclose(total, expected)


def test_clip_only_gives_the_denoiser_no_gradient(base, tiny_base):
    recipe = load_recipe(tiny_base, name="clip-only")
    module = TrainingModule(base, recipe.active(), seed=0)
    assert {g["name"] for g in parameter_groups(module, recipe.train)} == {"vision", "text"}
    module.train()(batch_of(4))[0].backward()
    towers = base.parameter_groups()
    assert all(p.grad is None for p in towers["denoiser"])
    assert all(p.grad is not None for p in towers["vision"])


def test_half_pass_features_are_the_middle_block_of_a_whole_pass(base):
    outputs = []
    hook = base.unet.mid_block.register_forward_hook(
        lambda module, inputs, output: outputs.append(output)
    )
    z, t = torch.randn(3, 4, 8, 8), torch.tensor([5, 100, 299])
    text = base.encode_text(["", "a", "b"])
    with torch.no_grad():
        base.denoise(z, t, text)
        half = base.features(z, t, text, "mid")
    hook.remove()
    assert torch.allclose(half, outputs[0], atol=1e-5)


def test_random_numbers_depend_on_seed_step_position_and_name_only():
    whole = keyed_random(0, 3, [10, 11, 12], "noise", (4,))
    assert torch.equal(keyed_random(0, 3, [12], "noise", (4,))[0], whole[2])
    for other in (
        keyed_random(1, 3, [12], "noise", (4,)),
        keyed_random(0, 4, [12], "noise", (4,)),
        keyed_random(0, 3, [12], "t", (4,)),
    ):
        assert not torch.equal(other[0], whole[2])


def test_caption_drop_uses_the_empty_caption_at_the_asked_share(base, tiny_base):
    needs = needs_of_recipe(tiny_base, "objectives.denoise.caption_drop=0.5")
    forward = forward_of(base, batch_of(64), needs, training=True)
    with torch.no_grad():
        dropped = (forward.condition.states == forward.null_condition.states).all(dim=(1, 2))
    assert 16 < int(dropped.sum()) < 48


def test_no_caption_is_dropped_outside_training(base, tiny_base):
    needs = needs_of_recipe(tiny_base, "objectives.denoise.caption_drop=0.5")
    forward = forward_of(base, batch_of(8), needs)
    with torch.no_grad():
        dropped = (forward.condition.states == forward.null_condition.states).all(dim=(1, 2))
    assert not dropped.any()


def test_needs_say_what_a_batch_must_load(tiny_base):
    assert needs_of_recipe(tiny_base, name="clip-only").latents is False
    assert needs_of_recipe(tiny_base, name="sd-only").clip_pixels is False
    assert needs_of_recipe(tiny_base, name="sd-only").empty_caption is True
