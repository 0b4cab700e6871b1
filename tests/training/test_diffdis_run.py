"""DiffDis from a run to its export: the weights travel, both encoders answer, chance is chance."""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.support.projects import copy_project, load_recipe
from unidiff_cli import evaluate, export, index, retrieve, train
from unidiff_cli.data.attributes import class_columns
from unidiff_cli.data.dataset import BatchPlan, Samples
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import UsageError
from unidiff_cli.evaluation.classification import predict
from unidiff_cli.evaluation.metrics.recall import KS, recall_both_ways
from unidiff_cli.evaluation.ranking import chance_recall
from unidiff_cli.models import loading, sources
from unidiff_cli.models.dual_stream import DualStream
from unidiff_cli.models.encoders import CLIP, DIFFDIS, embed_captions, encoder_of
from unidiff_cli.project.checkpoints import BEST, tensors
from unidiff_cli.retrieval.embedding_file import FILE


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared, tiny_base):
    project = copy_project(prepared, tmp_path_factory.mktemp("diffdis"))
    recipe = load_recipe(tiny_base, "train.lr.new_layers=1e-3", name="diffdis")
    name, receipt = train(project, recipe)
    export(project, name)
    index(project)
    return project, receipt


@pytest.fixture
def tuned(trained):
    return loading.load_base(str(trained[0].export()), 32)


def test_a_run_validates_from_pure_noise(trained):
    best = trained[1].figures["best"]["figures"]
    parts = {"text_diffusion_pure", "text_diffusion_t2"}
    assert {"denoise", "text_diffusion", "r1_t2i"} | parts <= best.keys()


def test_an_export_has_the_layers_and_frozen_towers_as_they_were(trained, tuned, tiny_base):
    project, base = trained[0], loading.load_base(str(tiny_base), 32)
    assert not base.added and isinstance(DualStream.of(tuned), DualStream)
    receipt = project.receipt("exports", project.export().name)
    assert tuned.weights_hash == receipt.figures["weights_hash"]
    assert tuned.vision_hash == base.vision_hash
    pairs = zip(base.parameter_groups()["text"], tuned.parameter_groups()["text"], strict=True)
    assert all(torch.equal(before, after) for before, after in pairs)
    assert not torch.equal(base.unet.conv_in.weight, tuned.unet.conv_in.weight)
    assert sources.files_hash(str(project.export())) != sources.files_hash(str(tiny_base))


def test_an_export_keeps_how_its_embeddings_are_sampled(trained, tuned, tmp_path):
    """Embeddings of other steps or another guidance are not comparable, so they are its own."""
    z = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    sample = partial(DualStream.of(tuned).sample, tuned, z)
    assert torch.equal(sample(), sample(steps=2, guidance=1.0, noises=4))
    given = {"steps": 3, "guidance": 2, "noises": 2}
    options = [f"objectives.text_diffusion.{key}={value}" for key, value in given.items()]
    recipe = load_recipe(tuned.source.diffusion, *options, name="diffdis")
    tuned.attach(recipe.active()["text_diffusion"].layers(tuned))
    tuned.save(tmp_path)
    again = loading.load_base(str(tmp_path), 32)
    sample_again = partial(DualStream.of(again).sample, again, z)
    assert torch.equal(sample_again(), sample(steps=3, guidance=2.0, noises=2))
    assert not torch.allclose(sample_again(), sample_again(steps=2, guidance=1.0, noises=4))
    assert sources.files_hash(str(tmp_path)) != sources.files_hash(str(trained[0].export()))


def test_plain_diffusers_loads_the_image_side(trained, tuned):
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(trained[0].export())
    weights = tuned.unet.state_dict()
    for name, weight in pipe.unet.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_alpha_leaves_the_new_layers_whole(trained, tmp_path):
    project = copy_project(trained[0], tmp_path)
    whole = loading.load_base(str(project.export("001-diffdis")), 32)
    export(project, alpha=0.5)
    half = loading.load_base(str(project.export()), 32)
    layers = DualStream.of(half).state_dict()
    for name, weight in DualStream.of(whole).state_dict().items():
        assert torch.equal(weight, layers[name]), name
    assert not torch.equal(whole.unet.conv_in.weight, half.unet.conv_in.weight)


def test_retrieve_with_either_encoder(trained, catalogue):
    project, image = trained[0], catalogue / "images" / "p007-1.png"
    hits = retrieve(project, image=image, k=3, encoder=DIFFDIS)
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    by_clip = retrieve(project, "red dress", k=60)
    by_diffdis = retrieve(project, "red dress", k=60, encoder=DIFFDIS)
    assert [hit.id for hit in by_clip] != [hit.id for hit in by_diffdis]


