"""What the denoiser is asked about real images: the diffusion classifier, the held-out loss; and photos of known classes."""

import json

import numpy as np
import pytest
import torch

from tests.support.catalogue import SHAPES, render_thing
from tests.support.projects import load_recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import UsageError, WorkError
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.measure import chosen
from unidiff_cli.evaluation.metrics.denoise_loss import DenoiseLoss
from unidiff_cli.evaluation.metrics.diffusion_classifier import (
    DiffusionClassifier,
    schedule,
    tell_by_error,
)
from unidiff_cli.evaluation.metrics.retention import Retention
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.evaluation.probe import ProbeSet
from unidiff_cli.models import loading


@pytest.fixture
def outputs(prepared, tiny_base):
    """The tiny base and the training images, of which there are enough to have attributes."""

    def make(*more):
        recipe = load_recipe(tiny_base, "evaluate.split=train", "evaluate.images=6", *more)
        shards = Shards.open(prepared.path("shards"))
        eval_set = EvalSet(shards, shards.rows("train"), recipe.evaluate, recipe.generate)
        return ModelOutputs(
            ModelUnderTest("base", str(tiny_base), str(tiny_base), 32, "x"), eval_set
        )

    return make


def test_the_class_of_least_error_wins_and_bad_ones_are_given_up_early():
    table = np.array(
        [[5.0, 1, 3, 9], [5, 3, 1, 9], [0, 3, 2, 0], [0, 3, 2, 0]]
    )  # (trials, classes)
    asked = []

    def errors(left, first, last):
        asked.append((list(left), first, last))
        return table[first:last][:, left]

    # sums after two trials: 10, 4, 4, 18, so 0 and 3 are given up; after four: 1 has 10, 2 has 8
    assert tell_by_error(errors, 4, ((2, 2), (4, 1))) == 2
    assert asked == [([0, 1, 2, 3], 0, 2), ([1, 2], 2, 4)]
    assert (
        tell_by_error(lambda left, a, b: np.ones((b - a, len(left))), 3, ((1, 1),), answer=0) == 1
    ), "a tie is told against the model"
    assert tell_by_error(lambda left, a, b: np.ones((b - a, len(left))), 3, ((1, 1),)) == 0


def test_trials_are_spread_over_the_schedule():
    times = schedule(1000, 4)
    assert sorted(times) == [125, 375, 625, 875] and times.tolist() == schedule(1000, 4).tolist()


def test_a_denoiser_that_knows_the_prompt_tells_it(outputs, monkeypatch):
    """A stand-in denoiser: its error is small only for prompts with the image's own colour."""
    seen, found = [], outputs()
    eval_set = found.eval_set
    base = found.base
    colours = {c for c in "red green blue black yellow".split()}
    states = {}
    text = base.text

    def told(ids):
        out = text(ids)
        for caption, row in zip(
            base.tokenizer.batch_decode(ids, skip_special_tokens=True), out[0], strict=True
        ):
            states[float(row[-1, 0])] = next((c for c in colours if c in caption), caption)
        return out

    real = {
        tuple(np.round(z.ravel()[:3], 4)): row.attributes["color"]
        for z, row in zip(found.latents, eval_set.denoised_rows, strict=True)
    }
    asked = {}

    def noisy(z, eps, t):
        asked["own"] = [real[tuple(np.round(one.numpy().ravel()[:3], 4))] for one in z]
        asked["target"] = base.target(z, eps, t)
        return z

    def denoise(z, t, text):
        seen.append(len(z))
        wrong = [
            states[float(row[-1, 0])] != own for row, own in zip(text, asked["own"], strict=True)
        ]
        return asked["target"] + torch.tensor(wrong).float().view(-1, 1, 1, 1)

    monkeypatch.setattr(base, "text", told)
    monkeypatch.setattr(base, "noisy", noisy)
    monkeypatch.setattr(base, "denoise", denoise)
    metric = DiffusionClassifier()
    colour = metric.told(found)["color"]
    assert colour.confusion.accuracy == 1 and len(colour.rows) == 6
    assert max(seen) <= found.eval_set.evaluate.batch_size
    assert metric.references(found)["chance"]["diffusion_classifier"] == pytest.approx(
        (1 / 5 + 1 / 3) / 2
    )


