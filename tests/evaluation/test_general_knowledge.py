"""Retention and the denoiser's drift: what is compared, by hand, and how often by mistake."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.evaluation import GivenOutputs, eval_set_of, rows_of, unit
from unidiff_cli.evaluation import statistics
from unidiff_cli.evaluation.metrics.drift import TIMESTEPS, Drift
from unidiff_cli.evaluation.metrics.retention import Retention
from unidiff_cli.evaluation.probe import ProbeSet

CLASSES = ["apple", "book", "cup"]
LABELS = np.repeat(np.arange(3), 4)


def outputs_of(predicted, base=None):
    """A model that takes the probe's images for these classes."""
    eval_set = eval_set_of(rows_of("a"))
    images = [Image.new("RGB", (8, 8), (20 * n, 0, 0)) for n in range(len(LABELS))]
    eval_set.__dict__["probe"] = ProbeSet(images, LABELS, CLASSES, [f"a {c}" for c in CLASSES])
    arrays = {"probe_image_embeds": np.eye(3)[predicted], "probe_text_embeds": np.eye(3)}
    outputs = GivenOutputs(eval_set, arrays)
    outputs.base_outputs = base
    return outputs


def test_retention_by_hand():
    """The base knows 10 of 12, the tuned model 7; chance is 1/3."""
    base = outputs_of([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 1])
    tuned = outputs_of([0, 0, 0, 0, 1, 0, 0, 2, 2, 2, 0, 1], base)
    assert Retention().compute(base) == {"probe_accuracy": pytest.approx(10 / 12), "retention": 1}
    assert Retention().compute(tuned) == {
        "probe_accuracy": pytest.approx(7 / 12),
        "retention": pytest.approx((7 / 12 - 1 / 3) / (10 / 12 - 1 / 3)),
    }


def test_a_base_at_chance_has_no_retention():
    base = outputs_of([0] * 12)
    assert Retention().compute(outputs_of(LABELS, base)) == {"probe_accuracy": 1}
    assert "nothing to lose" in Retention().notes(base)[-1]


def test_classes_are_what_is_resampled():
    """Twelve images of three classes: three things can be told apart, not twelve."""
    base, tuned = outputs_of([0] * 12), outputs_of(LABELS)
    items = [Retention().per_item(each)["probe_accuracy"] for each in (base, tuned)]
    assert items[0].values.tolist() == [1] * 4 + [0] * 8
    test = statistics.paired(items[0].values, items[1].values, groups=items[1].groups)
    assert (test.items, test.groups, test.verdict) == (12, 3, "not distinguishable")


def test_equal_models_whose_classes_wander_are_seldom_told_apart():
    """Seeds move whole classes. With images as groups 14 % of such pairs were called different."""
    rng, different, trials = np.random.default_rng(0), 0, 80
    classes = np.repeat(np.arange(21), 10)
    for seed in range(trials):
        level = rng.normal(0, 1, 21)
        hits = [
            rng.random(210) < 1 / (1 + np.exp(-(level + rng.normal(0, 1, 21))[classes]))
            for _ in range(2)
        ]
        test = statistics.paired(*hits, groups=classes, samples=200, seed=seed)
        different += test.verdict != "not distinguishable"
    # 4 expected of 80; 11 or fewer with 99.9 %.
    assert different <= 11


class Denoiser:
    """A base whose latents are the images' red, and whose denoiser scales what it sees."""

    device = torch.device("cpu")

    def __init__(self, scale):
        self.scale, self.seen = scale, []
        self.schedule = Schedule()

    def encode_text(self, prompts):
        return prompts

    def diffusion_pixels(self, images):
        return torch.tensor([image.getpixel((0, 0))[0] for image in images]).float()

    def encode_latents(self, pixels):
        return SimpleNamespace(mean=pixels[:, None, None, None].expand(-1, 4, 2, 2))

    def denoise(self, z_t, times, text):
        self.seen.append((z_t, times[0].item(), text))
        return self.scale * z_t


class Schedule:
    def __len__(self):
        return 100

    def add_noise(self, z, noise, times):
        return z + 0.01 * times[:, None, None, None] * noise


def test_denoiser_drift_is_over_noised_images_of_the_probe():
    """Of each class the first image: 0, 80 and 160 red, noised at each timestep."""
    base, tuned = outputs_of(LABELS), outputs_of(LABELS)
    base._base, tuned._base, tuned.base_outputs = Denoiser(1.0), Denoiser(1.5), base
    for each in (base, tuned):
        each.arrays = {**each.arrays, "text_embeds": unit(np.ones((1, 3)))}
    assert Drift().compute(base)["denoiser_drift"] == 0
    assert Drift().compute(tuned)["denoiser_drift"] == pytest.approx(0.25)
    steps = [step for _, step, _ in base._base.seen]
    assert steps == [t // 10 for t in TIMESTEPS]
    for (one, _, text), (other, _, _) in zip(base._base.seen, tuned._base.seen, strict=True):
        assert torch.equal(one, other), "both see the same noise"
        assert text == ["a apple", "a book", "a cup"]
        assert one.mean((1, 2, 3)).tolist() == pytest.approx([0, 80, 160], abs=2)
