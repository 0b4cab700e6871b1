"""The pages of an evaluation: table, markdown and HTML."""

from dataclasses import replace

import pytest
from PIL import Image

from tests.support.reports import model_of, report_of, with_model
from unidiff_cli.reports.evaluation import (
    CopyExample,
    Examples,
    GeneratedExample,
    QueryExample,
    markdown,
    page,
    table,
)
from unidiff_cli.reports.schema import Flag, References, Tradeoff

BASE, TUNED = (0.3, 0.2, 25.0), (0.5, 0.1, 24.5)


@pytest.fixture
def report():
    return report_of(BASE, TUNED)


@pytest.fixture
def comparison(report):
    return with_model(report, "other", model_of(), base="worse", tuned="better")


# ---------------------------------------------------------------- the table


def test_a_row_has_the_figures_of_all_models(report):
    recall, kid, _ = table(report)
    base, tuned = recall.cells
    assert (base.value, tuned.value) == ("30.0\u00a0%", "50.0\u00a0%")
    assert tuned.interval == "40.0\u00a0% … 60.0\u00a0%"
    assert (recall.items, recall.groups) == (46, 18)
    assert [cell.value for cell in kid.cells] == ["0.2", "0.1"]


def test_a_row_says_how_the_figure_changed(report):
    recall, kid, score = (row.cells[1] for row in table(report))
    assert (recall.change, recall.verdict) == ("+20.0\u00a0pt", "better")
    assert (kid.change, kid.sentence) == ("−0.1", "kid in words.")
    assert (score.change, score.verdict) == ("−0.5", "not distinguishable")


def test_a_row_has_what_its_figure_is_compared_with():
    references = References(chance={"r1_t2i": 0.02}, null_level={"kid": 0.004})
    recall, kid, _ = table(report_of(BASE, TUNED, references=references))
    assert recall.references == {"chance": "2.0\u00a0%", "real": "", "null_level": ""}
    assert kid.references == {"chance": "", "real": "", "null_level": "0.004"}


def test_every_model_is_compared_with_the_base(comparison):
    assert [cell.verdict for cell in table(comparison)[0].cells] == ["", "better", "worse"]


def test_a_figure_that_a_model_does_not_have_is_an_empty_cell(report):
    figures = {model: dict(values) for model, values in report.figures.items()}
    del figures["base"]["r1_t2i"], figures["tuned"]["kid"]
    partial = report.model_copy(update={"figures": figures, "tests": report.tests[2:]})
    recall, kid, _ = table(partial)
    assert [cell.value for cell in recall.cells] == ["", "50.0\u00a0%"]
    assert [cell.value for cell in kid.cells] == ["0.2", ""]
    assert "R@1" in page(partial, Examples())
    assert "| KID | 0.2 |" in markdown(partial)


# ---------------------------------------------------------------- markdown


def test_markdown_is_a_table_with_notes(report):
    text = markdown(report)
    assert "| | base | tuned | tuned − base | outcome | chance | real images | null level |" in text
    assert "| KID | 0.2 | 0.1 | −0.1 | better |  |  |  |" in text
    assert "- Few images." in text


def test_markdown_of_several_models_marks_each_outcome(comparison):
    text = markdown(comparison)
    assert "| | base | tuned | other | chance | real images | null level |\n|---|--:|--:|" in text
    assert "| KID | 0.2 | 0.1 ▲ | 0.1 ▼ |" in text and "▲ better" in text


# ---------------------------------------------------------------- the page


def test_each_side_has_a_heading_in_the_fields_words(report):
    text = page(report, Examples())
    assert "<h2>Retrieval</h2>" in text and "<h2>Generation</h2>" in text
    assert "<h2>General knowledge</h2>" not in text, "no figure judges it"


def test_every_paired_test_is_in_words(comparison):
    text = page(comparison, Examples())
    assert "<b>tuned</b> against base: kid in words." in text
    assert "<b>other</b> against tuned: kid in words." in text


