"""DiffDis's layers: the image side is the plain UNet, the loss does not leak, DDIM is right."""

from functools import partial

import pytest
import torch

from tests.support.batches import forward_of
from tests.support.projects import load_recipe
from unidiff_cli.data.dataset import BatchPlan, Samples
from unidiff_cli.data.order import subsample, subsample_position
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import UsageError
from unidiff_cli.models import dual_stream, loading
from unidiff_cli.models.dual_stream import DualStream
from unidiff_cli.models.unet import UnetText
from unidiff_cli.objectives.text_diffusion import PURE, schedule_parts
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups


def base_with_stream(folder, size=32):
    base = loading.load_base(str(folder), size)
    torch.manual_seed(0)
    base.attach(DualStream.for_base(base, gamma=1.0))
    return base.eval()


# ---------------------------------------------------------------- the masked query


def masked_pass(base, monkeypatch, e, t_e, z, text, t_z):
    """ê₀ and the UNet's prediction where the query sees the image and the image not the query.

    The stream's own forward runs, with a mask in every self-attention and the timestep of the
    image; what it leaves at the UNet's blocks goes on through the UNet's own up path.
    """
    unet, stream, skips, hooks = base.unet, DualStream.of(base), [], []

    def hide_query(attention, inputs, options):
        length = inputs[0].shape[1]
        mask = inputs[0].new_zeros(len(inputs[0]), length, length)
        mask[:, :-1, -1] = -torch.inf
        return inputs, {**options, "attention_mask": mask}

    def keep(module, inputs, output):
        skips.append(output)

    def keep_attended(*args, whole=dual_stream.attend):
        x, h = whole(*args)
        skips.append(x)
        return x, h

    for block in dual_stream.transformer_blocks(unet):
        hooks.append(block.attn1.register_forward_pre_hook(hide_query, with_kwargs=True))
    hooks.append(unet.time_proj.register_forward_pre_hook(lambda module, inputs: (t_z,)))
    hooks.append(unet.conv_in.register_forward_hook(keep))
    for block in unet.down_blocks:
        resnets = [] if getattr(block, "attentions", None) else block.resnets
        hooks += [part.register_forward_hook(keep) for part in resnets]
        hooks += [part.register_forward_hook(keep) for part in block.downsamplers or ()]
    middle = unet.mid_block.resnets[-1]
    hooks.append(middle.register_forward_hook(keep))
    monkeypatch.setattr(dual_stream, "attend", keep_attended)
    try:
        e0 = stream(unet, e, t_e, z, base.unet_text(text))
        # The middle block's output comes after the skips and its own attention's.
        attended = len(unet.mid_block.attentions)
        x, skips = skips[-1], skips[: -1 - attended]
        emb = unet.time_embedding(unet.time_proj(t_z).to(z.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return e0, up_path(unet, x, skips, emb, text.states)


def up_path(unet, x, skips, emb, states):
    """The UNet's own up path, (B, c, h, w)."""
    for block in unet.up_blocks:
        count = len(block.resnets)
        joined, skips = tuple(skips[-count:]), skips[:-count]
        attends = getattr(block, "has_cross_attention", False)
        x = block(
            hidden_states=x,
            temb=emb,
            res_hidden_states_tuple=joined,
            upsample_size=tuple(skips[-1].shape[2:]) if skips else None,
            **({"encoder_hidden_states": states} if attends else {}),
        )
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))


@pytest.mark.parametrize("which", ["tiny", "nano"])
@torch.no_grad()
def test_with_the_query_masked_the_network_is_the_plain_unet(which, tiny_base, monkeypatch):
    base = base_with_stream(*((tiny_base, 32) if which == "tiny" else ("nano", 128)))
    z, t = torch.randn(3, *base.latent_shape), torch.tensor([0, 400, 999])
    text = base.encode_text(["red dress", "a hat", ""])
    e, t_e = torch.randn(3, base.dimension), torch.tensor([10, 500, 999])
    plain = base.denoise(z, t, text)
    e0, masked = masked_pass(base, monkeypatch, e, t_e, z, text, t_z=t)
    assert e0.shape == (3, base.dimension) and (masked - plain).abs().max() < 1e-5


@torch.no_grad()
def test_the_query_sees_an_image_that_sees_the_query(tiny_base, monkeypatch):
    base = base_with_stream(tiny_base)
    z, t_e = torch.randn(3, *base.latent_shape), torch.tensor([10, 500, 999])
    text, e = base.encode_text(["red dress", "a hat", ""]), torch.randn(3, base.dimension)
    unmasked = DualStream.of(base)(base.unet, e, t_e, z, base.unet_text(text))
    clean = torch.zeros(3, dtype=torch.long)
    masked, _ = masked_pass(base, monkeypatch, e, t_e, z, text, t_z=clean)
    assert (unmasked - masked).abs().max() > 1e-6


# ---------------------------------------------------------------- the loss


