"""The threshold of a good match: what validation images reach whose product is there."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.evaluation import unit
from unidiff_cli.errors import Damaged
from unidiff_cli.retrieval.thresholds import (
    FILE,
    LEAST,
    Threshold,
    calibrate,
    read_threshold,
    write_threshold,
)


def row(number, group, split="val", content=""):
    return SimpleNamespace(
        id=str(number), group=group, split=split, content=content or f"c{number}"
    )


def circle(degrees):
    radians = np.radians(np.asarray(degrees, float))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_by_hand_of_pairs_of_images_at_growing_angles():
    """Pair n is n degrees wide and far from the others: its best score is cos n."""
    count = 12
    degrees = [angle for n in range(count) for angle in (30 * n, 30 * n + n)]
    rows = [row(n, f"p{n // 2}") for n in range(2 * count)]
    threshold = calibrate(rows, circle(degrees))
    best = np.cos(np.radians(np.repeat(np.arange(count), 2)))
    assert threshold.images == 24 and threshold.score == pytest.approx(np.quantile(best, 0.05))


def test_only_validation_images_with_another_of_their_product_ask():
    rows = [row(n, f"p{n // 2}") for n in range(40)]
    rows += [row(40, "alone"), *(row(41 + n, "train", "train") for n in range(9))]
    assert calibrate(rows, unit(np.random.default_rng(0).normal(size=(50, 4)))).images == 40


def test_an_image_that_is_there_twice_is_not_its_own_match():
    rows = [row(n, f"p{n // 4}", content=f"c{n // 2}") for n in range(40)]
    embeddings = circle(np.repeat(np.arange(20) * 18.0, 2))
    assert calibrate(rows, embeddings).score == pytest.approx(np.cos(np.radians(18)))


def test_too_few_give_none(tmp_path):
    rows = [row(n, f"p{n // 2}") for n in range(LEAST - 2)]
    threshold = calibrate(rows, unit(np.random.default_rng(0).normal(size=(len(rows), 4))))
    assert threshold == Threshold(None, LEAST - 2)
    assert calibrate([], np.zeros((0, 4))) == Threshold(None, 0)
    write_threshold(tmp_path, threshold)
    assert read_threshold(tmp_path) == threshold


def test_a_damaged_file_is_named(tmp_path):
    for text in ("", "[]", '{"score": 1}', "{"):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(Damaged, match="unidiff index --force"):
            read_threshold(tmp_path)


def test_it_is_that_of_each_image_compared_with_all(monkeypatch):
    """Over several blocks, and of products and contents that repeat."""
    monkeypatch.setattr("unidiff_cli.retrieval.thresholds.BLOCK", 37)
    rng = np.random.default_rng(0)
    rows = [
        row(n, f"p{rng.integers(40)}", rng.choice(["val", "train"]), f"c{rng.integers(150)}")
        for n in range(200)
    ]
    embeddings = unit(rng.normal(size=(200, 4)).astype(np.float32))
    best = []
    for asked, one in zip(embeddings, rows, strict=True):
        others = np.array([other.content != one.content for other in rows])
        alike = [other.group == one.group for other in rows]
        if one.split == "val" and (others & alike).any():
            best.append((embeddings[others] @ asked).max())
    threshold = calibrate(rows, embeddings)
    assert threshold.images == len(best) > LEAST
    assert threshold.score == pytest.approx(np.quantile(best, 0.05), abs=1e-6)
