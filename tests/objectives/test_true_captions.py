"""Captions that are true of another row's image: no negatives of it, by hand."""

import dataclasses

import pytest
import torch

from tests.support.batches import batch_of, forward_of
from tests.support.runs import GRADIENTS, assert_equal_gradients, gradients_of_one_and_two
from unidiff_cli.models import loading
from unidiff_cli.objectives._pairs import pair_targets
from unidiff_cli.objectives.contrastive import Contrastive


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def told(batch):
    """Rows 0 and 1 show the caption 9; row 2 could, and shows its own; row 3 has another kind."""
    return dataclasses.replace(
        batch,
        caption_ids=torch.tensor([9, 9, 2, 3]),
        true_ids=torch.tensor([[0, 9], [1, 9], [2, 9], [3, 8]]),
    )


def test_equal_captions_are_positives_and_true_ones_are_left_out(base):
    forward = forward_of(base, told(batch_of(4)), Contrastive.needs)
    shares, left_out = pair_targets(forward, "ignore")
    assert shares.tolist() == [[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    # Image 2 against captions 0 and 1. Caption 2 names its own product: a negative of images 0, 1.
    assert left_out.nonzero().tolist() == [[2, 0], [2, 1]]


def test_without_changed_captions_nothing_is_left_out(base):
    batch = dataclasses.replace(told(batch_of(4)), true_ids=None)
    assert not pair_targets(forward_of(base, batch, Contrastive.needs), "ignore")[1].any()


def test_the_rows_of_the_denoiser_alone(base):
    batch = dataclasses.replace(told(batch_of(4)), denoise_rows=[0, 2])
    forward = forward_of(base, batch, Contrastive.needs)
    assert pair_targets(forward, "ignore", denoised=True)[1].nonzero().tolist() == [[1, 0]]


def test_what_is_left_out_does_not_count_in_the_loss(base):
    """−log softmax of image 2 is over captions 2 and 3 only."""
    forward = forward_of(base, told(batch_of(4)), Contrastive.needs)
    logits = base.logit_scale.exp() * forward.image_embeds @ forward.text_embeds.T
    images = [
        -(logits[0].log_softmax(0)[:2].mean()),
        -(logits[1].log_softmax(0)[:2].mean()),
        -(logits[2, 2:].log_softmax(0)[0]),
        -(logits[3].log_softmax(0)[3]),
    ]
    texts = [
        -(logits[[0, 1, 3], 0].log_softmax(0)[:2].mean()),
        -(logits[[0, 1, 3], 1].log_softmax(0)[:2].mean()),
        -(logits[:, 2].log_softmax(0)[2]),
        -(logits[:, 3].log_softmax(0)[3]),
    ]
    expected = (torch.stack(images).mean() + torch.stack(texts).mean()) / 2
    assert float(Contrastive().loss(forward)[0]) == pytest.approx(float(expected), rel=1e-5)


# Rows of both processes show one caption, others could; images of both change.
CHANGED = """
import torch
own = slice(rank * 8 // world, (rank + 1) * 8 // world)
batch.caption_ids = torch.tensor([9, 9, 2, 3, 9, 5, 6, 7])[own]
batch.true_ids = torch.tensor([[0, 9], [1, 9], [2, 9], [3, 8], [4, 9], [5, 9], [6, 8], [7, 8]])[own]
batch.recoloured = [i for i, position in enumerate(batch.positions) if position in (1, 6)]
batch.cropped = [i for i, position in enumerate(batch.positions) if position in (1, 2, 7)]
"""


@pytest.mark.slow
def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base):
    shared = "batch = share_of(batch_of(8), rank, world)\n"
    assert GRADIENTS.count(shared) == 1
    script = GRADIENTS.replace(shared, shared + CHANGED)
    assert_equal_gradients(*gradients_of_one_and_two(script, tmp_path, tiny_base))
