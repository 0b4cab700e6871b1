"""Who judges generated images: several extractors, another scorer, and how many images it takes."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.support.base import write_base
from tests.support.evaluation import GivenOutputs, eval_set_of, normal, rows_of, unit
from tests.support.reports import report_of
from tests.support.reports import test_of as figure_test
from unidiff_cli.config.schema import Evaluate
from unidiff_cli.errors import UsageError, WorkError
from unidiff_cli.evaluation import measure
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.extractors.nano_scorer import refuse_related
from unidiff_cli.evaluation.image_features import ImageFeatures
from unidiff_cli.evaluation.measure import choose_metrics, metric_result
from unidiff_cli.evaluation.metrics.clip_score import ClipScore, distance
from unidiff_cli.evaluation.metrics.kid import Kid, kernel_distance
from unidiff_cli.evaluation.metrics.near_copies import NearCopies
from unidiff_cli.evaluation.metrics.precision_recall import PrecisionRecall
from unidiff_cli.evaluation.results import MetricResult, compare_results, table_tests
from unidiff_cli.evaluation.verdict import verdict
from unidiff_cli.reports.evaluation import markdown
from unidiff_cli.reports.schema import FigureSpec

SECOND = "efficientnet_lite0"
UNCLEAR = "not distinguishable"


class Named:
    """What a note says of a network."""

    name, caution, feature_size, image_size = "a network", "", 8, 32


def outputs_of(generated, real, prompts, features=None, **evaluate):
    """Outputs with these unit embeddings by the scorer, and features by each extractor."""
    eval_set = eval_set_of(
        rows_of(*(f"item {n}" for n in range(len(real)))), images=len(generated), **evaluate
    )
    eval_set.prompt_embeds = prompts
    eval_set.extractors = {name: Named() for name in eval_set.evaluate.extractors}
    features = features or {name: (generated, real) for name in eval_set.evaluate.extractors}
    given = [
        ImageFeatures({name: both[side] for name, both in features.items()}, embeds)
        for side, embeds in enumerate((generated, real))
    ]
    arrays = {"training images": unit(normal(50, generated.shape[1], seed=9))}
    return GivenOutputs(eval_set, arrays, *given)


# ---------------------------------------------------------------- extractors of a recipe


def test_one_name_or_several_are_extractors():
    assert Evaluate().extractors == ("nano_scorer",)
    assert Evaluate(inception="a.pt").extractors == ("inception",)
    assert Evaluate(extractor=SECOND).extractors == (SECOND,)
    both = Evaluate(extractor=["auto", SECOND, "nano_scorer"])
    assert both.extractors == ("nano_scorer", SECOND)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"extractor": "inception"}, "needs its file"),
        ({"extractor": SECOND, "inception": "a.pt"}, "given and not named here"),
        ({"extractor": "resnet"}, "Input should be"),
        ({"extractor": []}, "name an extractor"),
    ],
)
def test_an_extractor_that_cannot_be_meant_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Evaluate(**options)


def test_every_extractor_has_its_figures():
    features = {
        "nano_scorer": (normal(30, 8, 1), normal(40, 8, 2)),
        SECOND: (normal(30, 8, 3, shift=1), normal(40, 8, 4)),
    }
    embeds = unit(normal(30, 8, 5)), unit(normal(40, 8, 6)), unit(normal(30, 8, 7))
    outputs = outputs_of(*embeds, features, extractor=["auto", SECOND])
    result = metric_result(Kid(), outputs)
    expected = {
        key: kernel_distance(real, generated, None)
        for key, (generated, real) in zip(("kid", f"kid_{SECOND}"), features.values(), strict=True)
    }
    assert result.figures == pytest.approx(expected)
    assert set(result.bootstrap) == set(result.references["null_level"]) == set(expected)
    specs = Kid.specs(outputs.eval_set.evaluate)
    labels = {key: (spec.label, spec.extractor) for key, spec in specs.items()}
    assert labels == {
        "kid": ("KID by nano_scorer", "nano_scorer"),
        f"kid_{SECOND}": (f"KID by {SECOND}", SECOND),
    }
    values = metric_result(PrecisionRecall(), outputs)
    assert values.figures.keys() == PrecisionRecall.specs(outputs.eval_set.evaluate).keys()
    assert values.per_item.keys() == values.figures.keys()


def test_one_extractor_alone_has_plain_keys_and_labels():
    assert Kid.specs(Evaluate(extractor=SECOND)) == {
        "kid": replace(Kid.figures["kid"], extractor=SECOND)
    }


def test_near_copies_are_searched_by_every_other_network():
    training = unit(normal(50, 8, seed=9))
    # The second network sees copies, the scorer does not.
    features = {
        "nano_scorer": (normal(30, 8, 1), normal(150, 8, 2)),
        SECOND: (3 * training[:30], normal(150, 8, 4)),
    }
    embeds = unit(normal(30, 8, 5)), unit(normal(150, 8, 6)), unit(normal(30, 8, 7))
    outputs = outputs_of(*embeds, features, extractor=["auto", SECOND])
    outputs.eval_set.train_rows = rows_of(*(f"train {n}" for n in range(50)))
    outputs.eval_set.__class__ = type(
        "Ordered",
        (type(outputs.eval_set),),
        {"training_sample": outputs.eval_set.train_rows},
    )
    figures = NearCopies().compute(outputs)
    assert figures.keys() == NearCopies.specs(outputs.eval_set.evaluate).keys()
    assert figures["near_copies"] < 0.2 and figures[f"near_copies_{SECOND}"] == 1
    pairs = [p for p in NearCopies().details(outputs).near_copies if p.extractor == SECOND]
    assert all(pair.generated == pair.training for pair in pairs) and len(pairs) == 12


# ---------------------------------------------------------------- CLIP score


def test_the_distance_of_clip_scores_by_hand():
    gaps = np.array([30.0, 10, -10, 10])
    assert distance(gaps) == pytest.approx([10])
    # The last resample is all of the third: 10 below the real one is as far as 10 above.
    counts = np.array([[1, 1, 1, 1], [2, 0, 2, 0], [0, 0, 4, 0]])
    assert distance(gaps, counts) == pytest.approx([10, 10, 10])


def test_a_lower_clip_score_that_is_nearer_to_the_real_one_is_better():
    def at(cosine, count=40):
        """Unit vectors with about that cosine to the first axis."""
        noise = np.random.default_rng(round(100 * cosine)).standard_normal(count)
        cosines = cosine + 0.02 * (noise - noise.mean())
        return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)

    prompts = np.tile([1.0, 0.0], (40, 1))
    results = {
        name: metric_result(ClipScore(), outputs_of(at(cosine), at(0.2), prompts))
        for name, cosine in (("base", 0.6), ("nearer", 0.3), ("below", 0.1))
    }
    figures = {name: result.figures for name, result in results.items()}
    assert figures["base"]["clip_score"] > figures["nearer"]["clip_score"]
    assert figures["nearer"]["clip_score_distance"] == pytest.approx(10, abs=0.2)
    tests = compare_results(ClipScore.figures, results["base"], results["nearer"])
    assert set(tests) == {"clip_score_distance"}, "the score itself is not judged"
    assert tests["clip_score_distance"].verdict == "better"
    [test] = compare_results(ClipScore.figures, results["nearer"], results["below"]).values()
    assert test.verdict == "not distinguishable", "10 below is as far as 10 above"
    assert figures["base"]["clip_score_distance"] == pytest.approx(
        figures["base"]["clip_score"] - results["base"].references["real"]["clip_score"]
    )


# ---------------------------------------------------------------- too few images


@pytest.mark.parametrize(("generated", "word"), [(255, "too few images"), (256, "better")])
def test_a_distance_over_few_images_has_no_verdict(generated, word):
    rng, specs = np.random.default_rng(0), Kid.figures
    noise = rng.standard_normal(500)
    results = {
        name: {"kid": MetricResult({"kid": value}, bootstrap={"kid": samples_of(value + noise)})}
        for name, value in (("base", 9.0), ("tuned", 1.0))
    }
    (test,) = table_tests([("tuned", "base")], results, specs, generated)
    assert test.verdict == word and test.low < test.high < 0
    assert (f"KID has {word} for a verdict" in test.sentence) == (word == "too few images")


def samples_of(values):
    from unidiff_cli.evaluation.results import BootstrapSamples

    return BootstrapSamples(values, 40, 20)


def few(report, *keys):
    tests = [replace(t, verdict="too few images") if t.figure in keys else t for t in report.tests]
    return report.model_copy(update={"tests": tests})


def test_few_images_do_not_count_in_the_verdict_and_are_marked():
    values = (0.3, 0.2, 25.0), (0.5, 0.1, 20.0), ("better",) * 3
    one = few(report_of(*values), "kid")
    assert " Generation: better (KID 0.2 → 0.1, too few images for a verdict; CLIP" in verdict(one)
    assert "| KID | 0.2 | 0.1 | −0.1 | too few images |" in markdown(one)
    none = few(report_of(*values), "kid", "clip_score_distance")
    assert " Generation: too few images for a verdict (KID" in verdict(none)


@pytest.mark.parametrize(("images", "folds", "refused"), [(64, 1, True), (64, 4, False)])
def test_a_gate_on_too_few_images_is_refused_first(monkeypatch, images, folds, refused):
    rows = rows_of(*(f"item {n}" for n in range(20)))
    sets = [eval_set_of(rows, images=images, metrics=("kid",)) for _ in range(folds)]
    if not refused:
        assert set(choose_metrics(sets, ["kid"])[0]) == {"kid"}
        return
    with pytest.raises(WorkError, match="so kid can be no gate; it needs 256") as caught:
        choose_metrics(sets, ["kid"])
    assert caught.value.action == "Raise evaluate.images to 256."
    assert set(choose_metrics(sets)[0]) == {"kid"}, "without a gate it is measured"


# ---------------------------------------------------------------- two extractors, one verdict


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ("better", "better", "better"),
        ("better", UNCLEAR, f"not confirmed by {SECOND}"),
        ("better", "too few images", f"not confirmed by {SECOND}"),
        (UNCLEAR, UNCLEAR, f"not confirmed by nano_scorer and {SECOND}"),
        ("better", "worse", "mixed"),
        (UNCLEAR, "worse", "mixed"),
    ],
)
def test_better_needs_every_extractor(first, second, word):
    """The distance of CLIP scores is better each time."""
    report = report_of((0.3, 0.2, 25.0), (0.5, 0.1, 20.0), ("better", first, "better"))
    spec = FigureSpec("KID", "generation", "lower", extractor="nano_scorer")
    key = f"kid_{SECOND}"
    specs = report.specs | {"kid": spec, key: replace(spec, label="KID by it", extractor=SECOND)}
    figures = {model: {**each, key: each["kid"]} for model, each in report.figures.items()}
    tests = [*report.tests, figure_test(key, 0.2, 0.1, verdict=second, p=0.001)]
    tests = [replace(test, p=0.001) for test in tests]
    report = report.model_copy(update={"specs": specs, "figures": figures, "tests": tests})
    assert f" Generation: {word} (" in verdict(report)


# ---------------------------------------------------------------- another scorer


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return write_base(folder / "base"), write_base(folder / "other", seed=7)


def test_the_scorer_of_a_recipe_is_another_clip(bases):
    judge = scorer(str(bases[1] / "clip"))
    assert judge.name == "clip" and judge is not scorer()
    eval_set = eval_set_of(rows_of("hat"), scorer=str(bases[1] / "clip"))
    assert eval_set.scorer is judge
    assert eval_set.prompt_embeds.shape == (eval_set.evaluate.images, judge.dimension)
    assert eval_set.extractors == {"nano_scorer": scorer()}, "the extractor stays"


def test_the_clip_of_the_base_is_no_scorer(bases, tmp_path):
    base, other = bases
    refuse_related(scorer(str(other / "clip")), str(base))
    copied = tmp_path / "elsewhere"
    shutil.copytree(base / "clip", copied)
    with pytest.raises(UsageError, match="elsewhere, which has the weights of the base.*not indep"):
        measure.check_scorer(Evaluate(scorer=str(copied)), {"kid": Kid()}, str(base))
    measure.check_scorer(Evaluate(scorer=str(copied)), {}, str(base))
