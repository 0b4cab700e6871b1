"""What measures the denoiser on real images, and retention on photos of known classes."""

import json

import numpy as np
import pytest
import torch

from tests.support.catalogue import SHAPES, render_thing
from tests.support.projects import load_recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.measure import choose_metrics
from unidiff_cli.evaluation.metrics.denoise_loss import DenoiseLoss
from unidiff_cli.evaluation.metrics.diffusion_classifier import (
    DiffusionClassifier,
    predict_by_error,
    trial_timesteps,
)
from unidiff_cli.evaluation.metrics.drift import Drift
from unidiff_cli.evaluation.metrics.retention import Retention
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.models import loading


@pytest.fixture
def outputs_of(prepared, tiny_base):
    """Outputs of the tiny base on the training images, of which there are enough for attributes."""

    def make(*assignments):
        recipe = load_recipe(tiny_base, "evaluate.split=train", "evaluate.images=6", *assignments)
        shards = Shards.open(prepared.path("shards"))
        eval_set = EvalSet(shards, shards.rows("train"), recipe.evaluate, recipe.generate)
        base = ModelUnderTest("base", str(tiny_base), str(tiny_base), 32, "x")
        return ModelOutputs(base, eval_set)

    return make


# ---------------------------------------------------------------- diffusion_classifier


def test_the_class_of_least_error_is_predicted_and_bad_ones_are_dropped_early():
    # (trials, classes)
    table = np.array([[5.0, 1, 3, 9], [5, 3, 1, 9], [0, 3, 2, 0], [0, 3, 2, 0]])
    calls = []

    def errors(left, first, last):
        calls.append((list(left), first, last))
        return table[first:last][:, left]

    # Sums after two trials: 10, 4, 4, 18, so 0 and 3 are dropped; after four: 1 has 10, 2 has 8.
    assert predict_by_error(errors, 4, 0, ((2, 2), (4, 1))) == 2
    assert calls == [([0, 1, 2, 3], 0, 2), ([1, 2], 2, 4)]


@pytest.mark.parametrize(("label", "expected"), [(0, 1), (1, 0), (2, 0)])
def test_a_tie_counts_as_wrong(label, expected):
    def errors(left, first, last):
        return np.ones((last - first, len(left)))

    assert predict_by_error(errors, 3, label, ((1, 1),)) == expected


def test_trials_are_spread_over_the_schedule():
    times = trial_timesteps(1000, 4)
    assert sorted(times) == [125, 375, 625, 875]
    assert times.tolist() == trial_timesteps(1000, 4).tolist()


def test_a_denoiser_that_knows_the_prompt_classifies_right(outputs_of, monkeypatch):
    """A stand-in denoiser: its error is small only for prompts with the image's own colour."""
    outputs = outputs_of()
    base, eval_set = outputs.base, outputs.eval_set
    colours = {"red", "green", "blue", "black", "yellow"}
    rows_seen, colour_of_states, batch = [], {}, {}
    text = base.text

    def recording_text(ids):
        encoded = text(ids)
        captions = base.tokenizer.batch_decode(ids, skip_special_tokens=True)
        for caption, states in zip(captions, encoded[0], strict=True):
            colour = next((c for c in colours if c in caption), caption)
            colour_of_states[float(states[-1, 0])] = colour
        return encoded

    colour_of_latents = {
        tuple(np.round(z.ravel()[:3], 4)): row.attributes["color"]
        for z, row in zip(outputs.latents, eval_set.denoise_rows, strict=True)
    }

    def noisy(z, eps, t):
        batch["colours"] = [
            colour_of_latents[tuple(np.round(each.numpy().ravel()[:3], 4))] for each in z
        ]
        batch["target"] = base.target(z, eps, t)
        return z

    def denoise(z, t, states):
        rows_seen.append(len(z))
        wrong = [
            colour_of_states[float(row[-1, 0])] != colour
            for row, colour in zip(states, batch["colours"], strict=True)
        ]
        return batch["target"] + torch.tensor(wrong).float().view(-1, 1, 1, 1)

    monkeypatch.setattr(base, "text", recording_text)
    monkeypatch.setattr(base, "noisy", noisy)
    monkeypatch.setattr(base, "denoise", denoise)
    metric = DiffusionClassifier()
    colour = metric.predictions(outputs)["color"]
    assert colour.confusion.accuracy == 1 and len(colour.rows) == 6
    assert max(rows_seen) <= eval_set.evaluate.batch_size
    chance = metric.references(outputs)["chance"]["diffusion_classifier"]
    assert chance == pytest.approx((1 / 5 + 1 / 3) / 2)


