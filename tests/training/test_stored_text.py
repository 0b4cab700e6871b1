"""Captions' features by a text tower that does not train: computed once, and what it would give."""

from collections import Counter

import pytest
import torch

from tests.support.projects import copy_project, load_recipe
from unidiff_cli import train
from unidiff_cli.models.stored_text import StoredText
from unidiff_cli.models.text_pass import TextPass
from unidiff_cli.project import run_log
from unidiff_cli.training.text_states import fill_text

CAPTIONS = ["a red dress", "a blue shirt", ""]


@pytest.mark.parametrize("family", ["sd1", "sdxl first"])
def test_stored_features_are_those_of_the_tower(project, load_tiny, family):
    base = load_tiny(family)
    text = StoredText(base, fill_text(project, base, CAPTIONS, states=True))
    with torch.no_grad():
        live = base.encode_text([*CAPTIONS[::-1], "not stored"])
    stored = text.encode_text([*CAPTIONS[::-1], "not stored"])
    assert (
        torch.equal(stored.embeds, live.embeds) or (stored.embeds - live.embeds).abs().max() < 1e-6
    )
    assert (stored.states - live.states).abs().max() < 2e-3
    assert (stored.pooled is None) == (live.pooled is None)


def test_a_tower_with_other_weights_has_other_features(project, load_tiny):
    base = load_tiny("sd1")
    before = fill_text(project, base, CAPTIONS, states=False)
    assert list(before) == ["embeds"]
    with torch.no_grad():
        base.clip.text_projection.weight.mul_(1.5)
    assert fill_text(project, base, CAPTIONS, states=False) != before


def test_steps_of_a_run_with_a_frozen_tower_never_run_it(
    tmp_path, prepared, tiny_base, monkeypatch
):
    """And its losses are those of a run that does."""
    losses, called = [], Counter()
    monkeypatch.setattr(TextPass, "run", _counting(called))
    for cached in (False, True):
        recipe = load_recipe(
            tiny_base,
            "train.trains=[vision, denoiser]",
            f"train.cache_latents={str(cached).lower()}",
            "train.steps=3",
            "train.validate_every=100",
            "train.preview_every=0",
        )
        project = copy_project(prepared, tmp_path / str(cached))
        name, _ = train(project, recipe)
        lines = run_log.read(project.path("runs", name))
        losses.append([line["loss"] for line in lines if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    assert called["StoredText"] == called["StableDiffusion"] > 0


def _counting(called):
    run = TextPass.run

    def counted(encoder, *rest):
        called[type(encoder).__name__] += 1
        return run(encoder, *rest)

    return counted
