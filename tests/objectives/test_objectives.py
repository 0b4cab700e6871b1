"""The terms: pinned values, who gets a gradient, what each costs, and a run of each from its first step to its export."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from tests.support.runs import GRADIENTS, Cut, cut_at, losses
from unidiff_cli import export, train
from unidiff_cli.models import loading
from unidiff_cli.models.forward import ForwardPass
from unidiff_cli.objectives import _losses
from unidiff_cli.objectives._heads import mlp
from unidiff_cli.objectives._losses import targets
from unidiff_cli.objectives.sigmoid import sigmoid_loss
from unidiff_cli.project import checkpoints
from unidiff_cli.training.module import TrainingModule, combined_needs
from unidiff_cli.training.optimizer import parameter_groups

KINDS = ("relational", "relational+anchor", "projected", "contrastive", "cross_modal", "decoded")
HEADED = ("projected", "contrastive", "cross_modal")


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------- formulas


def test_both_collapsed_at_64():
    """method.md §3: two of the three are at their minimum in a collapse, so they do not prevent one."""
    v, u = torch.ones(64, 8), torch.ones(64, 12)
    assert float(_losses.relational(v, u)) == pytest.approx(0.000, abs=1e-6)
    h_v, h_u = mlp(8, 12), mlp(12, 8)
    with torch.no_grad():
        contrast = _losses.contrastive(mlp(8, 8)(v), mlp(12, 8)(u), torch.arange(64))
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
    assert float(_losses.contrastive(healthy, point, alone)) >= math.log(64) - 1e-9
    assert float(_losses.contrastive(healthy, healthy, alone)) < 1


def test_images_of_one_product_are_not_parted():
    h_v, h_u = normal(4, 8), normal(4, 8, seed=1)
    h_v[1], h_u[1] = h_v[0], h_u[0]
    parted = _losses.contrastive(h_v, h_u, torch.tensor([0, 1, 2, 3]))
    assert _losses.contrastive(h_v, h_u, torch.tensor([0, 0, 2, 3])) < parted


def test_projected_by_hand():
    v, u = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0, 0.0]])
    h_v, h_u = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert float(_losses.projected(v, u, h_v, h_u)) == -0.5  # cosines 0 and 1


def test_kept_is_zero_at_the_base_and_teaches_v_only():
    v0 = normal(8, 4)
    assert _losses.kept(v0, v0).abs() < 1e-12
    v, v0 = normal(8, 4, seed=1).requires_grad_(), v0.requires_grad_()
    _losses.kept(v, v0).backward()
    assert v.grad.abs().sum() > 0 and v0.grad is None


def test_cross_modal_is_zero_where_both_answer_alike_and_leaves_the_captions():
    v, e = normal(6, 4), normal(6, 4, seed=2).requires_grad_()
    assert _losses.cross_modal(v, 3 * v, e).abs() < 1e-12
    v, h_u = v.requires_grad_(), normal(6, 4, seed=3).requires_grad_()
    _losses.cross_modal(v, h_u, e).backward()
    assert v.grad.abs().sum() > 0 and h_u.grad.abs().sum() > 0 and e.grad is None


def test_cross_modal_by_hand():
    """Two captions; v tells them apart 3 : 1, h(u) not at all."""
    tau = 1 / math.log(3)  # cosines 1 and 0 are 3 : 1
    e = torch.eye(2, dtype=torch.float64)
    v, h_u = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[1.0, 1.0]]).double()
    there = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    back = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert float(_losses.cross_modal(v, h_u, e, tau)) == pytest.approx((there + back) / 2, rel=1e-9)


def test_sigmoid_equals_open_clip():
    loss = pytest.importorskip("open_clip.loss")
    image, text = (
        nn.functional.normalize(normal(12, 16, seed=s), dim=-1).requires_grad_() for s in (0, 1)
    )
    scale, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (10.0, -10.0))
    shares, left_out = targets(torch.arange(12), torch.arange(12), "ignore")
    ours = sigmoid_loss(scale * image @ text.T + bias, shares > 0, left_out)
    theirs = loss.SigLipLoss()(image, text, scale, bias)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    asked = (image, text, scale, bias)
    for mine, other in zip(
        torch.autograd.grad(ours, asked), torch.autograd.grad(theirs, asked), strict=True
    ):
        assert torch.allclose(mine, other, rtol=1e-10, atol=1e-14)


def test_sigmoid_takes_equal_captions_as_matches_and_leaves_a_product_out():
    shares, left_out = targets(torch.tensor([1, 1, 2]), torch.tensor([7, 8, 8]), "ignore")
    logits = 40.0 * torch.tensor(
        [[1, 1, -1], [1, 1, 9], [-1, 9, 1]]
    )  # 9: what a negative would pay dearly
    assert float(sigmoid_loss(logits, shares > 0, left_out)) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(sigmoid_loss(1e4 * logits, shares > 0, left_out))


# ---------------------------------------------------------------- what a step costs, and whom it teaches


@pytest.fixture
def calls(base, monkeypatch):
    count: dict[str, int] = {}
    for name in ("text", "image", "denoise", "features"):
        whole = getattr(base, name)

        def counted(*args, _name=name, _whole=whole, **options):
            count[_name] = count.get(_name, 0) + 1
            return _whole(*args, **options)

        monkeypatch.setattr(base, name, counted)
    return count


def of_kind(tiny_base, kind, *more):
    return load_recipe(tiny_base, f"objectives.consistency.kind={kind}", *more)


CAPTION = "objectives.consistency.prompt=caption"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", ["null", "caption"])
def test_the_null_prompt_is_one_more_half_pass_and_the_caption_none(
    base, tiny_base, calls, kind, prompt
):
    recipe = of_kind(
        tiny_base,
        kind,
        f"objectives.consistency.prompt={prompt}",
        "objectives.consistency.max_timestep=700",
    )
    joint = TrainingModule(base, recipe.active(), seed=0).train()
    total, parts = joint(batch_of(8))
    expected = {"text": 1, "image": 1, "denoise": 1}
    if (
        kind == "decoded"
    ):  # it looks at what the UNet answers: a whole pass, and CLIP at the decoded image
        expected |= {"image": 2, "denoise": 1 if prompt == "caption" else 2}
    elif prompt == "null":
        expected["features"] = 1
    assert calls == expected and torch.isfinite(total)
    if prompt == "caption":
        assert 2 <= parts["consistency_rows"] < 8


def test_what_is_not_looked_at_is_not_paid_for(tiny_base):
    without = ("objectives.denoise=null", "objectives.contrastive=null")
    for kind in KINDS:
        asked = combined_needs(of_kind(tiny_base, kind, *without).active())
        assert (
            asked.frozen_images == (kind == "relational+anchor")
            and asked.null_row
            and asked.latents
        )
        assert not combined_needs(of_kind(tiny_base, kind, CAPTION, *without).active()).null_row


@pytest.mark.parametrize("tap", ["mid", "up1"])
def test_both_prompts_see_the_same_block(base, tap):
    """The half pass, at the denoise pass's own inputs, gives what the hook sees."""
    states, _ = base.text(base.tokenize(["", "a", "b"]))
    z, t = torch.randn(3, 4, 8, 8), torch.tensor([5, 100, 299])
    with torch.no_grad(), base.tapped() as found:
        base.denoise(z, t, states)
        half = base.features(z, t, states, tap)
    assert torch.allclose(half, found[tap], atol=1e-5) and half.shape == (
        3,
        base.feature_width(tap),
    )
    assert not base.unet.mid_block._forward_hooks and not base.unet.up_blocks[1]._forward_hooks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tap", ["mid", "up1"])
