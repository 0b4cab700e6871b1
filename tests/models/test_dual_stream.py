"""DiffDis: the masked query changes nothing, the loss does not leak, the weights travel, chance is chance."""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.support.projects import copy_project, load_recipe
from unidiff_cli import export, index, retrieve, train
from unidiff_cli.data.dataset import BatchPlan, Samples
from unidiff_cli.data.order import subsample, subsample_position
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import UsageError
from unidiff_cli.evaluation.attribute_columns import categories
from unidiff_cli.evaluation.classification import predict
from unidiff_cli.evaluation.metrics.recall import chance_recall
from unidiff_cli.models import encoders, loading, sources
from unidiff_cli.models.dual_stream import DualStream
from unidiff_cli.models.forward import ForwardPass
from unidiff_cli.retrieval.indexes import flat
from unidiff_cli.training.module import TrainingModule, combined_needs
from unidiff_cli.training.optimizer import parameter_groups
from unidiff_cli.training.run import _recall, by_diffusion


def base_with_stream(folder, size=32):
    base = loading.load_base(str(folder), size)
    torch.manual_seed(0)
    base.attach_dual_stream(1.0)
    return base.eval()


@pytest.mark.parametrize("which", ["tiny", "nano"])
@torch.no_grad()
def test_with_the_query_masked_the_network_is_the_plain_unet(which, tiny_base):
    base = base_with_stream(*((tiny_base, 32) if which == "tiny" else ("nano", 64)))
    channels, side = base.unet.config.in_channels, base.image_size // base.pipeline.vae_scale_factor
    z, t = torch.randn(3, channels, side, side), torch.tensor([0, 400, 999])
    states = base.text(base.tokenize(["red dress", "a hat", ""]))[0]
    e, t_e = torch.randn(3, base.dimension), torch.tensor([10, 500, 999])
    plain = base.denoise(z, t, states)
    e0, masked = base.dual_stream(base.unet, e, t_e, z, states, t_z=t, mask_query=True)
    assert e0.shape == (3, base.dimension) and (masked - plain).abs().max() < 1e-5
    assert (
        base.dual_stream(base.unet, e, t_e, z, states, t_z=t)[1] is None
    )  # the up path is generation only
    seen = base.dual_stream(base.unet, e, t_e, z, states, t_z=t)[0]
    assert (
        seen - e0
    ).abs().max() > 1e-6  # unmasked, the image sees the query, and the query sees that


def _views(base, recipe, project, seed=0):
    shards = Shards.open(project.path("shards"))
    rows = shards.rows("train")
    transforms = base.transforms()
    batch = Samples(shards, rows, BatchPlan(16, 0), transforms=transforms)[0]
    return ForwardPass(base, batch, combined_needs(recipe.active()), seed, 0, across=True)


def test_the_noised_embedding_is_of_unit_length_and_the_text_tower_gets_no_gradient(
    tiny_base, prepared
):
    recipe = load_recipe(tiny_base, "objectives.denoise=null", name="diffdis")
    base = loading.load_base(str(tiny_base), 32)
    joint = TrainingModule(base, recipe.active(), seed=0)
    seen = {}
    noisy = base.dual_stream.noisy
    base.dual_stream.noisy = lambda e0, noise, abar: (
        seen.update(e0=e0, abar=abar) or noisy(e0, noise, abar)
    )
    forward = _views(base, recipe, prepared)
    loss, figures = joint.terms["text_diffusion"](forward)
    loss.backward()
    assert torch.allclose(seen["e0"].norm(dim=1), torch.ones(16), atol=1e-5)
    assert all(p.grad is None for p in base.clip.parameters())
    assert all(p.grad is not None for p in base.dual_stream.parameters())
    assert (
        base.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight.grad
        is not None
    )
    quarters = [float(figures[f"text_diffusion_t{b}"].detach()) for b in range(4)]
    assert all(0 < q < 50 for q in quarters)


