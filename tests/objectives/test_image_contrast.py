"""Image-image contrast: by hand, its pairs, its augmented views, and alike on two processes."""

import math

import pytest
import torch

from tests.support.batches import batch_of, forward_of
from tests.support.projects import load_recipe
from tests.support.runs import (
    GRADIENTS,
    assert_equal_gradients,
    assert_resumes_exactly,
    gradients_of_one_and_two,
)
from unidiff_cli import train
from unidiff_cli.data.order import PairedOrder
from unidiff_cli.errors import UsageError
from unidiff_cli.models import loading
from unidiff_cli.models.augment import augmented
from unidiff_cli.objectives.image_contrast import ImageContrast, supervised_contrast

ON = "objectives.image_contrast.weight=1"


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


# ---------------------------------------------------------------- the formula


def test_by_hand():
    """Two views of one product, and an image of another: e^a against e^b."""
    cosines = torch.tensor([[1.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 1.0]]).double()
    found = supervised_contrast(cosines, torch.tensor([7, 7, 8]), temperature=0.5)
    first = -math.log(math.exp(1.0) / (math.exp(1.0) + math.exp(0.2)))
    second = -math.log(math.exp(1.0) / (math.exp(1.0) + math.exp(0.4)))
    assert found.tolist() == pytest.approx([first, second, 0.0], rel=1e-6)


def test_several_positives_share_the_weight():
    cosines = torch.eye(4).double()
    found = supervised_contrast(cosines, torch.tensor([1, 1, 1, 2]), temperature=1.0)
    assert found.tolist() == pytest.approx([math.log(3)] * 3 + [0.0])


def test_what_is_alike_costs_less():
    g = torch.Generator().manual_seed(0)
    centre = torch.nn.functional.normalize(torch.randn(4, 8, generator=g), dim=1)
    groups = torch.arange(4).repeat(2)
    near, far = torch.cat([centre, centre]), torch.randn(8, 8, generator=g)
    far = torch.nn.functional.normalize(far, dim=1)
    assert supervised_contrast(near @ near.T, groups, 0.1).mean() < 0.5
    assert supervised_contrast(far @ far.T, groups, 0.1).mean() > 1


# ---------------------------------------------------------------- views


def test_views_are_crops_that_say_what_they_are():
    pixels = torch.arange(8 * 8).reshape(1, 1, 8, 8).expand(2, 3, 8, 8).to(torch.uint8)
    same = augmented(pixels, torch.tensor([[1.0, 0.5, 0.5, 0.9]] * 2))
    assert torch.equal(same, pixels)
    mirrored = augmented(pixels, torch.tensor([[1.0, 0.5, 0.5, 0.1]] * 2))
    assert torch.equal(mirrored, pixels.flip(3))
    left = augmented(pixels, torch.tensor([[0.0, 0.0, 0.5, 0.9]] * 2)).float().mean((1, 2, 3))
    right = augmented(pixels, torch.tensor([[0.0, 0.999, 0.5, 0.9]] * 2)).float().mean((1, 2, 3))
    assert (left < right).all()


def test_an_image_alone_is_compared_with_another_view_of_itself(base):
    batch = batch_of(6)
    batch.group_ids = torch.tensor([1, 1, 2, 2, 3, 4])
    forward = forward_of(base, batch, ImageContrast().needs)
    loss, figures = ImageContrast().loss(forward)
    assert loss > 0 and 0 <= figures["image_contrast_accuracy"] <= 1
    batch.group_ids = torch.arange(6)
    loss, figures = ImageContrast().loss(forward_of(base, batch, ImageContrast().needs))
    assert loss > 0 and not figures
    loss.backward()
    gradient = next(iter(base.clip.visual_projection.parameters())).grad
    assert gradient is not None and gradient.abs().sum() > 0
    assert all(p.grad is None for p in base.clip.text_model.parameters())


# ---------------------------------------------------------------- pairs


@pytest.mark.parametrize("sizes", [[2] * 8, [3, 1, 4, 1, 5], [1] * 7, [5]])
def test_samples_of_a_group_come_in_pairs(sizes):
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    order = PairedOrder(groups, seed=0)
    for epoch in range(3):
        stream = [order(epoch * order.count + k) for k in range(order.count)]
        assert set(stream) == set(range(len(groups))) and len(stream) - len(groups) in (0, 1)
        pairs = [(groups[a], groups[b]) for a, b in zip(stream[::2], stream[1::2], strict=True)]
        assert sum(a == b for a, b in pairs) >= sum(size // 2 for size in sizes)
    first = [order(k) for k in range(order.count)]
    assert first == [PairedOrder(groups, seed=0)(k) for k in range(order.count)]
    assert len(groups) < 6 or first != [PairedOrder(groups, seed=1)(k) for k in range(order.count)]


@pytest.mark.parametrize("key", ["no_duplicates", "streaming"])
def test_what_keeps_views_apart_is_refused(project, tiny_base, key):
    more = [] if key == "no_duplicates" else ["train.cache_latents=false"]
    recipe = load_recipe(tiny_base, ON, f"train.{key}=true", "train.steps=1", *more)
    with pytest.raises(UsageError, match=f"train.{key} is on"):
        train(project, recipe)


@pytest.mark.slow
def test_a_run_resumes_exactly(project, tmp_path, tiny_base):
    recipe = load_recipe(tiny_base, ON, "train.steps=4", "train.batch_size=8")
    assert_resumes_exactly(project, tmp_path, recipe, last=2)


@pytest.mark.slow
def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base):
    """One product has a view on each process, another both on one; the rest are alone."""
    whole = "batch_of(8)"
    assert GRADIENTS.count(whole) == 1
    grouped = "dataclasses.replace(batch_of(8), group_ids=torch.tensor([1, 2, 3, 3, 1, 4, 5, 6]))"
    script = "import dataclasses" + GRADIENTS.replace(whole, grouped)
    assert_equal_gradients(*gradients_of_one_and_two(script, tmp_path, tiny_base, ON))