def test_both_sides_and_the_heads_are_taught_and_nothing_else(base, tiny_base, kind, tap):
    recipe = of_kind(
        tiny_base,
        kind,
        f"objectives.consistency.layer={tap}",
        "train.trains=[vision, denoiser, new_layers]",
    )
    joint = TrainingModule(base, {"consistency": recipe.active()["consistency"]}, seed=0)
    parameter_groups(joint, recipe.train)
    with torch.no_grad():  # off the base, where the anchor is not flat
        for p in base.clip.vision_model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    joint.train()(batch_of(8))[0].backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in base.towers()["vision"])
    assert base.unet.conv_in.weight.grad.abs().sum() > 0
    whole = kind == "decoded"
    assert (base.unet.conv_out.weight.grad is not None) == whole
    assert (base.unet.up_blocks[0].resnets[0].conv1.weight.grad is not None) == (
        whole or tap == "up1"
    )
    assert bool(list(joint.heads.parameters())) == (kind in HEADED)
    assert all(p.grad.abs().sum() > 0 for p in joint.heads.parameters() if p.ndim > 1)
    others = [*base.clip.text_model.parameters(), *base.vae.parameters()]
    assert all(p.grad is None for p in others)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_a_barely_noised_sample_is_zero_with_a_gradient(base, tiny_base, kind):
    """DDP waits for every parameter's gradient, whatever a step's timesteps are."""
    recipe = of_kind(tiny_base, kind, CAPTION, "objectives.consistency.max_timestep=1")
    joint = TrainingModule(base, recipe.active(), seed=0).train()
    parameter_groups(joint, recipe.train)
    total, parts = joint(batch_of(4))
    total.backward()
    assert parts["consistency"] == 0 and parts["consistency_rows"] == 0
    assert all(p.grad is not None for p in joint.heads.parameters())