def test_a_random_denoiser_is_measured_whole(outputs):
    found, metric = outputs(), DiffusionClassifier()
    value = metric.compute(found)["diffusion_classifier"]
    items = metric.items(found)["diffusion_classifier"]
    assert len(items.values) == 12 and np.average(
        items.values, weights=items.weights
    ) == pytest.approx(value)
    assert metric.compute(outputs()) == {"diffusion_classifier": value}, "the same noise twice"
    assert (
        json.dumps(metric.shows(found))
        and "by the denoiser over 6 images and 5 values" in metric.notes(found)[0]
    )


def test_it_is_measured_where_it_is_asked_for(outputs, tiny_base, prepared):
    eval_set = outputs().eval_set
    metrics, left_out = chosen([eval_set])
    assert (
        "diffusion_classifier" not in metrics
        and "where evaluate.metrics names it" in left_out["diffusion_classifier"]
    )
    assert "diffusion_classifier" in chosen([eval_set], ["diffusion_classifier"])[0]
    assert list(chosen([outputs('evaluate.metrics=["diffusion_classifier"]').eval_set])[0]) == [
        "diffusion_classifier"
    ]
    few = EvalSet(eval_set.shards, eval_set.rows[:3], eval_set.evaluate, eval_set.generate)
    with pytest.raises(WorkError, match="diffusion_classifier needs an attribute"):
        DiffusionClassifier().check(few)


def test_the_held_out_loss_is_the_mean_error_of_the_bases_target(outputs, tiny_base):
    found = outputs()
    value = DenoiseLoss().compute(found)["denoise_loss"]
    assert value == pytest.approx(float(np.mean(DenoiseLoss().items(found)["denoise_loss"].values)))
    assert DenoiseLoss().compute(outputs())["denoise_loss"] == value and value > 0
    blind = outputs()
    blind._base = loading.load_base(str(tiny_base), 32)
    blind._base.denoise = lambda z, t, states: torch.zeros_like(z)
    level = DenoiseLoss().compute(blind)["denoise_loss"]
    z = torch.from_numpy(np.array(found.latents))
    # v = √ᾱ ε − √(1−ᾱ) z: with no prediction the loss is E ᾱ + E (1−ᾱ) z²
    abar = found.base.abar.mean()
    assert level == pytest.approx(float(abar + (1 - abar) * z.square().mean()), rel=0.1)


def photographed(folder, split=True):
    (folder / "images").mkdir(parents=True)
    lines = []
    for i, shape in enumerate(SHAPES):
        render_thing("red", shape, i).save(folder / "images" / f"{i}.png")
        row = {"image": f"images/{i}.png", "class": shape, "caption": f"a photo of a {shape}"}
        lines += [row | {"split": "test"}, row | {"split": "train"}] if split else [row]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.mark.parametrize("split", [True, False])
def test_photos_of_known_classes_are_told_by_the_nearest_prompt(outputs, tmp_path, split):
    folder = photographed(tmp_path / "photos", split)
    found = outputs(f"evaluate.probe={json.dumps(str(folder))}")
    photos = found.eval_set.photos
    assert len(photos.images) == 3 and photos.classes == sorted(SHAPES)
    assert photos.prompts == [f"a photo of a {shape}" for shape in sorted(SHAPES)]
    metric = Retention()
    figures = metric.compute(found)
    near = (found.photo_image_embeds @ found.photo_text_embeds.T).argmax(axis=1)
    assert (
        figures["photo_accuracy"]
        == figures["photo_balanced"]
        == pytest.approx(np.mean(near == photos.labels))
    )
    assert metric.references(found)["chance"]["photo_accuracy"] == pytest.approx(1 / 3)
    assert metric.items(found)["photo_accuracy"].values.tolist() == (near == photos.labels).tolist()
    assert "photo_accuracy" not in Retention().compute(outputs())


def test_a_probe_without_classes_is_refused(tmp_path):
    folder = photographed(tmp_path / "photos")
    text = (folder / "captions.jsonl").read_text().replace('"class"', '"kind"')
    (folder / "captions.jsonl").write_text(text)
    with pytest.raises(UsageError, match="has test photos of 0 classes"):
        ProbeSet.photographed(str(folder))
    with pytest.raises(UsageError, match="There is no evaluate.probe"):
        ProbeSet.photographed(str(tmp_path / "nowhere"))
