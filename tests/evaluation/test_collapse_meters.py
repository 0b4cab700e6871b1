"""The collapse meters: by hand, of rotated and of collapsed embeddings, and their flags."""

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, normal, rows_of, unit
from unidiff_cli.evaluation import collapse_meters
from unidiff_cli.evaluation.metrics import collapse
from unidiff_cli.evaluation.metrics.collapse import Collapse

TWO = np.array([[1.0, 0], [-1, 0]])


def test_uniformity_by_hand():
    # exp(−2·4)
    assert collapse_meters.uniformity(TWO) == pytest.approx(-8)
    assert collapse_meters.uniformity(np.ones((3, 1))) == 0


def test_alignment_by_hand():
    assert collapse_meters.alignment(TWO, TWO[::-1]).tolist() == [4, 4]


def test_effective_rank_by_hand():
    assert collapse_meters.effective_rank(np.eye(4)) == pytest.approx(4)
    assert collapse_meters.effective_rank(np.ones((5, 3))) == pytest.approx(1)


def test_variance_by_hand():
    assert collapse_meters.variances(TWO).mean() == 1


def test_margin_by_hand():
    assert collapse_meters.margin(np.eye(2), np.eye(2), np.array([0, 1])).tolist() == [1, 1]
    assert collapse_meters.margin(np.eye(2), np.eye(2), np.array([1, 0])).tolist() == [-1, -1]


# Image 0 has both of the first two captions.
PAIRS = np.array([[0, 0], [1, 0], [1, 1]])


def test_margin_leaves_out_every_right_caption():
    texts = unit(np.array([[1.0, 0], [1, 1], [0, 1]]))
    margins = collapse_meters.margin(texts[[0, 1]], texts, np.array([0, 1]), PAIRS)
    assert margins == pytest.approx([1, 1 - np.sqrt(0.5)])


def test_margin_needs_a_wrong_caption():
    with pytest.raises(ValueError, match="a wrong caption for every image"):
        collapse_meters.margin(np.eye(2), np.eye(2), np.array([0, 1]), PAIRS)


def test_retention_by_hand():
    assert collapse_meters.retention(0.6, 0.9, 0.1) == pytest.approx(5 / 8)
    assert np.isnan(collapse_meters.retention(0.5, 0.1, 0.1))


def test_denoiser_drift_by_hand():
    drift = collapse_meters.denoiser_drift(np.array([1.0, 3]), np.array([1.0, 2]))
    assert drift == pytest.approx(1 / 5)


@pytest.mark.parametrize("n", [3, 40])
def test_embeddings_that_are_not_numbers_have_no_meter(n):
    embeds = normal(n, 8)
    embeds[1, 2] = np.nan
    with np.errstate(invalid="ignore"):
        assert np.isnan(collapse_meters.effective_rank(embeds))
        assert np.isnan(collapse_meters.uniformity(embeds))


# ---------------------------------------------------------------- drift


def rotation(d, seed):
    return np.linalg.qr(normal(d, d, seed=seed, dtype=float))[0]


def test_a_rotation_is_a_drift_and_no_nonrigid_one():
    t0, q = unit(normal(50, 6, dtype=float)), rotation(6, 1)
    assert collapse_meters.drift(t0, t0) == pytest.approx(0, abs=1e-12)
    assert collapse_meters.drift(t0 @ q, t0) > 0.3
    assert collapse_meters.nonrigid_drift(t0 @ q, t0) == pytest.approx(0, abs=1e-12)
    assert collapse_meters.nonrigid_drift(np.zeros_like(t0), t0) == 1


def test_nonrigid_drift_is_at_most_twice_the_drift():
    t0 = unit(normal(50, 6, dtype=float))
    moved = unit(t0 + 0.3 * normal(50, 6, seed=2))
    nonrigid = collapse_meters.nonrigid_drift(moved, t0)
    assert 0 < nonrigid <= 2 * collapse_meters.drift(moved, t0) + 1e-12


def test_drift_of_token_states_is_over_every_token():
    t0, q = unit(normal(50, 6, dtype=float)), rotation(6, 1)
    states = t0.reshape(10, 5, 6)
    expected = collapse_meters.drift(t0 @ q, t0)
    assert collapse_meters.drift(states @ q, states) == pytest.approx(expected)


def relations():
    """Embeddings of 7 images and 9 captions by a model and by its base of another width."""
    sizes = ((7, 5, 0), (9, 5, 1), (7, 4, 2), (9, 4, 3))
    return [unit(normal(n, d, seed, dtype=float)) for n, d, seed in sizes]


def test_relation_drift_is_the_anchors():
    torch = pytest.importorskip("torch")
    from unidiff_cli.objectives.anchor import drift

    x, y, x0, y0 = relations()
    expected = float(drift(torch.from_numpy(x @ y.T), torch.from_numpy(x0 @ y0.T)))
    assert collapse_meters.relation_drift(x, y, x0, y0) == pytest.approx(expected, rel=1e-12)