def test_the_caption_prompt_counts_barely_noised_samples_only(base, tiny_base):
    recipe = of_kind(tiny_base, "projected", CAPTION, "objectives.consistency.max_timestep=600")
    joint = TrainingModule(base, recipe.active(), seed=0)
    forward = ForwardPass(base, batch_of(8), joint.needs, 0, 0)
    near = forward.timesteps < 600
    assert 2 <= near.sum() < 8
    term = joint.terms["consistency"]
    with torch.no_grad():
        loss, _ = term(forward)
        v, u = forward.image_embeds, forward.denoiser_features(600, "mid", "caption")
        cosines = [
            nn.functional.cosine_similarity(a, b)[near].mean()
            for a, b in ((v, term.h_u(u)), (u, term.h_v(v)))
        ]
    assert float(loss) == pytest.approx(-float(sum(cosines)) / 2, rel=1e-5)


def test_decoded_images_are_resized_as_the_processor_does(base):
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    image = Image.fromarray(noise).resize((48, 48), Image.Resampling.BICUBIC)
    theirs = base.clip_pixels([image]).float()
    ours = base.clip_resize(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float())
    assert ours.shape == theirs.shape and float((ours - theirs).abs().max()) <= 1.01


def test_decoded_is_zero_where_the_unet_is_right(base, tiny_base, monkeypatch):
    """With ẑ₀ = z the only difference left is the autoencoder's own."""
    recipe = of_kind(tiny_base, "decoded", CAPTION, "objectives.consistency.max_timestep=1000")
    joint = TrainingModule(base, recipe.active(), seed=0)
    forward = ForwardPass(base, batch_of(4), joint.needs, 0, 0)
    monkeypatch.setattr(ForwardPass, "denoised", lambda self, below, prompt: self.latents)
    with torch.no_grad():
        forward.batch.clip_pixels = base.clip_resize(base.decode(forward.latents))
        assert joint.terms["consistency"](forward)[0].abs() < 1e-6


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_right_prediction_gives_the_clean_latents_back(tmp_path, prediction):
    from tests.support.base import write_base

    base = loading.load_base(str(write_base(tmp_path / "base", prediction=prediction)), 32)
    z, eps, t = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 150, 299])
    back = base.clean(base.noisy(z, eps, t), base.target(z, eps, t), t)
    assert torch.allclose(back, z, atol=1e-4)


# ---------------------------------------------------------------- anchor by weights