def test_the_diffusion_classifier_of_a_random_denoiser(outputs_of):
    outputs, metric = outputs_of(), DiffusionClassifier()
    figure = metric.compute(outputs)["diffusion_classifier"]
    items = metric.per_item(outputs)["diffusion_classifier"]
    assert len(items.values) == 12
    assert np.average(items.values, weights=items.weights) == pytest.approx(figure)
    assert {c.title for c in metric.details(outputs).confusions} == {
        "color by the denoiser",
        "shape by the denoiser",
    }
    assert "by the denoiser over 6 images and 5 values" in metric.notes(outputs)[0]
    # The same noise again.
    assert metric.compute(outputs_of()) == {"diffusion_classifier": figure}


def test_the_diffusion_classifier_is_computed_on_request(outputs_of):
    eval_set = outputs_of().eval_set
    metrics, left_out = choose_metrics([eval_set])
    assert "diffusion_classifier" not in metrics
    assert "where evaluate.metrics names it" in left_out["diffusion_classifier"]
    assert "diffusion_classifier" in choose_metrics([eval_set], ["diffusion_classifier"])[0]
    named = outputs_of('evaluate.metrics=["diffusion_classifier"]').eval_set
    assert list(choose_metrics([named])[0]) == ["diffusion_classifier"]


def test_the_diffusion_classifier_needs_an_attribute(outputs_of):
    eval_set = outputs_of().eval_set
    few = EvalSet(eval_set.shards, eval_set.rows[:3], eval_set.evaluate, eval_set.generate)
    with pytest.raises(WorkError, match="diffusion_classifier needs an attribute"):
        DiffusionClassifier().check(few)


# ---------------------------------------------------------------- denoise_loss and drift


def test_the_denoise_loss_is_the_mean_of_its_items(outputs_of):
    outputs = outputs_of()
    loss = DenoiseLoss().compute(outputs)["denoise_loss"]
    items = DenoiseLoss().per_item(outputs)["denoise_loss"]
    assert loss == pytest.approx(float(np.mean(items.values))) and loss > 0
    assert DenoiseLoss().compute(outputs_of())["denoise_loss"] == loss


def test_the_denoise_loss_is_of_the_bases_target(outputs_of, tiny_base):
    outputs = outputs_of()
    outputs._base = loading.load_base(str(tiny_base), 32)
    outputs._base.denoise = lambda z, t, states: torch.zeros_like(z)
    loss = DenoiseLoss().compute(outputs)["denoise_loss"]
    z = torch.from_numpy(np.array(outputs.latents))
    # v = √ᾱ ε − √(1−ᾱ) z: with no prediction the loss is E ᾱ + E (1−ᾱ) z².
    abar = outputs.base.abar.mean()
    assert loss == pytest.approx(float(abar + (1 - abar) * z.square().mean()), rel=0.1)


def test_a_base_does_not_drift_from_itself(outputs_of):
    drifts = Drift().compute(outputs_of())
    assert set(drifts) == set(Drift.figures)
    assert list(drifts.values()) == pytest.approx([0, 0, 0, 0], abs=1e-6)


# ---------------------------------------------------------------- retention on photos


def test_photos_are_classified_by_the_nearest_prompt(outputs_of, tmp_path):
    folder = tmp_path / "photos"
    (folder / "images").mkdir(parents=True)
    lines = []
    for i, shape in enumerate(SHAPES):
        render_thing("red", shape, i).save(folder / "images" / f"{i}.png")
        row = {"image": f"images/{i}.png", "class": shape, "caption": f"a photo of a {shape}"}
        lines.append(json.dumps(row))
    (folder / "captions.jsonl").write_text("\n".join(lines))
    outputs, metric = outputs_of(f"evaluate.probe={json.dumps(str(folder))}"), Retention()
    photos = outputs.eval_set.photos
    images = outputs.embed_images("images", photos.images, photos.images_hash)
    prompts = outputs.embed_captions("prompts", photos.prompts)
    hits = (images @ prompts.T).argmax(axis=1) == photos.labels
    figures = metric.compute(outputs)
    assert figures["photo_accuracy"] == pytest.approx(np.mean(hits))
    assert figures["photo_balanced"] == pytest.approx(np.mean(hits))
    assert metric.references(outputs)["chance"]["photo_accuracy"] == pytest.approx(1 / 3)
    assert metric.per_item(outputs)["photo_accuracy"].values.tolist() == hits.tolist()


def test_without_photos_there_is_no_photo_accuracy(outputs_of):
    assert "photo_accuracy" not in Retention().compute(outputs_of())
