"""Anchor: zero at the base, felt by what trains only, its frozen copy nowhere but in memory."""

import math

import pytest
import torch

from tests.support.batches import batch_of, forward_of, with_prior
from tests.support.projects import load_recipe
from tests.support.runs import (
    GRADIENTS,
    assert_equal_gradients,
    assert_resumes_exactly,
    gradients_of_one_and_two,
    losses,
)
from unidiff_cli import train
from unidiff_cli.data.dataset import PriorDataset
from unidiff_cli.errors import UsageError
from unidiff_cli.models import loading
from unidiff_cli.objectives import needs_of
from unidiff_cli.objectives.anchor import drift
from unidiff_cli.project import checkpoints
from unidiff_cli.training.general_images import generate_general
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups, trained_parameters

ANCHORED = "objectives.anchor.weight=1"
# General captions and images for the anchor alone.
GENERAL = ("objectives.prior.weight=0", "objectives.anchor.on=general")
FEW = ("objectives.prior.images=6", "objectives.prior.every=2")


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def move(module, distance=0.05):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trained_parameters(module).values():
            parameter.add_(distance * torch.randn_like(parameter))


def test_drift_by_hand():
    """Two images, two captions: the base tells them apart 3 : 1, the tuned one not at all."""
    ln3, even = math.log(3), torch.zeros(2, 2, dtype=torch.float64)
    frozen = torch.tensor([[ln3, 0.0], [0.0, ln3]], dtype=torch.float64)
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(drift(even, frozen, temperature=1.0)) == pytest.approx(by_hand, rel=1e-12)
    assert float(drift(even, 0.1 * frozen, temperature=0.1)) == pytest.approx(by_hand, rel=1e-12)
    # Both captions prefer the first image, and no image prefers a caption: only columns differ.
    lopsided = torch.tensor([[ln3, ln3], [0.0, 0.0]], dtype=torch.float64)
    assert float(drift(even, lopsided, temperature=1.0)) == pytest.approx(by_hand / 2, rel=1e-12)
    assert float(drift(lopsided, lopsided)) == 0


@pytest.mark.parametrize("name", ["fashion", "clip-only"])
def test_zero_at_the_base_and_positive_after_it_moved(base, tiny_base, name):
    recipe = load_recipe(tiny_base, ANCHORED, name=name)
    module = TrainingModule(base, recipe.active(), seed=0)
    parameter_groups(module, recipe.train)
    assert module(batch_of(8))[1]["anchor"] == 0
    move(module)
    assert module(batch_of(8))[1]["anchor"] > 1e-4


def test_image_relations_are_what_relational_anchor_holds_without_the_denoiser(base, tiny_base):
    """The control of that kind: the same term, and no pass of the denoiser."""
    whole, without = (
        load_recipe(
            tiny_base,
            "objectives.consistency.kind=relational+anchor",
            f"objectives.consistency.anchor_weight={weight}",
            "objectives.anchor={kind: image_relations}",
        )
        for weight in (1, 0)
    )
    anchor = whole.active()["anchor"]
    assert anchor.needs.image_embeds and anchor.needs.frozen_image_embeds
    assert not (anchor.needs.latents or anchor.needs.text_embeds or anchor.needs.text_states)
    assert anchor.trains == {"vision"}
    module = TrainingModule(base, whole.active(), seed=0)
    parameter_groups(module, whole.train)
    move(module)
    parts = module(batch_of(8))[1]
    module.objectives = without.active()
    module.terms["consistency"] = without.active()["consistency"].build(base)
    held = parts["consistency"] - module(batch_of(8))[1]["consistency"]
    assert parts["anchor"] > 1e-4
    assert float(parts["anchor"]) == pytest.approx(float(held), rel=1e-3)


def test_only_what_trains_gets_a_gradient(base, tiny_base):
    recipe = load_recipe(tiny_base, ANCHORED, "train.trains=[vision]", name="clip-only")
    module = TrainingModule(base, {"anchor": recipe.active()["anchor"]}, seed=0)
    groups = parameter_groups(module, recipe.train)
    move(module)
    module(batch_of(8))[0].backward()
    towers, frozen = base.parameter_groups(), list(module.frozen.parameters())
    assert any(p.grad.abs().sum() > 0 for p in towers["vision"])
    assert all(p.grad is None for p in [*towers["text"], *frozen])
    optimised = {id(p) for group in groups for p in group["params"]}
    assert not optimised & {id(p) for p in frozen}


