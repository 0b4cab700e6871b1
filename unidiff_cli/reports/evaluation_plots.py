"""Draws the plots of report.html, as far as a report has the figures and details for them."""

from __future__ import annotations

from collections.abc import Iterator

from unidiff_cli.reports import plots
from unidiff_cli.reports.plots import Plot
from unidiff_cli.reports.schema import Bars, Curve, Details, Report, Tradeoff


def evaluation_plots(report: Report) -> list[Plot]:
    """Every plot that the report allows."""
    return [
        *_curves(report),
        *_interpolation(report),
        *_losses(report),
        *_gradients(report),
        *_meters(report),
        *_bars(report),
        *_confusions(report),
    ]


def tradeoff_plot(tradeoff: Tradeoff) -> Plot:
    """A curve for each series of x, with every model at its point; its section has the title."""
    svg = plots.lines(
        {series: (x, tradeoff.y) for series, x in tradeoff.x.items()},
        x=tradeoff.x_label,
        y=tradeoff.y_label,
        percent=True,
        marks=True,
        labels=tradeoff.models,
    )
    return Plot("", tradeoff.caption, svg)


def _details(report: Report) -> Iterator[tuple[str, Details]]:
    """Each model's name with the details of one metric."""
    for model, metrics in report.details.items():
        for details in metrics.values():
            yield model, details


def _curves(report: Report) -> Iterator[Plot]:
    """The curves of all models, those of one title in one plot."""
    by_title: dict[str, dict[str, Curve]] = {}
    for model, details in _details(report):
        for curve in details.curves:
            by_title.setdefault(curve.title, {})[model] = curve
    for title, curves in by_title.items():
        first = next(iter(curves.values()))
        svg = plots.lines(
            {model: (curve.x, curve.y) for model, curve in curves.items()},
            x=first.x_label,
            y=first.y_label,
            percent=first.percent,
        )
        yield Plot(title, first.caption, svg)


def _interpolation(report: Report) -> Iterator[Plot]:
    """Each headline figure by the share of the tuned weights, where blends were measured."""
    if not any(model.role == "blend" for model in report.models.values()):
        return
    alpha_of = {
        name: 0.0 if model.role == "base" else model.alpha
        for name, model in report.models.items()
        if model.role != "encoder"
    }
    models = sorted(alpha_of, key=alpha_of.__getitem__)
    alphas = [alpha_of[model] for model in models]
    for key, spec in report.specs.items():
        figures = [report.figures[model].get(key) for model in models]
        known = [figure for figure in figures if figure is not None]
        if not spec.headline or len(known) < len(figures):
            continue
        svg = plots.lines(
            {spec.label: (alphas, [figure.value for figure in known])},
            x="α",
            y=spec.label,
            percent=spec.percent,
            marks=True,
            bands={
                spec.label: (
                    [f.value if f.low is None else f.low for f in known],
                    [f.value if f.high is None else f.high for f in known],
                )
            },
        )
        title = f"{spec.label} between base and tuned"
        yield Plot(title, "α is the tuned weights' share; the band is the 95 % interval.", svg)


def _losses(report: Report) -> Iterator[Plot]:
    for model, losses in report.losses.items():
        if losses.terms:
            curves = {term: (losses.step, values) for term, values in losses.terms.items()}
            svg = plots.lines(curves, x="step", y="loss", log=True)
            yield Plot(f"Losses of {model}", "Each term of the run, unweighted, by step.", svg)


def _gradients(report: Report) -> Iterator[Plot]:
    """Norms with the factors in force, and cosines, where a run measured them."""
    kinds = (
        ("Gradients", False, "Norms before scaling, and the factors of train.gradient_shares."),
        ("Cosines of gradients", True, "Below 0 one term's step undoes a part of the other's."),
    )
    for model, logged in report.gradients.items():
        for title, cosines, caption in kinds:
            curves = {
                name.removeprefix("gradient_").replace("_", " "): (logged.step, values)
                for name, values in logged.terms.items()
                if ("cosine" in name) is cosines
            }
            if curves:
                svg = plots.lines(curves, x="step", y="" if cosines else "norm", log=not cosines)
                yield Plot(f"{title} of {model}", f"On the towers that terms share. {caption}", svg)


def _meters(report: Report) -> Iterator[Plot]:
    caption = "The share of its limit that each collapse meter uses up; above 100 % it is flagged."
    for model, flags in report.flags.items():
        if flags:
            shares = {flag.name: {"of its limit": flag.limit_used} for flag in flags}
            svg = plots.bars(shares, x="share of limit")
            yield Plot(f"Collapse meters of {model}", caption, svg)


def _bars(report: Report) -> Iterator[Plot]:
    """The bars of all models, those of one title in one plot; series with a name come last."""
    models: dict[str, dict[str, Bars]] = {}
    named: dict[str, dict[str, Bars]] = {}
    for model, details in _details(report):
        for bars in details.bars:
            by_title = named if bars.series else models
            by_title.setdefault(bars.title, {})[bars.series or model] = bars
    for title in models:
        series = models[title] | named.get(title, {})
        first = next(iter(series.values()))
        groups = {
            label: {
                name: bars.values[label].value
                for name, bars in series.items()
                if label in bars.values
            }
            for label in first.values
        }
        yield Plot(title, first.caption, plots.bars(groups, x=first.x_label))


def _confusions(report: Report) -> Iterator[Plot]:
    """The confusion matrices of the last model: no plot holds those of several."""
    last = list(report.details)[-1:]
    for model, details in _details(report):
        if model in last:
            for confusion in details.confusions:
                svg = plots.matrix(confusion.counts, confusion.labels)
                yield Plot(f"{model}: {confusion.title}", confusion.caption, svg)