@pytest.mark.parametrize(
    "of, some", [(64, 64), (64, 32), (128, 64), (256, 64), (4096, 64), (48, 12)]
)
def test_every_quarter_of_the_schedule_is_asked_equally_often(of, some):
    """Also where the UNet sees some of a step's samples: every k-th of the positions would be of one quarter."""
    for step in (0, 3):
        positions = list(range(step * of, (step + 1) * of))
        drawn = subsample(positions, some, of)
        ranks = [subsample_position(positions[i], some, of) for i in drawn]
        assert ranks == list(range(step * some, (step + 1) * some))
        assert all(sum(r % 4 == quarter for r in ranks) == some // 4 for quarter in range(4))


@torch.no_grad()
def test_ddim_gives_back_what_a_perfect_network_predicts_and_is_deterministic(tiny_base):
    base = base_with_stream(tiny_base)
    stream, abar = base.dual_stream, base.abar
    states, z = base.text(base.tokenize([""]))[0], torch.randn(5, 4, 8, 8)
    one = base.image_by_diffusion(z, steps=3, guidance=2.0)
    assert torch.allclose(one.norm(dim=1), torch.ones(5), atol=1e-5)
    assert torch.allclose(
        base.image_by_diffusion(z[2:3], steps=3, guidance=2.0), one[2:3], atol=1e-5
    )
    true = torch.nn.functional.normalize(torch.randn(5, base.dimension), dim=1)
    asked = []

    def perfect(unet, e, t, z, states):
        asked.append((int(t[0]), e.clone()))
        return 7 * true, None  # of any length: the sampler keeps e₀ at 1

    stream.forward, kept = perfect, stream.forward
    try:
        assert torch.allclose(stream.sample(base.unet, z, states, abar, steps=4), true, atol=1e-5)
    finally:
        stream.forward = kept
    assert [t for t, _ in asked] == [999, 749, 500, 250]
    start, (t, e) = asked[0][1], asked[1]  # one DDIM step by hand: same noise, less of it
    eps = (start - abar[999].sqrt() * true) / (1 - abar[999]).sqrt()
    assert torch.allclose(e, abar[t].sqrt() * true + (1 - abar[t]).sqrt() * eps, atol=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared, tiny_base):
    project = copy_project(prepared, tmp_path_factory.mktemp("diffdis"))
    name, receipt = train(
        project, load_recipe(tiny_base, "train.lr.new_layers=1e-3", name="diffdis")
    )
    export(project, name)
    index(project)
    return project, receipt


def test_a_run_trains_validates_from_pure_noise_and_exports_what_loads_again(trained, tiny_base):
    project, receipt = trained
    best = receipt.figures["best"]["figures"]
    assert {"denoise", "text_diffusion", "r1_t2i", "text_diffusion_t3"} <= best.keys()
    base, tuned = (
        loading.load_base(str(tiny_base), 32),
        loading.load_base(str(project.export()), 32),
    )
    assert base.dual_stream is None and isinstance(tuned.dual_stream, DualStream)
    assert (
        tuned.fingerprint
        == project.receipt("exports", project.export().name).figures["weights_hash"]
    )
    for mine, theirs in zip(base.clip.parameters(), tuned.clip.parameters(), strict=True):
        assert torch.equal(mine, theirs)  # text and vision are frozen
    assert not torch.equal(base.unet.conv_in.weight, tuned.unet.conv_in.weight)
    assert sources.files_hash(str(project.export())) != sources.files_hash(str(tiny_base))


def test_new_layers_that_would_stay_random_are_refused(tiny_base):
    for frozen in ("train.lr.new_layers=0", "train.trains=[denoiser]"):
        recipe = load_recipe(tiny_base, frozen, name="diffdis")
        joint = TrainingModule(loading.load_base(str(tiny_base), 32), recipe.active(), seed=0)
        with pytest.raises(UsageError, match="new layers, and they do not train"):
            parameter_groups(joint, recipe.train)


def test_an_export_keeps_how_its_vectors_are_sampled(trained, tmp_path):
    """Vectors of other steps or another guidance are not comparable, so they are the export's own."""
    base = loading.load_base(str(trained[0].export()), 32)
    z = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        base.image_by_diffusion(z), base.image_by_diffusion(z, steps=2, guidance=1.0)
    )
    load_recipe(base.source.diffusion, "objectives.text_diffusion.steps=3", "objectives.text_diffusion.guidance=2",
                name="diffdis").active()["text_diffusion"].build(base)  # fmt: skip
    base.save(tmp_path)
    again = loading.load_base(str(tmp_path), 32)
    assert torch.equal(
        again.image_by_diffusion(z), base.image_by_diffusion(z, steps=3, guidance=2.0)
    )
    assert not torch.allclose(
        again.image_by_diffusion(z), again.image_by_diffusion(z, steps=2, guidance=1.0)
    )
    assert sources.files_hash(str(tmp_path)) != sources.files_hash(str(trained[0].export()))


def test_plain_diffusers_loads_the_image_side(trained):
    from diffusers import StableDiffusionPipeline

    folder = trained[0].export()
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    ours = loading.load_base(str(folder), 32)
    for name, weight in pipe.unet.state_dict().items():
        assert torch.equal(weight, ours.unet.state_dict()[name]), name


def test_alpha_leaves_the_new_layers_whole(trained, tmp_path):
    project = copy_project(trained[0], tmp_path)
    whole = loading.load_base(str(project.export("001-diffdis")), 32).state_dict()
    export(project, alpha=0.5)
    half = loading.load_base(str(project.export()), 32).state_dict()
    for name, weight in whole.items():
        if name.startswith("dual_stream."):
            assert torch.equal(weight, half[name]), name
    assert not torch.equal(whole["unet.conv_in.weight"], half["unet.conv_in.weight"])


def test_retrieve_with_diffdis_and_refusal_without(trained, finished, catalogue):
    from unidiff_cli.errors import UsageError

    project = trained[0]
    image = catalogue / "images" / "p007-1.png"
    hits = retrieve(project, image=image, k=3, encoder="diffdis")
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    clip, diffdis = (
        retrieve(project, "red dress", k=60),
        retrieve(project, "red dress", k=60, encoder="diffdis"),
    )
    assert [h.id for h in clip] != [h.id for h in diffdis]
    with pytest.raises(UsageError, match="no image encoder 'diffdis'"):
        retrieve(finished, "red dress", encoder="diffdis")