def test_it_needs_the_frozen_embeddings_of_images_and_captions(tiny_base):
    recipe = load_recipe(tiny_base, ANCHORED, name="sd-only")
    needs = needs_of(recipe.active().values())
    assert needs.frozen_image_embeds and needs.frozen_text_embeds and needs.clip_pixels


def test_a_run_that_does_not_read_it_keeps_no_copy(base, tiny_base):
    relational = load_recipe(tiny_base, "objectives.consistency.kind=relational").active()
    module = TrainingModule(base, relational, 0)
    assert module.frozen is None
    assert not module.needs.frozen_image_embeds and not module.needs.frozen_text_embeds


def test_cached_images_need_no_copy(base, tiny_base):
    kind = "objectives.consistency.kind=relational+anchor"
    objectives = load_recipe(tiny_base, kind).active()
    assert TrainingModule(base, objectives, 0).frozen is not None
    assert TrainingModule(base, objectives, 0, cached=True).frozen is None


def test_half_precision_is_zero_at_the_base_too(base, tiny_base):
    recipe = load_recipe(tiny_base, ANCHORED, name="clip-only")
    module = TrainingModule(base, recipe.active(), seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        _, parts = module(batch_of(8))
    assert parts["anchor"] == 0 and parts["anchor"].dtype == torch.float32


def test_anchored_weights_pull_what_trains_back_to_the_base(base, tiny_base):
    options = ("objectives.anchor.kind=weights", "train.trains=[denoiser]")
    recipe = load_recipe(tiny_base, *options, name="sd-only")
    module = TrainingModule(base, recipe.active(), seed=0)
    assert not module.needs.frozen_image_embeds and not module.needs.clip_pixels
    parameter_groups(module, recipe.train)
    weight = base.unet.conv_in.weight
    start = weight.detach().clone()
    with torch.no_grad():
        weight.add_(0.5)
        # Does not train, so it does not count.
        base.logit_scale.add_(1)
    loss, _ = module.terms["anchor"](forward_of(base, batch_of(4), module.needs))
    assert float(loss.detach()) == pytest.approx(0.5 * 0.25 * weight.numel(), rel=1e-5)
    loss.backward()
    assert torch.allclose(weight.grad, weight - start)
    assert len(module.terms["anchor"].pairs) == len(base.parameter_groups()["denoiser"])


# ---------------------------------------------------------------- on general captions and images


@pytest.fixture
def general(project, base, tiny_base):
    """A batch of 8 with four general captions and the base's own images of them."""
    recipe, captions = load_recipe(tiny_base, *FEW), [f"place {i}" for i in range(6)]
    files = generate_general(project, base, "w", captions, recipe.generate)
    batch = batch_of(8)
    batch.prior = PriorDataset(captions, files, 2, 0).batch(0, batch.positions)
    return batch


def anchored(base, tiny_base, *assignments, name="joint", chunk=0):
    recipe = load_recipe(tiny_base, *FEW, *GENERAL, *assignments, name=name)
    module = TrainingModule(base, recipe.active(), 0, chunk)
    parameter_groups(module, recipe.train)
    return module.train()


def test_on_general_images_it_is_zero_at_the_base_and_trains_clip_alone(base, tiny_base, general):
    module = anchored(base, tiny_base, "objectives.contrastive=null", "objectives.denoise=null")
    assert module.frozen is None and not module.needs.clip_pixels
    assert float(module(general)[1]["anchor"]) < 1e-6
    move(module)
    loss, parts = module(general)
    assert float(parts["anchor"]) > 1e-4
    loss.backward()
    towers = base.parameter_groups()
    for tower in ("vision", "text"):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in towers[tower])
    assert all(p.grad is None for p in towers["denoiser"])


def test_on_both_it_is_the_sum_of_both(base, tiny_base, general):
    def value(on):
        module = anchored(base, tiny_base, f"objectives.anchor.on={on}")
        with torch.no_grad():
            return module.terms["anchor"](module.forward_pass(general))

    module = anchored(base, tiny_base, "objectives.anchor.on=both")
    move(module)
    frozen = module.frozen
    with torch.no_grad():
        total, parts = module.terms["anchor"](module.forward_pass(general))
    assert frozen is not None and set(parts) == {"anchor_catalogue", "anchor_general"}
    assert float(total) == pytest.approx(sum(float(part) for part in parts.values()))
    assert float(value("general")[0]) == pytest.approx(float(parts["anchor_general"]), rel=1e-6)


