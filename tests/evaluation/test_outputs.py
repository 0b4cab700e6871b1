"""ModelOutputs and the array cache: nothing is computed twice, and a metric brings its own."""

from functools import partial

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, normal, rows_of, unit
from tests.support.projects import load_recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.evaluation import array_cache
from unidiff_cli.evaluation.array_cache import ArrayCache
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.measure import model_results
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs, Output
from unidiff_cli.reports.schema import FigureSpec

# ---------------------------------------------------------------- the array cache


class Counter:
    """Makes an array and counts how often."""

    def __init__(self):
        self.calls = []

    def __call__(self, *bounds):
        self.calls.append(bounds)
        return np.arange(*bounds, dtype=float) if bounds else np.ones(3)


def test_a_stored_array_is_not_made_again(tmp_path):
    make = Counter()
    arrays = [ArrayCache(tmp_path).array("x", [1], make) for _ in range(2)]
    assert len(make.calls) == 1 and all((array == 1).all() for array in arrays)


@pytest.mark.parametrize("change", ["depends", "schema"])
def test_a_stored_array_depends_on(tmp_path, monkeypatch, change):
    make, cache = Counter(), ArrayCache(tmp_path)
    cache.array("x", [1], make)
    if change == "schema":
        monkeypatch.setattr(array_cache, "SCHEMA", array_cache.SCHEMA + 1)
    cache.array("x", [2] if change == "depends" else [1], make)
    assert len(make.calls) == 2


def test_without_a_folder_nothing_is_stored():
    make = Counter()
    for _ in range(2):
        ArrayCache().array("x", [1], make)
    assert len(make.calls) == 2


def test_rows_are_stored_a_chunk_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(array_cache, "CHUNK", 2)
    make, cache = Counter(), ArrayCache(tmp_path)
    assert cache.rows("x", [], 5, make).tolist() == [0, 1, 2, 3, 4]
    assert make.calls == [(0, 2), (2, 4), (4, 5)]
    # The chunks' files are gone.
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_not_whole_is_written_again(tmp_path):
    make, cache = Counter(), ArrayCache(tmp_path)
    cache.array("x", [], make)
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert cache.array("x", [], make).tolist() == [1, 1, 1] and len(make.calls) == 2


# ---------------------------------------------------------------- the outputs of a model


@pytest.fixture
def base_outputs(prepared, tiny_base):
    """Outputs of the tiny base on the test split, and a way to get them anew."""
    recipe = load_recipe(tiny_base, "evaluate.images=4", "generate.steps=2")
    shards = Shards.open(prepared.path("shards"))
    base = ModelUnderTest("base", str(tiny_base), str(tiny_base), 32, "base")

    def make(cache=None, **options):
        rows = shards.rows("test")
        eval_set = EvalSet(shards, rows, recipe.evaluate, recipe.generate, cache)
        return ModelOutputs(base, eval_set, **options)

    return make


def test_embeddings_and_rankings_have_a_row_each(base_outputs):
    outputs = base_outputs()
    images, captions = len(outputs.eval_set.rows), len(outputs.eval_set.captions)
    assert outputs.image_embeds.shape == (images, 16)
    assert outputs.text_embeds.shape == (captions, 16)
    assert np.allclose(np.linalg.norm(outputs.image_embeds, axis=1), 1, atol=1e-5)
    assert len(outputs.rankings["t2i"].rank) == captions
    assert len(outputs.rankings["i2t"].rank) == images


def test_computed_holds_what_was_asked_for(base_outputs):
    outputs = base_outputs()
    assert outputs.computed == set()
    outputs.text_embeds  # noqa: B018
    assert outputs.computed == {Output.TEXT_EMBEDS}
    outputs.rankings  # noqa: B018
    assert outputs.computed == {Output.TEXT_EMBEDS, Output.IMAGE_EMBEDS, Output.RANKINGS}


def test_stored_outputs_need_no_model(base_outputs, tmp_path, monkeypatch):
    embeds = np.array(base_outputs(tmp_path).image_embeds)
    monkeypatch.setattr(ModelUnderTest, "load", lambda self: pytest.fail("loaded for nothing"))
    assert (base_outputs(tmp_path).image_embeds == embeds).all()


def test_released_weights_leave_the_outputs(base_outputs, monkeypatch):
    outputs = base_outputs()
    embeds = outputs.text_embeds
    outputs.release()
    monkeypatch.setattr(ModelUnderTest, "load", lambda self: pytest.fail("loaded again"))
    assert outputs.text_embeds is embeds


def test_progress_is_reported_by_label(base_outputs):
    reports = []
    outputs = base_outputs(on_progress=lambda *report: reports.append(report))
    outputs.image_embeds  # noqa: B018
    rows = len(outputs.eval_set.rows)
    assert reports[-1] == ("embedding images", rows, rows)


# ---------------------------------------------------------------- a metric's own output


class Brightness(Metric):
    """A metric in one file: the output that only it reads is computed here."""

    figures = {"brightness": FigureSpec("Brightness", "retrieval", "higher")}

    def compute(self, outputs):
        return {"brightness": float(self._values(outputs).mean())}

    def notes(self, outputs):
        return [f"The most is {self._values(outputs).max()}."]

    def _values(self, outputs):
        make = partial(outputs.array, "brightness.values", [1], self._measure)
        return outputs.remember(self, "values", make)

    @staticmethod
    def _measure():
        raise AssertionError("replaced by the test")


def test_a_metric_brings_the_output_that_only_it_reads(monkeypatch):
    calls = []
    monkeypatch.setattr(
        Brightness, "_measure", staticmethod(lambda: calls.append(1) or np.array([1.0, 3.0]))
    )
    outputs = ModelOutputs(
        ModelUnderTest("tuned", "tuned", "base", 32, "hash"), eval_set_of(rows_of("a"))
    )
    results = model_results(outputs, {"brightness": Brightness()})
    assert results["brightness"].figures == {"brightness": 2.0}
    assert len(calls) == 1, "once, however many methods read it"
    assert outputs.computed == {"brightness.values"}


def test_a_memo_is_of_one_metric_and_one_model():
    outputs = [GivenOutputs(eval_set_of(rows_of("a")), {}) for _ in range(2)]
    numbers = iter(range(9))
    keys = [("one", "x"), ("one", "x"), ("two", "x"), ("one", "y")]
    assert [outputs[0].remember(*key, lambda: next(numbers)) for key in keys] == [0, 0, 1, 2]
    assert outputs[1].remember("one", "x", lambda: next(numbers)) == 3


def test_given_outputs_are_ranked():
    embeds = unit(normal(3))
    arrays = {"text_embeds": embeds, "image_embeds": embeds}
    outputs = GivenOutputs(eval_set_of(rows_of("a", "b", "c")), arrays)
    assert outputs.rankings["t2i"].rank.tolist() == [0, 0, 0]
