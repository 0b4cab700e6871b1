"""The verdict: plain, careful, and with what it was taken over."""

import pytest

from tests.support.reports import model_of, report_of, with_model
from unidiff_cli.evaluation.verdict import verdict
from unidiff_cli.reports.schema import Flag

BASE, TUNED = (0.3, 0.2, 25.0), (0.5, 0.1, 25.5)
UNCLEAR = "not distinguishable"


@pytest.mark.parametrize(
    ("verdicts", "retrieval", "generation"),
    [
        (("better", "better", "better"), "better", "better"),
        (("worse", "worse", "worse"), "worse", "worse"),
        ((UNCLEAR,) * 3, f"{UNCLEAR} from before", f"{UNCLEAR} from before"),
        ((UNCLEAR, "better", "worse"), f"{UNCLEAR} from before", "mixed"),
        # One figure of the side changed, the other did not.
        (("better", "better", UNCLEAR), "better", "better"),
    ],
)
def test_each_side_has_a_word_and_its_figures(verdicts, retrieval, generation):
    text = verdict(report_of(BASE, TUNED, verdicts))
    assert text.startswith(f"Retrieval: {retrieval} (R@1 30.0\u00a0% → 50.0\u00a0%).")
    changes = "KID 0.2 → 0.1; CLIP score, distance from real 25.0 → 25.5"
    assert f" Generation: {generation} ({changes})." in text


def test_it_says_what_it_was_taken_over():
    assert verdict(report_of(BASE, TUNED)).endswith(
        "Over 46 held-out images of 18 products or groups, 64 generated; "
        "one training run, so seeds are not in these intervals."
    )


def test_several_models_are_named_with_what_they_are_compared_with():
    report = with_model(report_of(BASE, TUNED), "other", model_of(), base="worse", tuned="better")
    lines = verdict(report).split("\n")
    assert lines[0].startswith("tuned against base: Retrieval: better")
    assert lines[1].startswith("other against base: Retrieval: worse (R@1 30.0")
    assert lines[2].startswith("other against tuned: Retrieval: better (R@1 50.0")
    assert "one training run each" in lines[3]


def test_a_blend_has_no_verdict():
    report = report_of(BASE, TUNED)
    blended = with_model(report, "alpha 0.5", model_of(role="blend", alpha=0.5), base="worse")
    assert verdict(blended) == verdict(report)


@pytest.mark.parametrize(("split", "images"), [("train", "training"), ("val", "validation")])
def test_images_of_another_split_are_named(split, images):
    assert f"Over 46 {images} images of 18" in verdict(report_of(BASE, TUNED, split=split))


def test_folds_are_counted():
    report = report_of(BASE, TUNED, split="5 folds")
    counts = report.counts.model_copy(update={"folds": 5})
    text = verdict(report.model_copy(update={"counts": counts}))
    assert "Over 46 held-out images of 18" in text
    assert "5 training runs, one for each fold" in text


def test_a_flagged_meter_is_in_it():
    words = "zero-shot classes are forgotten"
    flag = Flag("catalogue", "retention", 1.0, 0.5, 0.5, "least", 0.9, words, raised=True)
    text = verdict(report_of(BASE, TUNED, flags={"tuned": [flag]}))
    assert f"Collapse meters flagged: {words}." in text