def test_anchored_weights_pull_what_trains_back_to_the_base(base, tiny_base):
    recipe = load_recipe(
        tiny_base, "objectives.anchor.kind=weights", "train.trains=[denoiser]", name="sd-only"
    )
    joint = TrainingModule(base, recipe.active(), seed=0)
    assert not joint.needs.frozen_images and not joint.needs.pixels
    parameter_groups(joint, recipe.train)
    weight = base.unet.conv_in.weight
    start = weight.detach().clone()
    with torch.no_grad():
        weight.add_(0.5)
        base.clip.logit_scale.add_(1)  # does not train, so it does not count
    loss, _ = joint.terms["anchor"](ForwardPass(base, batch_of(4), joint.needs, 0, 0))
    assert float(loss.detach()) == pytest.approx(0.5 * 0.25 * weight.numel(), rel=1e-5)
    loss.backward()
    assert torch.allclose(weight.grad, weight - start)
    assert len(joint.terms["anchor"].pairs) == len(base.towers()["denoiser"])


# ---------------------------------------------------------------- whole runs

RUNS = [
    *[(f"objectives.consistency.kind={kind}",) for kind in KINDS],
    ("objectives.consistency.kind=contrastive", CAPTION, "objectives.consistency.layer=up1"),
    ("objectives.sigmoid.weight=1", "objectives.contrastive=null"),
    ("objectives.anchor.kind=weights",),
]


@pytest.mark.parametrize("options", RUNS, ids=lambda o: " ".join(o).replace("objectives.", ""))
def test_a_run_resumes_exactly_and_exports_without_heads(project, tmp_path, recipe, options):
    from tests.support.projects import copy_project

    asked = load_recipe(
        recipe.base, *options, "train.steps=3", "train.checkpoint_every=2", "train.validate_every=3"
    )
    whole = copy_project(project, tmp_path / "whole")
    name, _ = train(whole, asked)
    with pytest.raises(Cut):
        train(project, asked, on_step=cut_at(3))
    train(project, asked, resume=True)
    assert losses(project, name) == losses(whole, name)
    kept = checkpoints.tensors(project.path("runs", name, "checkpoints", "step-000003"), "weights")
    heads = {k for k in kept if k.startswith("heads.")}
    known = any(kind in options[0] for kind in HEADED) or "sigmoid" in options[0]
    assert bool(heads) == known
    exported, _ = export(project, name)
    folder = project.path("exports", exported)
    from safetensors import safe_open

    names = set()
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            names |= set(opened.keys())
    assert names and not [n for n in names if "head" in n or "log_scale" in n]
    loading.load_base(str(folder), 32)


SHARED = {
    "contrastive": ("objectives.consistency.kind=contrastive",),
    "captioned": (
        "objectives.consistency.kind=projected",
        CAPTION,
        "objectives.consistency.max_timestep=600",
    ),
    "decoded": (
        "objectives.consistency.kind=decoded",
        CAPTION,
        "objectives.consistency.max_timestep=600",
    ),
    "sigmoid": ("objectives.sigmoid.weight=1",),
    "cross_modal": ("objectives.consistency.kind=cross_modal",),
    "relational+anchor": ("objectives.consistency.kind=relational+anchor",),
    "text_diffusion": ("objectives.text_diffusion.weight=1",),
}
NEW = dict.fromkeys(("contrastive", "captioned", "sigmoid", "cross_modal"), "heads.")
NEW["text_diffusion"] = "dual_stream."


@pytest.mark.parametrize("name", SHARED)
def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base, name):
    from safetensors.torch import load_file

    options = json.dumps(SHARED[name])[1:-1]
    code = GRADIENTS.replace("load_recipe(sys.argv[1])", f"load_recipe(sys.argv[1], {options})")
    assert options in code
    script, one, two = (
        tmp_path / name for name in ("gradients.py", "one.safetensors", "two.safetensors")
    )
    script.write_text(code)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CHECKOUT": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, script, tiny_base, one], check=True, env=env)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, script, tiny_base, two], check=True, env=env)
    ours, theirs = load_file(two), load_file(one)
    if name in NEW:
        assert any(v.abs().max() > 0 for k, v in theirs.items() if k.startswith(NEW[name]))
    scale = max(float(gradient.abs().max()) for gradient in theirs.values())
    assert all(float((ours[k] - v).abs().max()) < 1e-12 * scale for k, v in theirs.items())
