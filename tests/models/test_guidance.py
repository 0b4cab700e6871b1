"""Guidance: which passes are made, and what diffusers makes of the same settings."""

import numpy as np
import pytest
import torch
from diffusers import PNDMScheduler
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from tests.support.base import write_base
from unidiff_cli.models import loading
from unidiff_cli.models.guidance import Guidance


@pytest.fixture(scope="module")
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32).eval()


@pytest.fixture
def passes(base, monkeypatch):
    """(timestep, rows) of every pass of the denoiser."""
    seen, denoise = [], base.denoise

    def counted(z_t, t, text):
        seen.append((int(t), len(z_t)))
        return denoise(z_t, t, text)

    monkeypatch.setattr(base, "denoise", counted)
    return seen


@pytest.mark.parametrize("scale", [0, 0.5, 1])
def test_without_guidance_no_pass_is_made_without_the_caption(base, passes, scale):
    [image] = base.generate(["red dress"], [0], steps=3, guidance=Guidance(scale))
    assert [rows for _, rows in passes] == [1, 1, 1]
    [same] = base.generate(["red dress"], [0], steps=3, guidance=Guidance(1), negative="blue")
    assert np.array_equal(image, same)


def test_outside_the_interval_nothing_is_guided(base, passes):
    guidance = Guidance(3, (0.2, 0.8))
    base.generate(["red dress", "a hat"], [0, 1], steps=5, guidance=guidance)
    assert passes == [(999, 2), (799, 4), (599, 4), (399, 4), (199, 2)]


def test_an_interval_of_the_whole_schedule_is_none(base):
    options = {"prompts": ["red dress"], "seeds": [0], "steps": 3}
    [plain], [limited], [off] = (
        base.generate(**options, guidance=Guidance(4, interval))
        for interval in ((0, 1), (0, 0.9999), (0, 0))
    )
    assert np.array_equal(plain, limited)
    assert (np.asarray(plain) != np.asarray(off)).any()


def test_predictions_are_combined_as_by_hand():
    unconditional, conditional = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 0.0]])
    guided = Guidance(3).combine(unconditional, conditional)
    assert guided.tolist() == [[4.0, -4.0]]
    # The deviation of the conditional one is a quarter of the guided one's.
    half = Guidance(3, rescale=0.5).combine(unconditional, conditional)
    assert torch.allclose(half, torch.tensor([[2.5, -2.5]]))


def test_rescaling_is_that_of_diffusers():
    unconditional, conditional = torch.randn(2, 3, 4, 8, 8, generator=torch.manual_seed(0))
    guided = unconditional + 5 * (conditional - unconditional)
    expected = rescale_noise_cfg(guided, conditional, guidance_rescale=0.7)
    ours = Guidance(5, rescale=0.7).combine(unconditional, conditional)
    assert torch.allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("scheduler", ["ddim", "pndm"])
@pytest.mark.parametrize(
    ("guidance", "negative"),
    [(Guidance(1), ""), (Guidance(4), ""), (Guidance(4, rescale=0.7), "blue hat")],
)
def test_images_are_those_of_the_bases_own_pipeline(tmp_path, guidance, negative, scheduler):
    prediction = "v_prediction" if scheduler == "ddim" else "epsilon"
    base = loading.load_base(str(write_base(tmp_path / "base", prediction=prediction)), 32)
    if scheduler == "pndm":
        base.pipeline.scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1)
    prompts, seeds = ["red dress", "a hat"], [3, 4]
    ours = base.generate(prompts, seeds, steps=4, guidance=guidance, negative=negative)
    expected = base.pipeline(
        prompts,
        negative_prompt=[negative] * 2,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        num_inference_steps=4,
        guidance_scale=guidance.scale,
        guidance_rescale=guidance.rescale,
        height=32,
        width=32,
    ).images
    assert np.abs(np.int16(ours) - np.int16(expected)).max() <= 1


def test_guidance_is_said_in_words():
    assert str(Guidance(2.5)) == "2.5"
    words = str(Guidance(3, (0.1, 0.8), 0.7))
    assert words == "3 between 10% and 80% of noise, rescale 0.7"
    assert str(Guidance(2, unconditional="base")) == "2, from the base's prediction"
