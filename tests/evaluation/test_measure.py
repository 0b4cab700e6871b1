"""Models and metrics to measure: their names, their roles, and progress."""

from dataclasses import replace

import pytest

from unidiff_cli.evaluation.measure import blended_model, by_encoder, source_name, with_prefix
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.models import encoders

BASE = ModelUnderTest("base", "/models/nano", "/models/nano", 64, "a")
TUNED = ModelUnderTest("tuned", "/exports/001", "/models/nano", 64, "b")


@pytest.mark.parametrize(
    ("model", "role"),
    [
        (BASE, "base"),
        (TUNED, "tuned"),
        (replace(TUNED, alpha=0.5), "blend"),
        (replace(TUNED, encoder="diffdis"), "encoder"),
    ],
)
def test_a_model_has_a_role(model, role):
    assert model.role == role


def test_a_blend_is_named_by_its_share_and_hashed_by_both_ends():
    blend = blended_model(TUNED, BASE, 0.25)
    assert (blend.name, blend.alpha, blend.source) == ("alpha 0.25", 0.25, TUNED.source)
    other_base = blended_model(TUNED, replace(BASE, model_hash="c"), 0.25)
    hashes = {TUNED.model_hash, blend.model_hash, other_base.model_hash}
    assert len(hashes | {blended_model(TUNED, BASE, 0.5).model_hash}) == 4


def test_an_export_is_measured_by_each_of_its_encoders(monkeypatch):
    monkeypatch.setattr(encoders, "available_encoders", lambda folder: ["clip", "diffdis"])
    models = by_encoder(TUNED, "001, ")
    assert [(model.name, model.encoder) for model in models] == [
        ("tuned", "clip"),
        ("001, diffdis", "diffdis"),
    ]


def test_a_base_of_two_sources_is_named_by_both():
    source = {"diffusion": "/models/sd15", "clip": "openai/clip", "text": None}
    assert source_name(source) == "sd15 + clip"
    assert source_name("/models/nano") == "nano"


def test_progress_is_prefixed():
    calls = []
    with_prefix("base", lambda *values: calls.append(values))("images", 1, 2)
    assert calls == [("base: images", 1, 2)]
    assert with_prefix("base", None) is None