def forward_over(base, recipe, project):
    shards = Shards.open(project.path("shards"))
    samples = Samples(
        shards, shards.rows("train"), BatchPlan(16, seed=0), transforms=base.transforms()
    )
    needs = TrainingModule(base, recipe.active(), seed=0).needs
    return forward_of(base, samples[0], needs, training=True)


@pytest.fixture
def text_loss(tiny_base, prepared, monkeypatch):
    """The base after the loss's backward, the embeddings that were noised, and the figures."""
    recipe = load_recipe(tiny_base, "objectives.denoise=null", name="diffdis")
    base = loading.load_base(str(tiny_base), 32)
    module = TrainingModule(base, recipe.active(), seed=0)
    embeds, noisy = [], DualStream.noisy

    def kept(self, e0, *args):
        embeds.append(e0)
        return noisy(self, e0, *args)

    monkeypatch.setattr(DualStream, "noisy", kept)
    loss, figures = module.terms["text_diffusion"](forward_over(base, recipe, prepared))
    loss.backward()
    return base, embeds[0], figures


def test_the_noised_embedding_is_of_unit_length(text_loss):
    _, e0, _ = text_loss
    assert torch.allclose(e0.norm(dim=1), torch.ones(16), atol=1e-5)


def test_the_text_tower_gets_no_gradient_and_the_new_layers_and_the_unet_do(text_loss):
    base, _, _ = text_loss
    towers = base.parameter_groups()
    assert all(p.grad is None for p in [*towers["text"], *towers["vision"]])
    assert towers["new_layers"] and all(p.grad is not None for p in towers["new_layers"])
    block = base.unet.down_blocks[0].attentions[0].transformer_blocks[0]
    assert block.attn1.to_q.weight.grad is not None


def test_pure_noise_and_every_quarter_of_the_schedule_are_logged(text_loss):
    _, _, figures = text_loss
    names = ("pure", "t0", "t1", "t2", "t3")
    assert all(0 < float(figures[f"text_diffusion_{name}"].detach()) < 50 for name in names)


@pytest.mark.parametrize(
    ("share", "pure", "quarters"), [(0.5, 32, 8), (0.0, 0, 16), (1.0, 64, 0), (0.25, 16, 12)]
)
def test_the_share_of_pure_noise_is_exact_at_every_step(share, pure, quarters):
    """Also far into a run, and the other rows ask every quarter equally often."""
    for step in (0, 3, 10**8):
        parts = schedule_parts(torch.arange(step * 64, (step + 1) * 64), share).tolist()
        assert [parts.count(part) for part in range(4)] == [quarters] * 4
        assert parts.count(PURE) == pure


def test_a_row_of_pure_noise_holds_nothing_of_its_caption(tiny_base, prepared, monkeypatch):
    """Its timestep is the schedule's last, whose signal is 0 on a zero-terminal-SNR base."""
    recipe = load_recipe(tiny_base, "objectives.denoise=null", name="diffdis")
    base = loading.load_base(str(tiny_base), 32)
    module, times = TrainingModule(base, recipe.active(), seed=0), []
    monkeypatch.setattr(
        DualStream, "noisy", lambda self, e0, noise, t, schedule: times.append(t) or e0
    )
    module.terms["text_diffusion"](forward_over(base, recipe, prepared))
    last = len(base.schedule) - 1
    assert (times[0] == last).sum() >= 8 and times[0].max() == last
    assert float(base.schedule.signal(last)) < 1e-6


def test_images_that_the_denoiser_sees_are_compared_with_all_captions(
    tiny_base, prepared, monkeypatch
):
    """Four of 16: a softmax over 16 captions for each image, one over 4 images for each caption."""
    recipe = load_recipe(tiny_base, "objectives.denoise=null", name="diffdis")
    base = loading.load_base(str(tiny_base), 32)
    module = TrainingModule(base, recipe.active(), seed=0)
    forward = forward_over(base, recipe, prepared)
    rows = [1, 5, 9, 13]
    forward.batch.denoise_rows = rows
    forward.batch.diffusion_pixels = forward.batch.diffusion_pixels[rows]
    right = torch.nn.functional.normalize(torch.randn(4, base.dimension), dim=1)
    monkeypatch.setattr(DualStream, "predict", lambda *args: right)
    # Else equal captions and products share or leave out pairs.
    forward.batch.caption_ids = forward.batch.group_ids = torch.arange(16)
    loss, figures = module.terms["text_diffusion"](forward)
    logits = figures["text_diffusion_scale"] * right @ forward.text_embeds.T
    by_image = torch.nn.functional.cross_entropy(logits, torch.tensor(rows))
    by_caption = torch.nn.functional.cross_entropy(logits[:, rows].T, torch.arange(4))
    assert torch.allclose(loss, (by_image + by_caption) / 2, atol=1e-5)


