"""Images that a tiny model generates for an eval set: made once, and resumed after a kill."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.exports import SIDE, evaluation_recipe
from unidiff_cli.data.buckets import Size
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Interrupted, WorkError
from unidiff_cli.evaluation import array_cache
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.metrics.diversity import Diversity
from unidiff_cli.evaluation.metrics.near_copies import NearCopies
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.models import sampler

pytestmark = pytest.mark.usefixtures("scorer_folder")


@pytest.fixture
def outputs_of(prepared, tiny_base):
    """A function: the number of images and options of the eval set → outputs of the tiny base."""

    def make(images=4, **options):
        shards, recipe = (
            Shards.open(prepared.path("shards")),
            evaluation_recipe(tiny_base, images=images),
        )
        rows = shards.rows("test")
        eval_set = EvalSet(shards, rows, recipe.evaluate, recipe.generate, **options)
        model = ModelUnderTest("base", str(tiny_base), str(tiny_base), SIDE, "x")
        return ModelOutputs(model, eval_set)

    return make


@pytest.fixture
def generations(monkeypatch):
    """The numbers of prompts of each call of the sampler; at `generations.kill` calls it dies."""
    generate = sampler.generate_images

    class Calls(list):
        kill = None

    calls = Calls()

    def counted(base, prompts, *args, **options):
        calls.append(len(prompts))
        if len(calls) == calls.kill:
            raise Interrupted(15, "Killed.")
        return generate(base, prompts, *args, **options)

    monkeypatch.setattr(sampler, "generate_images", counted)
    return calls


def test_images_are_generated_once_for_all_features(outputs_of, generations):
    outputs = outputs_of()
    assert outputs.generated_features["nano_scorer"].shape == (4, 32)
    assert outputs.generated_embeds.shape == (4, 16)
    assert generations == [4]


def test_real_features_have_a_row_each(outputs_of):
    outputs = outputs_of()
    assert outputs.real_features["nano_scorer"].shape == (len(outputs.eval_set.rows), 32)
    assert np.allclose(np.linalg.norm(outputs.real_embeds, axis=1), 1, atol=1e-5)


def test_all_images_are_of_the_models_size(outputs_of, tmp_path):
    squares, tall = outputs_of(2, cache=tmp_path), outputs_of(2, cache=tmp_path)
    tall.subject = replace(tall.subject, wanted_size=Size(24, 40))
    for outputs, shape in ((squares, (32, 32)), (tall, (40, 24))):
        assert outputs.generated_images.shape[1:3] == shape
        assert outputs.latents.shape[2:] == tuple(side // 4 for side in shape)
    # None is taken from what was stored of the others.
    for one, other in (
        (squares.generated_embeds, tall.generated_embeds),
        (squares.real_embeds, tall.real_embeds),
    ):
        assert np.abs(np.asarray(one) - np.asarray(other)).max() > 1e-3


def test_a_killed_generation_continues(outputs_of, generations, tmp_path, monkeypatch):
    monkeypatch.setattr(array_cache, "CHUNK", 2)
    generations.kill = 3
    with pytest.raises(Interrupted):
        outputs_of(5, cache=tmp_path).generated_images  # noqa: B018
    images = np.array(outputs_of(5, cache=tmp_path).generated_images)
    assert generations == [2, 2, 1, 1], "the two chunks that were whole are not made again"
    assert images.shape == (5, SIDE, SIDE, 3)
    assert (images == outputs_of(5).generated_images).all()


def test_a_broken_file_is_written_again(outputs_of, tmp_path):
    images = np.array(outputs_of(cache=tmp_path).generated_images)
    [file] = (tmp_path / "x").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert (outputs_of(cache=tmp_path).generated_images == images).all()
    assert [file] == list((tmp_path / "x").iterdir())


def test_diversity_needs_two_prompts(outputs_of):
    eval_set = outputs_of().eval_set
    rows = [row for row in eval_set.rows if row.captions == eval_set.rows[0].captions][:1]
    one = EvalSet(eval_set.shards, rows, eval_set.evaluate, eval_set.generate)
    with pytest.raises(WorkError, match="two prompts that differ"):
        Diversity().check(one)


def test_near_copies_need_training_images(outputs_of):
    eval_set = outputs_of().eval_set
    NearCopies().check(eval_set)
    eval_set.train_rows = []
    with pytest.raises(WorkError, match="training images, and the catalogue has none"):
        NearCopies().check(eval_set)