def test_a_flagged_meter_is_in_a_table():
    words = "zero-shot classes are forgotten"
    flag = Flag("everyday objects", "retention", None, 0.5, 0.5, "least", 0.9, words, raised=True)
    text = page(report_of(BASE, TUNED, flags={"tuned": [flag]}), Examples())
    assert "<h2>Collapse meters of tuned</h2>" in text
    assert words in text and "everyday objects: retention" in text


def test_examples_are_images_with_their_captions(report):
    red, blue = (Image.new("RGB", (8, 8), color) for color in ("red", "blue"))
    examples = Examples(
        [QueryExample("red dress", {"base": [(red, True), (blue, False)]})],
        [GeneratedExample("blue hat", red, {"base": blue, "tuned": blue})],
        [CopyExample("tuned", "a bag", 0.987, red, blue)],
    )
    text = page(report, examples)
    assert text.count("data:image/png") == 2 + 3 + 2
    assert 'alt="right answer 1"' in text and 'alt="wrong answer 2"' in text
    assert "red dress" in text and "blue hat" in text and "cosine 0.987" in text


def test_the_images_of_folds_are_said_to_be_of_the_last(report):
    red = Image.new("RGB", (8, 8), "red")
    examples = Examples([QueryExample("red dress", {"base": [(red, True)]})])
    folds = report.model_copy(update={"counts": report.counts.model_copy(update={"folds": 5})})
    assert "of the last fold" in page(folds, examples)
    assert "of the last fold" not in page(report, examples)


def test_captions_are_text_in_the_page():
    evil = "<script>alert(1)</script> & 'dress'"
    white = Image.new("RGB", (8, 8), "white")
    report = report_of(BASE, TUNED, notes={"kid": [evil]}, warnings=[evil])
    text = page(report, Examples([QueryExample(evil, {"base": [(white, True)]})]))
    assert "<script" not in text and text.count("&lt;script&gt;") == 3


# ---------------------------------------------------------------- corrections, margins, blends


def test_a_page_says_how_many_comparisons_it_makes(report, comparison):
    for each, count in ((report, 3), (comparison, 9)):
        words = f"This page makes {count} comparisons. Their p values are corrected together"
        assert words in markdown(each)
        assert words in page(each, Examples())


@pytest.fixture
def with_margin(report):
    tests = [replace(t, not_worse=t.figure == "r1_t2i") for t in report.tests]
    return report.model_copy(update={"tests": tests, "margin": 2.0})


def test_a_margin_stands_beside_the_outcome_of_shares(with_margin):
    text = markdown(with_margin)
    assert "| better; not worse by more than 2 points | 2.0" in text
    assert "| −0.1 | better |" in text, "KID is no share"
    assert "not worse by more than 2 points" in page(with_margin, Examples())


def test_of_several_models_the_shares_within_the_margin_are_listed(with_margin):
    several = with_model(with_margin, "other", model_of(), base="worse")
    text = markdown(several)
    assert "tuned against base, not worse by more than 2 points: R@1." in text
    assert "other against base, too few products to tell whether it is worse by" in text


def test_blends_have_a_table_and_a_plot_of_retention(report):
    tradeoff = Tradeoff(
        title="Retrieval against general knowledge",
        caption="Points.",
        x_label="ρ",
        y_label="Mean average precision",
        models=["base", "alpha 0.5", "tuned"],
        x={"everyday objects": [1.0, 0.9, 0.8], "photos": [1.0, 0.95, 0.9]},
        y=[0.3, 0.5, 0.6],
    )
    blended = report.model_copy(update={"tradeoff": tradeoff})
    text = markdown(blended)
    assert "| | Mean average precision | ρ of everyday objects | ρ of photos |" in text
    assert "| alpha 0.5 | 50.0\u00a0% | 0.90 | 0.95 |" in text
    html = page(blended, Examples())
    assert "<h2>Retrieval against general knowledge</h2>" in html and "0.95" in html
    # Each model is named at its point of both curves.
    assert html.count(">alpha 0.5</text>") == 2 and "Retrieval against" not in page(
        report, Examples()
    )
