"""What measures the cost of evaluation: its own arithmetic by hand, and that what it compares gives the same numbers."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import evaluate, table
from benchmarks.evaluate import BOUNDS, CHECKS, PARTS, QUICK, TARGETS
from unidiff_cli import machine
from unidiff_cli.evaluation import ranking
from unidiff_cli.evaluation.extractors.inception import BATCH, Inception


@pytest.mark.parametrize("part", PARTS)
def test_a_little_of_everything_gives_equal_numbers(part, tmp_path):
    pytest.importorskip("torch_fidelity")
    figures = evaluate.measure(tmp_path, QUICK, [part])
    assert (tmp_path / "figures.json").is_file() and figures["machine"]["cores"] > 0
    expected = {name for name in CHECKS | TARGETS if name.split(".")[0] == part}
    assert expected <= {f"{part}.{name}" for name in figures[part]}
    assert evaluate.missed(figures) == []
    assert expected <= set(table(figures, BOUNDS).columns[0].cells)


def test_memory_is_that_of_the_peak():
    peak, _, found = evaluate.grown(
        lambda: np.ones(4 * 2**20).sum()
    )  # 32 MB, gone when it is asked
    assert found == 4 * 2**20 and peak == pytest.approx(32, abs=2)


def test_ways_take_turns():
    told = []
    spent, found = evaluate.in_turns({name: lambda n=name: told.append(n) or n for name in "ab"}, 2)
    assert told == ["a", "b", "a", "b"] and found == {"a": "a", "b": "b"} and len(spent["a"]) == 2
    assert evaluate.ratio("times", np.array([2.0, 9.0, 4.0]), np.array([1.0, 3.0, 1.0])) == {
        "times": 3.0,
        "times_least": 2.0,
        "times_most": 4.0,
    }


def test_threads_are_given_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with evaluate.all_cores():
        assert (
            os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == str(machine.cores())
        )
    assert os.environ["OMP_NUM_THREADS"] == "1" and "MKL_NUM_THREADS" not in os.environ


def test_wrong_ranks_and_answers_are_counted():
    queries, answers = evaluate.embeddings(200)
    right = ranking.rank_answers(
        queries, answers, np.repeat(np.arange(200)[:, None], 2, axis=1), top=evaluate.TOP
    )
    found = evaluate.against_dense(queries, answers, right, 200)
    assert found == {"checked": 200, "ranks_outside": 0, "tops_outside": 0, "rank_equal": 1.0}
    right.rank[:3] += 1
    right.top[5] = right.top[5][::-1]
    found = evaluate.against_dense(queries, answers, right, 200)
    assert (found["ranks_outside"], found["tops_outside"], found["rank_equal"]) == (3, 1, 0.985)


def test_an_output_that_differs_is_named():
    figures = {
        "distance": {"difference_clean_fid": 2e-6, "difference_torch_fidelity": float("nan")}
    }
    assert evaluate.missed(figures) == [
        "distance.difference_clean_fid",
        "distance.difference_torch_fidelity",
    ]
    figures = {"distance": {"difference_clean_fid": 0.0, "times_clean_fid": 3.0}}
    assert evaluate.missed(figures) == []  # a target is not a check
    assert list(table(figures, BOUNDS).columns[3].cells) == ["yes", "no"]


# ---------------------------------------------------------------- the extractor it measures


class Means(torch.nn.Module):
    """Called as NVIDIA's file is: what an image's first feature tells is its mean, beside 2,047 noughts."""

    class Layers(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(x.mean(dim=(1, 2, 3)).unsqueeze(1), (0, 2047))

    def __init__(self):
        super().__init__()
        self.layers = self.Layers()

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return self.layers(x) * 0 - 1  # its resize: not what clean-fid asks for


@pytest.fixture(scope="module")
def extractor():
    return Inception(torch.jit.script(Means().eval()), "means")


def test_features_keep_the_images_order_over_batches(extractor):
    grays = np.arange(2 * BATCH + 3)
    found = extractor.features(np.full((9, 7, 3), gray, np.uint8) for gray in grays)
    assert found.shape == (len(grays), 2048) and found.dtype == np.float32
    assert found[:, 0] == pytest.approx((grays - 128) / 128, abs=1e-5)


def test_images_are_arrays_or_files_and_none_is_no_feature(extractor, tmp_path):
    Image.fromarray(np.full((8, 8), 64, np.uint8)).save(tmp_path / "gray.png")
    found = extractor.features(
        [Image.open(tmp_path / "gray.png"), np.full((8, 8, 3), 64, np.uint8)]
    )
    assert found[:, 0] == pytest.approx([-0.5, -0.5])
    assert extractor.features([]).shape == (0, 2048)


def test_a_image_that_cannot_be_read_is_an_error(extractor, tmp_path):
    (tmp_path / "cut.jpg").write_bytes(b"")
    with pytest.raises(OSError):
        extractor.features(Image.open(path) for path in tmp_path.iterdir())