def test_retrieve_with_diffdis_is_refused_without_its_layers(finished):
    with pytest.raises(UsageError, match="diffdis"):
        retrieve(finished, "red dress", encoder=DIFFDIS)


def test_evaluate_measures_it_beside_the_tuned_clip(trained, tiny_base):
    metrics = "evaluate.metrics=[recall, rerank, zero_shot, clip_score]"
    recipe = load_recipe(tiny_base, metrics, "evaluate.split=train", name="diffdis")
    figures = evaluate(trained[0], recipe).figures
    assert list(figures) == ["base", "tuned", "diffdis"]
    recall = {model: values["map_i2t"] for model, values in figures.items()}
    assert recall["diffdis"] != recall["tuned"] == recall["base"]
    # CLIP is frozen, so its list is the base's; DiffDis orders it otherwise.
    rerank = {model: values["rerank_map_i2t"] for model, values in figures.items()}
    assert rerank["base"] == pytest.approx(recall["base"], abs=1e-3)
    assert rerank["tuned"] == pytest.approx(rerank["base"]) and rerank["diffdis"] != rerank["base"]
    # The same generated images.
    assert figures["diffdis"]["clip_score"] == figures["tuned"]["clip_score"]
    accuracy = {
        model: zero_shot_of_index(trained[0], encoder)
        for model, encoder in {"tuned": CLIP, "diffdis": DIFFDIS}.items()
    }
    measured = {model: figures[model]["zero_shot"] for model in accuracy}
    assert measured == pytest.approx(accuracy, abs=0.02)
    assert abs(accuracy["tuned"] - accuracy["diffdis"]) > 0.05, "the two encoders are told apart"


def zero_shot_of_index(project, encoder):
    """The accuracy by the embeddings of the index, which `evaluate` does not read."""
    shards, base = Shards.open(project.path("shards")), loading.load_base(str(project.export()), 32)
    embeddings = load_file(project.path("index", encoder) / FILE)["embeddings"]
    training = [row.split == "train" for row in shards.rows()]
    columns = class_columns([row.attributes for row in shards.rows("train")])
    predictions = [
        predict(embeddings[training], *column, partial(embed_captions, base))
        for column in columns.items()
    ]
    return np.mean([each.confusion.accuracy for each in predictions])


@torch.no_grad()
def test_permuted_captions_are_chance(trained, tuned):
    """A sampler that began from the batch's captions would retrieve them all."""
    shards = Shards.open(trained[0].path("shards"))
    rows, generator, recalls = shards.rows("train"), np.random.default_rng(0), []
    encoder, plan = encoder_of(tuned, DIFFDIS), BatchPlan(16, 0, "listed")
    for _ in range(12):
        mixed = [
            replace(row, captions=rows[n].captions)
            for row, n in zip(rows, generator.permutation(len(rows)), strict=True)
        ]
        samples = Samples(shards, mixed, plan, transforms=tuned.transforms())
        batches = (samples[step] for step in range(len(samples)))
        images = torch.cat([encoder.embed_batch(batch) for batch in batches]).numpy()
        captions = [row.captions[0] for row in mixed]
        recalls.append(recall_both_ways(images, encoder.embed_captions(captions), captions))
    captions = [row.captions[0] for row in rows]
    right = np.array([captions.count(c) for c in dict.fromkeys(captions)])
    chance = {
        "t2i": chance_recall(right, len(rows), KS, right.astype(float)),
        # Each caption once, one of them right.
        "i2t": chance_recall(np.ones(len(rows), int), len(right), KS),
    }
    for way, k in product(chance, (1, 5, 10)):
        recall = np.mean([each[f"r{k}_{way}"] for each in recalls])
        assert recall == pytest.approx(chance[way][k], abs=0.05), (way, k)


def test_an_export_trains_on_with_its_own_layers(trained, tuned, tmp_path, prepared):
    project = copy_project(prepared, tmp_path)
    options = ("train.steps=1", "train.warmup=0", "train.lr.new_layers=1e-3")
    recipe = load_recipe(trained[0].export(), *options, name="diffdis")
    name, _ = train(project, recipe)
    export(project, name)
    after = loading.load_base(str(project.export()), 32)
    weights = [DualStream.of(base).time.linear_1.weight for base in (tuned, after)]
    assert not torch.equal(*weights)
    best = project.path("runs", name, "checkpoints", BEST)
    assert any(key.startswith("dual_stream.") for key in tensors(best, "averaged"))
