"""Blends: retrieval against retention, from the base to the tuned model."""

from unidiff_cli.evaluation.blends import retrieval_and_retention
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.reports.schema import FigureSpec

SPECS = {
    key: FigureSpec(key, "retrieval", "higher", True)
    for key in ("map_t2i", "map_i2t", "retention", "photo_retention")
}
FIGURES = {
    "base": {"map_t2i": 0.2, "map_i2t": 0.4, "retention": 1.0, "photo_retention": 1.0},
    "alpha 0.75": {"map_t2i": 0.5, "map_i2t": 0.7, "retention": 0.8, "photo_retention": 0.9},
    "alpha 0.5": {"map_t2i": 0.4, "map_i2t": 0.6, "retention": 0.9, "photo_retention": 0.95},
    "tuned": {"map_t2i": 0.6, "map_i2t": 0.8, "retention": 0.7, "photo_retention": 0.8},
    "diffdis": {"map_t2i": 0.1, "map_i2t": 0.1, "retention": 0.1, "photo_retention": 0.1},
}


def model(name):
    alpha = float(name.split()[1]) if name.startswith("alpha") else 1.0
    source = "base" if name == "base" else "001"
    encoder = name if name == "diffdis" else "clip"
    return ModelUnderTest(name, source, "base", 32, name, alpha, encoder)


MODELS = [model(name) for name in FIGURES]


def test_points_go_from_the_base_to_the_tuned_model_by_alpha():
    tradeoff = retrieval_and_retention(MODELS, FIGURES, SPECS)
    assert tradeoff.models == ["base", "alpha 0.5", "alpha 0.75", "tuned"]
    assert [round(y, 6) for y in tradeoff.y] == [0.3, 0.5, 0.6, 0.7]
    assert tradeoff.x == {"everyday objects": [1.0, 0.9, 0.8, 0.7], "photos": [1, 0.95, 0.9, 0.8]}


def test_a_retention_that_is_not_measured_has_no_curve():
    figures = {name: dict(each) for name, each in FIGURES.items()}
    del figures["base"]["photo_retention"]
    assert list(retrieval_and_retention(MODELS, figures, SPECS).x) == ["everyday objects"]
    for each in figures.values():
        each.pop("retention")
    assert retrieval_and_retention(MODELS, figures, SPECS) is None


def test_without_blends_or_recall_there_is_none():
    whole = [each for each in MODELS if each.role != "blend"]
    assert retrieval_and_retention(whole, FIGURES, SPECS) is None
    specs = {key: spec for key, spec in SPECS.items() if key != "map_i2t"}
    assert retrieval_and_retention(MODELS, FIGURES, specs) is None