def test_chunks_of_clip_leave_the_gradient_as_it_is(base, tiny_base):
    gradients = []
    for chunk in (0, 3):
        module = anchored(base.double(), tiny_base, chunk=chunk)
        if not chunk:
            move(module)
        module.zero_grad()
        module(with_prior(batch_of(8)))[0].backward()
        gradients.append({k: p.grad.clone() for k, p in trained_parameters(module).items()})
    assert_equal_gradients(*gradients)


def test_images_for_the_anchor_alone_take_no_pass_of_the_denoiser(base, tiny_base, monkeypatch):
    sizes, whole = [], base.denoise_with_features
    monkeypatch.setattr(
        base, "denoise_with_features", lambda z, *rest: sizes.append(len(z)) or whole(z, *rest)
    )
    module = anchored(base, tiny_base)
    _, parts = module(with_prior(batch_of(8)))
    assert sum(sizes) == 8 and parts["prior"] == 0 and parts["anchor"] > 0


def test_a_recipe_without_general_images_or_with_one_a_step_is_refused(project, recipe):
    with pytest.raises(UsageError, match="compares general images, and none brings them"):
        train(project, load_recipe(recipe.base, "objectives.anchor.on=general"))
    one = (*GENERAL, "train.batch_size=8", "train.denoise_batch=4", "objectives.prior.every=3")
    with pytest.raises(UsageError, match="A step holds 1 general images") as refused:
        train(project, load_recipe(recipe.base, *one))
    assert "objectives.prior.every=2" in refused.value.action


# ---------------------------------------------------------------- whole runs


def test_a_run_on_general_images_resumes_exactly(project, tmp_path, recipe):
    schedule = ("train.steps=3", "train.checkpoint_every=2")
    assert_resumes_exactly(
        project, tmp_path, load_recipe(recipe.base, *FEW, *GENERAL, *schedule, name="joint"), last=3
    )


def test_a_run_resumes_exactly_and_its_checkpoints_hold_no_copy(project, tmp_path, recipe):
    anchored = load_recipe(recipe.base, ANCHORED)
    # After the checkpoint of step 3.
    name = assert_resumes_exactly(project, tmp_path, anchored, last=5)
    checkpoint = project.path("runs", name, "checkpoints", "step-000006")
    weights = checkpoints.tensors(checkpoint, "weights")
    base = loading.load_base(str(recipe.base), 32)
    assert weights.keys() <= dict(base.named_parameters()).keys()


@pytest.mark.slow
def test_two_processes_train_where_nothing_reads_the_temperature(project, recipe):
    """DDP waits for the gradient of every parameter, unless it is to look for those without."""
    without = [f"objectives.{name}=null" for name in ("contrastive", "consistency")]
    options = [ANCHORED, *without, "train.processes=2", "train.steps=3"]
    name, _ = train(project, load_recipe(recipe.base, *options))
    assert sorted(losses(project, name)) == [1, 2, 3]


@pytest.mark.slow
def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base):
    one, two = gradients_of_one_and_two(GRADIENTS, tmp_path, tiny_base, ANCHORED)
    assert_equal_gradients(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("brought", ["every=3", "every=2, below=4"])
def test_on_general_images_two_processes_equal_one(tmp_path, tiny_base, brought):
    """Samples 0, 3 and 6 bring one each: two of one process, one of the other. Or 0 and 2: none."""
    script = GRADIENTS.replace("every=3", brought)
    one, two = gradients_of_one_and_two(script, tmp_path, tiny_base, *GENERAL)
    assert_equal_gradients(one, two)


@pytest.mark.slow
def test_two_processes_train_on_general_images(project, recipe):
    """With PCGrad too, which reads the text tower through its cut."""
    options = (*FEW, *GENERAL, "train.processes=2", "train.steps=2", "train.pcgrad=true")
    name, _ = train(project, load_recipe(recipe.base, *options, name="joint"))
    assert sorted(losses(project, name)) == [1, 2]
