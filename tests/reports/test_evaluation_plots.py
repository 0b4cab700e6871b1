"""Which plots a report allows, and that they are the page's own."""

import re

import pytest

from tests.support.reports import model_of, report_of, with_model
from unidiff_cli.reports.evaluation_plots import evaluation_plots
from unidiff_cli.reports.schema import (
    Bars,
    ConfusionMatrix,
    Curve,
    Details,
    Flag,
    Interval,
    Losses,
)

BASE, TUNED = (0.3, 0.2, 25.0), (0.5, 0.1, 25.5)


def titles(**options):
    return [plot.title for plot in evaluation_plots(report_of(BASE, TUNED, **options))]


def curve(title, last=0.2):
    return Curve(title=title, caption="", x_label="k", y_label="R@k", x=[1, 5], y=[0.1, last])


def bars(title, series=""):
    values = {"red": Interval(0.5), "blue": Interval(0.2)}
    return Bars(title=title, caption="", x_label="share", series=series, values=values)


def confusion(title):
    return ConfusionMatrix(title=title, caption="", labels=["a", "b"], counts=[[3, 1], [0, 2]])


def test_without_details_there_is_none():
    assert titles() == []


def test_curves_of_one_title_share_a_plot():
    details = Details(curves=[curve("Text-to-image retrieval"), curve("Image-to-text retrieval")])
    (first, second) = evaluation_plots(
        report_of(BASE, TUNED, details={"base": {"a": details}, "tuned": {"a": details}})
    )
    assert (first.title, second.title) == ("Text-to-image retrieval", "Image-to-text retrieval")
    assert ">base<" in first.svg and ">tuned<" in first.svg


def test_bars_of_one_title_share_a_plot():
    both = Details(bars=[bars("R@5 by color"), bars("R@5 by color", "real images")])
    (plot,) = evaluation_plots(report_of(BASE, TUNED, details={"base": {"a": both}}))
    assert plot.title == "R@5 by color"
    assert all(f">{text}<" in plot.svg for text in ("base", "real images", "red", "blue"))


def test_confusions_are_the_last_models():
    details = Details(confusions=[confusion("zero-shot color")])
    assert titles(details={"base": {"a": details}, "tuned": {"a": details}}) == [
        "tuned: zero-shot color"
    ]


def test_gradients_have_a_plot_of_norms_and_one_of_cosines():
    terms = {
        "gradient_norm_text_retrieval": [3.0, 2.0],
        "gradient_factor_text": [0.1, 0.2],
        "gradient_cosine": [None, -0.1],
    }
    gradients = {"tuned": Losses(step=[1, 21], terms=terms)}
    assert titles(gradients=gradients) == ["Gradients of tuned", "Cosines of gradients of tuned"]
    (norms, _) = evaluation_plots(report_of(BASE, TUNED, gradients=gradients))
    assert ">norm text retrieval<" in norms.svg and ">factor text<" in norms.svg


def test_losses_have_a_plot_for_each_model():
    losses = Losses(step=[1, 2, 3], terms={"contrastive": [3.0, 2.0, None]})
    assert titles(losses={"tuned": losses}) == ["Losses of tuned"]


def test_collapse_meters_have_a_plot_for_each_model():
    flag = Flag("catalogue", "retention", 1.0, 0.5, 0.5, "least", 0.9, "forgotten", raised=True)
    assert titles(flags={"tuned": [flag]}) == ["Collapse meters of tuned"]


def test_blends_have_a_curve_for_each_headline_figure():
    report = with_model(report_of(BASE, TUNED), "alpha 0.5", model_of(role="blend", alpha=0.5))
    assert [plot.title for plot in evaluation_plots(report)] == [
        "R@1 between base and tuned",
        "KID between base and tuned",
        "CLIP score, distance from real between base and tuned",
    ]


@pytest.mark.parametrize("model", ["base", "tuned"])
def test_a_figure_that_one_of_them_does_not_have_has_no_curve(model):
    report = with_model(report_of(BASE, TUNED), "alpha 0.5", model_of(role="blend", alpha=0.5))
    figures = {name: dict(values) for name, values in report.figures.items()}
    del figures[model]["r1_t2i"]
    plots = evaluation_plots(report.model_copy(update={"figures": figures}))
    assert "R@1 between base and tuned" not in [plot.title for plot in plots]


def test_colours_are_the_pages_and_ids_are_unique():
    details = Details(curves=[curve("One"), curve("Two", 0.3)], bars=[bars("Three")])
    report = report_of(BASE, TUNED, details={"base": {"a": details}})
    svgs = [plot.svg for plot in evaluation_plots(report)]
    assert all("#0" not in svg and "var(--" in svg for svg in svgs)
    ids = re.findall(r'id="([^"]+)"', "".join(svgs))
    assert len(ids) == len(set(ids))
