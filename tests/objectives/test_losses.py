"""The formulas of the losses: values by hand, limit cases, who gets a gradient."""

import math

import pytest
import torch

from unidiff_cli.objectives import _losses
from unidiff_cli.objectives._heads import mlp
from unidiff_cli.objectives._losses import targets
from unidiff_cli.objectives.sigmoid import sigmoid_loss


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_relational_and_projected_are_at_their_minimum_in_a_collapse():
    """method.md: so they do not prevent one; contrastive is at ln 64."""
    v, u = torch.ones(64, 8), torch.ones(64, 12)
    assert float(_losses.relational(v, u)) == pytest.approx(0.000, abs=1e-6)
    h_v, h_u = mlp(8, 12), mlp(12, 8)
    with torch.no_grad():
        contrast = _losses.feature_contrast(mlp(8, 8)(v), mlp(12, 8)(u), torch.arange(64))
    assert float(contrast) == pytest.approx(4.159, abs=5e-4)
    learner = torch.optim.Adam([*h_v.parameters(), *h_u.parameters()], lr=1e-2)
    for _ in range(100):
        loss = _losses.projected(v, u, h_v(v), h_u(u))
        learner.zero_grad()
        loss.backward()
        learner.step()
    assert float(loss.detach()) == pytest.approx(-1.000, abs=1e-3)


def test_one_side_collapsed_costs_ln_n_by_contrast():
    healthy, point = normal(64, 8), torch.ones(64, 8, dtype=torch.float64)
    alone = torch.arange(64)
    assert float(_losses.feature_contrast(healthy, point, alone)) >= math.log(64) - 1e-9
    assert float(_losses.feature_contrast(healthy, healthy, alone)) < 1


def test_images_of_one_product_are_not_parted():
    h_v, h_u = normal(4, 8), normal(4, 8, seed=1)
    h_v[1], h_u[1] = h_v[0], h_u[0]
    parted = _losses.feature_contrast(h_v, h_u, torch.tensor([0, 1, 2, 3]))
    assert _losses.feature_contrast(h_v, h_u, torch.tensor([0, 0, 2, 3])) < parted


def test_projected_by_hand():
    v, u = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0, 0.0]])
    h_v, h_u = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    # Cosines 0 and 1.
    assert float(_losses.projected(v, u, h_v, h_u)) == -0.5


def test_relational_drift_is_zero_at_the_base_and_teaches_v_only():
    v0 = normal(8, 4)
    assert _losses.relational_drift(v0, v0).abs() < 1e-12
    v, v0 = normal(8, 4, seed=1).requires_grad_(), v0.requires_grad_()
    _losses.relational_drift(v, v0).backward()
    assert v.grad.abs().sum() > 0 and v0.grad is None


def test_cross_modal_is_zero_where_both_answer_alike_and_leaves_the_captions():
    v, e = normal(6, 4), normal(6, 4, seed=2).requires_grad_()
    assert _losses.cross_modal(v, 3 * v, e).abs() < 1e-12
    v, h_u = v.requires_grad_(), normal(6, 4, seed=3).requires_grad_()
    _losses.cross_modal(v, h_u, e).backward()
    assert v.grad.abs().sum() > 0 and h_u.grad.abs().sum() > 0 and e.grad is None


def test_cross_modal_by_hand():
    """Two captions; v tells them apart 3 : 1, h(u) not at all."""
    # Cosines 1 and 0 are 3 : 1.
    tau = 1 / math.log(3)
    e = torch.eye(2, dtype=torch.float64)
    v, h_u = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[1.0, 1.0]]).double()
    of_v = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    of_u = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    loss = float(_losses.cross_modal(v, h_u, e, tau))
    assert loss == pytest.approx((of_v + of_u) / 2, rel=1e-9)


def test_sigmoid_takes_equal_captions_as_matches_and_leaves_a_product_out():
    shares, left_out = targets(torch.tensor([1, 1, 2]), torch.tensor([7, 8, 8]), "ignore")
    # 9 is what a negative would pay dearly.
    logits = 40.0 * torch.tensor([[1, 1, -1], [1, 1, 9], [-1, 9, 1]])
    assert float(sigmoid_loss(logits, shares > 0, left_out)) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(sigmoid_loss(1e4 * logits, shares > 0, left_out))