@pytest.mark.parametrize(
    "of, part", [(64, 64), (64, 32), (128, 64), (256, 64), (4096, 64), (48, 12)]
)
def test_every_quarter_of_the_schedule_is_asked_equally_often(of, part):
    """Also where the denoiser sees part of a step: every k-th position would be of one quarter."""
    for step in (0, 3):
        positions = list(range(step * of, (step + 1) * of))
        rows = subsample(positions, part, of)
        numbers = [subsample_position(positions[i], part, of) for i in rows]
        assert numbers == list(range(step * part, (step + 1) * part))
        quarters = [sum(n % 4 == quarter for n in numbers) for quarter in range(4)]
        assert quarters == [part // 4] * 4


def test_new_layers_that_would_stay_random_are_refused(tiny_base):
    for frozen in ("train.lr.new_layers=0", "train.trains=[denoiser]"):
        recipe = load_recipe(tiny_base, frozen, name="diffdis")
        module = TrainingModule(loading.load_base(str(tiny_base), 32), recipe.active(), seed=0)
        with pytest.raises(UsageError, match="text_diffusion .* new layers, and they do not train"):
            parameter_groups(module, recipe.train)


# ---------------------------------------------------------------- sampling


@torch.no_grad()
def test_an_embedding_depends_on_its_own_image_only(tiny_base):
    base, z = base_with_stream(tiny_base), torch.randn(5, 4, 8, 8)
    sample = partial(DualStream.of(base).sample, base, steps=3, guidance=2.0)
    embeds = sample(z)
    assert torch.allclose(embeds.norm(dim=1), torch.ones(5), atol=1e-5)
    assert torch.allclose(sample(z[2:3]), embeds[2:3], atol=1e-5)


@torch.no_grad()
def test_the_mean_over_more_noises_depends_on_them_less(tiny_base, monkeypatch):
    """Of 16 disjoint sets of noises each: the variance of a mean of four is about a quarter."""
    base, z = base_with_stream(tiny_base), torch.randn(6, 4, 8, 8)
    fixed_noise = dual_stream.fixed_noise

    def spread(noises):
        embeds = []
        for first in range(0, 16 * noises, noises):
            shifted = partial(lambda first, n, dimension: fixed_noise(first + n, dimension), first)
            monkeypatch.setattr(dual_stream, "fixed_noise", shifted)
            embeds.append(DualStream.of(base).sample(base, z, noises=noises))
        return float(torch.stack(embeds).var(0).sum(1).mean())

    one, four = spread(1), spread(4)
    assert one > 1e-6 and four < one / 2


@torch.no_grad()
def test_the_noises_are_the_same_at_every_call_and_the_first_is_that_of_old_exports(tiny_base):
    base, z = base_with_stream(tiny_base), torch.randn(3, 4, 8, 8)
    sample = partial(DualStream.of(base).sample, base, z)
    assert torch.equal(sample(noises=4), sample(noises=4))
    assert not torch.allclose(sample(noises=4), sample(noises=1))
    old = torch.randn(16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(dual_stream.fixed_noise(0, 16), old)
    # An export of before has no such key.
    assert torch.equal(sample(), sample(noises=1))


@torch.no_grad()
def test_ddim_gives_back_what_a_perfect_network_predicts(tiny_base, monkeypatch):
    base, z = base_with_stream(tiny_base), torch.randn(5, 4, 8, 8)
    right = torch.nn.functional.normalize(torch.randn(5, base.dimension), dim=1)
    asked = []

    def perfect(self, unet, e, t, z, text):
        asked.append((int(t[0]), e.clone()))
        # Of any length: the sampler keeps e₀ at 1.
        return 7 * right

    monkeypatch.setattr(DualStream, "forward", perfect)
    assert torch.allclose(DualStream.of(base).sample(base, z, steps=4), right, atol=1e-5)
    assert [t for t, _ in asked] == [999, 749, 500, 250]
    # One DDIM step by hand: the same noise, less of it.
    (_, start), (t, e) = asked[:2]
    signal, sigma = base.schedule.signal, base.schedule.sigma
    eps = (start - signal(999) * right) / sigma(999)
    assert torch.allclose(e, signal(t) * right + sigma(t) * eps, atol=1e-4)


@pytest.mark.slow
def test_at_the_size_of_sd_1_5_it_runs_forward_and_backward(capsys):
    import psutil
    from diffusers import UNet2DConditionModel
    from transformers import CLIPConfig

    if psutil.virtual_memory().available < 15e9:
        pytest.skip("needs 15 GB of free memory")
    text = {"hidden_size": 768, "num_hidden_layers": 12}
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    unet.enable_gradient_checkpointing()
    stream = DualStream.beside(unet, CLIPConfig(text_config=text, projection_dim=768))
    new = sum(p.numel() for p in stream.parameters())
    with capsys.disabled():
        print(f"\nSD 1.5: {new / 1e6:.1f} M new beside {unet.num_parameters() / 1e6:.1f} M")
    assert 115e6 < new < 130e6 and len(stream.blocks) == 6
    z, states = torch.randn(1, 4, 64, 64), torch.randn(1, 77, 768)
    e0 = stream(unet.train(), torch.randn(1, 768), torch.tensor([500]), z, UnetText(states))
    e0.square().mean().backward()
    gradients = [p.grad for name, p in stream.named_parameters() if name != "logit_scale"]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