def test_relation_drift_of_a_rotation_is_zero():
    x, y, _, _ = relations()
    q = rotation(5, 1)
    assert collapse_meters.relation_drift(x @ q, y @ q, x, y) == pytest.approx(0, abs=1e-12)


# ---------------------------------------------------------------- flags


@pytest.fixture
def towers():
    """Embeddings of 200 images and captions, and each image's caption."""
    return unit(normal(200, 24)), unit(normal(200, 24, seed=1)), np.arange(200)


def test_a_rotated_model_raises_no_flag(towers):
    images, texts, caption_of = towers
    q = np.linalg.qr(normal(24, 24, seed=2))[0]
    base = collapse_meters.meters(images, texts, caption_of)
    rotated = collapse_meters.meters(images @ q, texts @ q, caption_of)
    assert not any(flag.raised for flag in collapse_meters.flags(base, rotated))


def test_a_collapsed_model_raises_every_flag(towers):
    images, texts, caption_of = towers
    base = collapse_meters.meters(images, texts, caption_of)
    point = unit(np.ones((1, 24)))
    near_images, near_texts = unit(point + 0.05 * images), unit(point + 0.05 * texts)
    tuned = collapse_meters.meters(near_images, near_texts, caption_of)
    tuned |= {"text_drift": collapse_meters.drift(near_texts, texts), "retention": 0.4}
    raised = {flag.meter: flag.raised for flag in collapse_meters.flags(base, tuned)}
    assert len(raised) == 6 and all(raised.values())


def test_two_points_have_a_low_rank(towers):
    images, texts, caption_of = towers
    base = collapse_meters.meters(images, texts, caption_of)
    line = np.outer(np.sign(normal(200, 1)[:, 0]), unit(np.ones((1, 24))))
    assert collapse_meters.effective_rank(line) < 0.7 * base["effective_rank_image"]


def test_a_meter_that_is_not_a_number_is_raised():
    tuned = {"prompt_sensitivity": 0.3, "retention": float("nan")}
    flags = collapse_meters.flags({"prompt_sensitivity": 1.5}, tuned)
    assert [flag.raised for flag in flags] == [True, True]


def test_flags_of_one_probe_leave_the_other_out():
    meters = {"uniformity_image": -2.0, "probe_uniformity_image": -1.0, "probe_accuracy": 0.5}
    [catalogue] = collapse_meters.flags(meters, meters)
    [neutral] = collapse_meters.flags(meters, meters, "everyday objects")
    assert (catalogue.meter, catalogue.tuned) == ("uniformity_image", -2.0)
    assert (neutral.meter, neutral.tuned) == ("uniformity_image", -1.0)


# ---------------------------------------------------------------- the metric


@pytest.fixture
def large_outputs():
    """Outputs of 40 rows with two captions each."""
    eval_set = eval_set_of(rows_of(*[(f"a {n}", f"b {n}") for n in range(40)]))
    names = unit(normal(21, seed=5))
    return GivenOutputs(
        eval_set,
        {
            "image_embeds": unit(normal(40)),
            "text_embeds": unit(normal(80, seed=1)),
            "probe_image_embeds": names[eval_set.probe.labels],
            "probe_text_embeds": names,
        },
    )


def test_every_row_is_measured(large_outputs):
    assert len(Collapse().per_item(large_outputs)["margin"].values) == 40
    assert len(Collapse().notes(large_outputs)) == 1


def test_a_large_catalogue_is_measured_by_a_part_of_it(monkeypatch, large_outputs):
    monkeypatch.setattr(collapse, "MAX_ROWS", 10)
    items = Collapse().per_item(large_outputs)["margin"]
    rows = np.sort(large_outputs.eval_set.order[:10])
    expected = collapse_meters.margin(
        large_outputs.image_embeds[rows],
        large_outputs.text_embeds[[c for n in rows for c in (2 * n, 2 * n + 1)]],
        2 * np.arange(10),
        np.array([[2 * n + 1, n] for n in range(10)]),
    )
    assert items.values == pytest.approx(expected)
    assert items.groups == [str(n) for n in rows]
    assert "over 10 of 40 images" in Collapse().notes(large_outputs)[1]


def test_meters_are_computed_once(monkeypatch, large_outputs):
    sizes = []
    monkeypatch.setattr(collapse, "MAX_ROWS", 10)
    monkeypatch.setattr(collapse_meters, "uniformity", lambda x: sizes.append(len(x)) or 0.0)
    Collapse().compute(large_outputs), Collapse().notes(large_outputs)
    assert sizes == [10, 20, 210, 21]
