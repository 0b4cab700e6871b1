"""Each view is computed once, only what is asked for runs, and draws are keyed by sample."""

import pytest
import torch

from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from unidiff_cli.models import loading
from unidiff_cli.models.keyed_random import keyed_random
from unidiff_cli.training.module import TrainingModule, combined_needs
from unidiff_cli.training.optimizer import parameter_groups


@pytest.fixture(scope="module")
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


@pytest.fixture
def calls(base, monkeypatch):
    """How often each part of the base ran; DiffDis's layers, where a recipe attaches them, leave with the test."""
    monkeypatch.setattr(base, "dual_stream", None)
    count: dict[str, int] = {}
    for name in ("text", "image", "denoise", "features", "predict_text"):
        whole = getattr(base, name)

        def counted(*args, _name=name, _whole=whole, **options):
            count[_name] = count.get(_name, 0) + 1
            return _whole(*args, **options)

        monkeypatch.setattr(base, name, counted)
    return count


@pytest.mark.parametrize(
    "name, expected",
    [
        ("fashion", {"text": 1, "image": 1, "denoise": 1, "features": 1}),
        ("joint", {"text": 1, "image": 1, "denoise": 1}),
        ("clip-only", {"text": 1, "image": 1}),
        ("sd-only", {"text": 1, "denoise": 1}),
        ("diffdis", {"text": 1, "denoise": 1, "predict_text": 1}),
    ],
)
def test_one_forward_each_however_many_objectives_ask(base, tiny_base, calls, name, expected):
    joint = TrainingModule(base, load_recipe(tiny_base, name=name).active(), seed=0)
    joint.train()
    total, parts = joint(batch_of(4))
    assert calls == expected
    assert torch.isfinite(total) and set(joint.objectives) <= set(parts)


def test_the_total_is_the_weighted_sum(base, tiny_base):
    recipe = load_recipe(
        tiny_base, "objectives.denoise.weight=0.25", "objectives.consistency.weight=2"
    )
    joint = TrainingModule(base, recipe.active(), seed=0)
    total, parts = joint(batch_of(4))
    expected = parts["contrastive"] + 0.25 * parts["denoise"] + 2 * parts["consistency"]
    assert torch.allclose(total, expected)


def test_clip_only_gives_the_unet_no_gradient(base, tiny_base):
    recipe = load_recipe(tiny_base, name="clip-only")
    joint = TrainingModule(base, recipe.active(), seed=0)
    assert {g["name"] for g in parameter_groups(joint, recipe.train)} == {"vision", "text"}
    joint.train()(batch_of(4))[0].backward()
    assert all(p.grad is None for p in base.unet.parameters())
    assert all(p.grad is not None for p in base.clip.vision_model.parameters())
    base.zero_grad()


def test_half_pass_features_are_the_middle_block_of_a_whole_pass(base):
    seen = []
    hook = base.unet.mid_block.register_forward_hook(lambda module, given, out: seen.append(out))
    z, t = torch.randn(3, 4, 8, 8), torch.tensor([5, 100, 299])
    states, _ = base.text(base.tokenize(["", "a", "b"]))
    with torch.no_grad():
        base.denoise(z, t, states)
        half = base.features(z, t, states)
    hook.remove()
    assert torch.allclose(half, seen[0].float().mean(dim=(2, 3)), atol=1e-5)


def test_draws_depend_on_seed_step_position_and_name_only():
    whole = keyed_random(0, 3, [10, 11, 12], "noise", (4,))
    assert torch.equal(keyed_random(0, 3, [12], "noise", (4,))[0], whole[2])
    for other in (
        keyed_random(1, 3, [12], "noise", (4,)),
        keyed_random(0, 4, [12], "noise", (4,)),
        keyed_random(0, 3, [12], "t", (4,)),
    ):
        assert not torch.equal(other[0], whole[2])


def test_caption_drop_uses_the_empty_caption_at_the_asked_share(base, tiny_base):
    from unidiff_cli.models.forward import ForwardPass

    joint = TrainingModule(
        base, load_recipe(tiny_base, "objectives.denoise.caption_drop=0.5").active(), seed=0
    )
    forward = ForwardPass(base, batch_of(64), joint.needs, 0, 0, joint.caption_drop)
    with torch.no_grad():
        dropped = (forward.text_states == forward.null_states).all(dim=(1, 2))
    assert 16 < int(dropped.sum()) < 48


def test_needs_say_what_a_batch_must_load(tiny_base):
    assert combined_needs(load_recipe(tiny_base, name="clip-only").active()).latents is False
    assert combined_needs(load_recipe(tiny_base, name="sd-only").active()).pixels is False
    assert combined_needs(load_recipe(tiny_base, name="sd-only").active()).null_row is True