def test_evaluate_measures_it_beside_the_tuned_clip(trained, tiny_base):
    from unidiff_cli import evaluate

    recipe = load_recipe(
        tiny_base,
        "evaluate.metrics=[recall, zero_shot, clip_score]",
        "evaluate.split=train",
        name="diffdis",
    )
    figures = evaluate(trained[0], recipe).figures
    assert list(figures) == ["base", "tuned", "diffdis"]
    assert (
        figures["diffdis"]["map_i2t"] != figures["tuned"]["map_i2t"] == figures["base"]["map_i2t"]
    )
    assert (
        figures["diffdis"]["clip_score"] == figures["tuned"]["clip_score"]
    )  # the same drawn images
    shards, by = Shards.open(trained[0].path("shards")), {"tuned": "clip", "diffdis": "diffdis"}
    base, kept = (
        loading.load_base(str(trained[0].export()), 32),
        [row.split == "train" for row in shards.rows()],
    )
    columns = categories([row.attributes for row in shards.rows("train")])
    told = {}
    for model, way in by.items():  # by the vectors of the index, which evaluate does not read
        file = trained[0].path("index", way, flat.FILE)
        images = load_file(file)["embeddings"][kept]
        named = [
            predict(images, *each, partial(encoders.embed_captions, base)) for each in columns.items()
        ]
        told[model] = np.mean([each.confusion.accuracy for each in named])
    assert {model: figures[model]["zero_shot"] for model in by} == pytest.approx(told, abs=0.02)
    assert abs(told["tuned"] - told["diffdis"]) > 0.05, "nothing is told by which of the two it was"


@torch.no_grad()
def test_permuted_captions_are_chance(trained, tiny_base):
    """Through the validation's own pass: a sampler that began from the batch's captions would find them all."""
    project, _ = trained
    base = loading.load_base(str(project.export()), 32)
    shards = Shards.open(project.path("shards"))
    rows, generator, found = shards.rows("train"), np.random.default_rng(0), []
    for _ in range(12):
        mixed = [
            replace(row, captions=rows[n].captions)
            for row, n in zip(rows, generator.permutation(len(rows)), strict=True)
        ]
        held = Samples(shards, mixed, BatchPlan(16, 0, "listed"), transforms=base.transforms())
        with torch.no_grad():
            found.append(
                _recall(base, by_diffusion(base, held), [row.captions[0] for row in mixed])
            )
    captions = [row.captions[0] for row in rows]
    right = np.array([captions.count(c) for c in dict.fromkeys(captions)])
    guess = {
        "t2i": chance_recall(right, len(rows), weights=right.astype(float)),
        "i2t": chance_recall(
            np.ones(len(rows), int), len(right)
        ),  # each caption once, one of them right
    }
    for way, k in product(guess, (1, 5, 10)):
        assert np.mean([f[f"r{k}_{way}"] for f in found]) == pytest.approx(
            guess[way][k], abs=0.05
        ), (way, k)


def test_an_export_trains_on_with_its_own_layers(trained, tiny_base, tmp_path, prepared):
    project = copy_project(prepared, tmp_path)
    recipe = load_recipe(
        trained[0].export(), "train.steps=1", "train.lr.new_layers=1e-3", name="diffdis"
    )
    name, _ = train(project, recipe)
    export(project, name)
    before, after = (loading.load_base(str(p.export()), 32) for p in (trained[0], project))
    assert not torch.equal(
        before.dual_stream.time.linear_1.weight, after.dual_stream.time.linear_1.weight
    )


@pytest.mark.slow
def test_at_the_size_of_sd_1_5_it_runs_forward_and_backward(capsys):
    import psutil
    from diffusers import UNet2DConditionModel
    from transformers import CLIPConfig

    if psutil.virtual_memory().available < 15e9:
        pytest.skip("needs 15 GB of free memory")
    text = {"hidden_size": 768, "num_hidden_layers": 12}
    clip = type("Clip", (), {"config": CLIPConfig(text_config=text, projection_dim=768)})
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    unet.enable_gradient_checkpointing()
    stream = DualStream.beside(unet, clip)
    new = sum(p.numel() for p in stream.parameters())
    with capsys.disabled():
        print(
            f"\nSD 1.5: {new / 1e6:.1f} M new parameters beside {unet.num_parameters() / 1e6:.1f} M"
        )
    assert 115e6 < new < 130e6 and len(stream.blocks) == 6
    e0 = stream(
        unet.train(),
        torch.randn(1, 768),
        torch.tensor([500]),
        torch.randn(1, 4, 64, 64),
        torch.randn(1, 77, 768),
    )[0]
    e0.square().mean().backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all()
        for n, p in stream.named_parameters()
        if n != "logit_scale"
    )
