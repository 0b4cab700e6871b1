"""Every metric end to end on given arrays, as `evaluate` calls it."""

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, normal, rows_of, unit
from unidiff_cli import registry
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.image_features import ImageFeatures
from unidiff_cli.evaluation.measure import metric_result, metric_types
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import compare_results
from unidiff_cli.reports.schema import Details
from unidiff_cli.reports.wording import SIDES

BUILT_IN = (
    "attributes",
    "clip_score",
    "cmmd",
    "collapse",
    "composed",
    "denoise_loss",
    "diffusion_classifier",
    "diversity",
    "drift",
    "fid",
    "filtered",
    "image_recall",
    "kid",
    "ndcg",
    "near_copies",
    "precision_recall",
    "r_precision",
    "recall",
    "rerank",
    "retention",
    "zero_shot",
)
# Those that need a denoiser, or more images than a test has.
ELSEWHERE = ("denoise_loss", "diffusion_classifier", "fid", "zero_shot")


def test_the_built_in_metrics_are_these():
    assert registry.names("metrics") == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_metric_keeps_the_contract(name):
    part = registry.load("metrics", name)
    assert issubclass(part, Metric) and part.figures
    assert all(spec.judges in SIDES for spec in part.figures.values())
    assert set(part.plotted) <= part.figures.keys()
    assert part() == part() and hash(part()) == hash(part()), "a metric is plain data"


def test_a_report_begins_with_what_people_look_for():
    places = [kind.place for kind in metric_types().values()]
    assert places == sorted(set(places)) and next(iter(metric_types())) == "recall"
    assert places[-1] < Metric.place, "a metric of another package comes last"


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_judges_generation_needs_generated_images_or_the_denoiser(name):
    part = registry.load("metrics", name)
    judges_generation = all(spec.judges == "generation" for spec in part.figures.values())
    by_denoiser = name in ("denoise_loss", "diffusion_classifier")
    assert part.needs_generated_images == (judges_generation and not by_denoiser)


# ---------------------------------------------------------------- on given arrays


@pytest.fixture(scope="module")
def outputs():
    """Outputs of 60 rows in two colours, and of photos of everyday objects."""
    colours = [("red", "blue")[n % 2] for n in range(60)]
    rows = rows_of(
        *(f"a {colour} item {n}" for n, colour in enumerate(colours)),
        attributes=[
            {"colour": colour, "category": ("hat", "bag")[n // 2 % 2]}
            for n, colour in enumerate(colours)
        ],
    )
    for n, row in enumerate(rows):
        row.group = str(n // 4)
    eval_set = eval_set_of(rows, train=rows[:50], images=60)
    # As if evaluate.probe named photos.
    eval_set.__class__ = type("WithPhotos", (type(eval_set),), {"photos": eval_set.probe})
    names = unit(normal(21, seed=5))
    # Classified better than chance.
    objects = unit(names[eval_set.probe.labels] + normal(210, seed=4))
    width = scorer().dimension
    embeds = [unit(normal(60, width, seed)) for seed in (7, 8)]
    real, generated = (
        ImageFeatures({"nano_scorer": normal(60, 96, seed)}, each)
        for seed, each in zip((9, 10), embeds, strict=True)
    )
    eval_set.prompt_embeds = unit(normal(60, width, seed=11))
    grid = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3)).astype(np.uint8)
    arrays = {
        "image_embeds": unit(normal(60)),
        "text_embeds": unit(normal(60, seed=1)),
        "composed.words": unit(normal(4, seed=12)),
        "probe_image_embeds": objects,
        "probe_text_embeds": names,
        "retention.photos": objects,
        "retention.prompts": names,
        "drift.predictions": normal(12, seed=6),
        "training images": unit(normal(90, width, seed=2)),
        "diversity.grid": grid,
    }
    return GivenOutputs(eval_set, arrays, generated, real)


GIVEN = [name for name in BUILT_IN if name not in ELSEWHERE]


@pytest.fixture(params=GIVEN)
def metric(request):
    return registry.load("metrics", request.param)()


def test_a_metric_gives_the_figures_that_it_describes(metric, outputs):
    metric.check(outputs.eval_set)
    figures = metric.compute(outputs)
    assert set(figures) == set(metric.figures)
    assert np.isfinite(list(figures.values())).all()


def test_a_figure_is_the_mean_of_its_items(metric, outputs):
    figures = metric.compute(outputs)
    for key, items in metric.per_item(outputs).items():
        mean = np.average(items.values, weights=items.weights)
        assert mean == pytest.approx(figures[key])
        assert len(items.groups) == len(items.values)


def test_references_are_of_the_metrics_figures(metric, outputs):
    references = metric.references(outputs)
    assert set(references) <= {"chance", "real", "null_level"}
    assert all(set(values) <= set(metric.figures) for values in references.values())


def test_a_model_does_not_differ_from_itself(metric, outputs):
    result = metric_result(metric, outputs)
    intervals = {key: each for key, each in result.intervals().items() if each.low is not None}
    assert all(each.low <= each.high for each in intervals.values())
    tests = compare_results(metric.figures, result, result)
    assert set(tests) == {key for key in intervals if metric.figures[key].better}
    assert all(test.verdict == "not distinguishable" for test in tests.values())
    assert all(test.difference == 0 for test in tests.values())


def test_details_are_json(metric, outputs):
    details = metric.details(outputs)
    assert Details.model_validate_json(details.model_dump_json()) == details


def test_notes_are_sentences(metric, outputs):
    for note in metric.notes(outputs):
        assert note.endswith(".") and " nan" not in note.replace("nano", "")
