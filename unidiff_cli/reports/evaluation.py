"""The evaluation report: what report.json says, as a sentence, tables, plots and a page. Knows no model and no metric."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from unidiff_cli.reports import html, plots

SIDES = {"retrieval": "Retrieval", "generation": "Generation", "knowledge": "General knowledge"}
THUMBNAIL = 160  # px, the longest side of an image inside the page: sharp at the size it is shown
Found = Mapping[str, Any]


# ---------------------------------------------------------------- the table


def table(found: Found) -> list[dict[str, Any]]:
    """One row a figure: printed values of every model with intervals, its references, and the paired tests."""
    first = next(iter(found["models"]))
    tests = {(t["model"], t["figure"]): t for t in found["tests"] if t["against"] == first}
    rows = []
    null_level = found["references"].get("null_level", {})
    for key, about in found["described"].items():
        percent, cells = about["percent"], []
        for name in found["models"]:
            figure, test = found["figures"][name].get(key), tests.get((name, key))
            cell = {"model": name, "value": "", "around": "", "word": "", "sentence": ""}
            if figure:
                cell["value"] = format_value(figure["value"], percent)
                if "low" in figure:
                    cell["around"] = (
                        f"{format_value(figure['low'], percent)} … {format_value(figure['high'], percent)}"
                    )
            if test:
                cell |= {
                    "word": test["verdict"],
                    "sentence": test["sentence"],
                    "change": _points(test["difference"], percent),
                }
            cells.append(cell)
        of = found["figures"][first].get(key, {})
        rows.append({
            **about, "key": key, "cells": cells, "items": of.get("items"), "groups": of.get("groups"),
            **{kind: format_value(v[key], percent) if key in v else "" for kind, v in found["references"].items()},
            **({"real": f"± {format_value(null_level[key], percent)}"} if key in null_level else {}),
        })  # fmt: skip
    return rows


def format_value(value: float, percent: bool) -> str:
    """A figure as people read it: 12.5 %, 23.1, 0.0042."""
    if percent:
        return f"{value:.1%}".replace("%", "\u00a0%").replace(
            "-", "−"
        )  # no line break before the sign
    text = (
        f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.3g}"
        if abs(value) >= 1e-3 or value == 0
        else f"{value:.1e}"
    )
    return text.replace("-", "−")


def _points(value: float, percent: bool) -> str:
    """A difference with its sign: of shares in percentage points."""
    text = f"{100 * abs(value):.1f}\u00a0pt" if percent else format_value(abs(value), percent)
    return ("+" if value >= 0 else "−") + text


def markdown(found: Found) -> str:
    """A short table for a pull request."""
    models = list(found["models"])
    lines = [
        f"**{found['title']}**, split `{found['split']}`.",
        "",
        *found["verdict"].replace("\n", "\n\n").split("\n"),
        "",
    ]
    lines += [*(f"⚠ {warning}\n" for warning in found["warnings"])]
    several = len(models) > 2  # then each model's word stands beside its figure
    change = "" if several else f" {models[-1]} − {models[0]} | reads as |"
    lines += [
        f"| | {' | '.join(models)} |{change} chance | real |",
        "|---|" + "--:|" * len(models) + ("" if several else "--:|---|") + "--:|--:|",
    ]
    for row in table(found):
        _, *tuned = row["cells"]
        values = " | ".join(
            f"{c['value']} {html.MARKS.get(c['word'], '') if several else ''}".strip()
            for c in row["cells"]
        )
        told = "" if several else f" {tuned[-1].get('change', '')} | {tuned[-1]['word']} |"
        lines.append(
            f"| {row['label']} | {values} |{told} {row.get('chance', '')} | {row.get('real', '')} |"
        )
    if several:
        lines += [
            "",
            f"{', '.join(f'{mark} {word}' for word, mark in html.MARKS.items())}: each against {models[0]}, by the paired test.",
        ]
    notes = [note for about in found["notes"].values() for note in about]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


# ---------------------------------------------------------------- the plots


def evaluation_plots(found: Found) -> list[dict[str, str]]:
    """Every plot that the figures allow: title, a line to read it by, and its SVG."""
    made: list[dict[str, str]] = []

    def add(title: str, said: str, svg: str) -> None:
        made.append({"title": title, "said": said, "svg": svg})

    curves = {name: each["recall"] for name, each in found["shows"].items() if "recall" in each}
    for way, words in (("t2i", "Text finds image"), ("i2t", "Image finds text")):
        if curves:
            both = {name: (c["k"], c[way]) for name, c in curves.items()}
            add(
                words,
                "R@k: the share of queries with a right answer among the first k.",
                plots.lines(both, x="k", y="R@k", percent=True),
            )
    _interpolation(found, add)
    for name, losses in found["losses"].items():
        terms = {t: (losses["step"], losses[t]) for t in losses if t not in ("step", "loss")}
        if terms:
            add(
                f"Losses of {name}",
                "Each term of the run, unweighted, by step.",
                plots.lines(terms, x="step", y="loss", log=True),
            )
    for name, rows in found["flags"].items():
        limits = {r["meter"].replace("_", " "): {"of its limit": _share(r)} for r in rows}
        if limits:
            add(
                f"Drift of {name}",
                "How much of each collapse meter's limit is used up; over 100 % it trips.",
                plots.bars(limits, x="share of limit"),
            )
    first = next(iter(found["models"]))
    by = {name: each.get("recall", {}).get("by", {}) for name, each in found["shows"].items()}
    for attribute in by.get(first, {}):
        values = {
            value: {name: by[name][attribute].get(value, {}).get("value", 0.0) for name in by}
            for value in by[first][attribute]
        }
        if len(values) > 1:
            add(
                f"R@5 by {attribute}",
                "Image finds text, for the images of each value.",
                plots.bars(values, x="R@5"),
            )
    for name, each in list(found["shows"].items())[-1:]:
        for attribute, seen in each.get("zero_shot", {}).items():
            add(
                f"{name}: {attribute} told by prompts",
                "Each true value (down) as which value it was told (across), in %.",
                plots.matrix(seen["matrix"], seen["values"]),
            )
        asked = {
            a: {"generated": v["generated"], "real": v["real"]}
            for a, v in each.get("attributes", {}).items()
            if v["real"] is not None
        }
        if asked:
            add(
                f"{name}: attributes drawn as asked",
                "By the scorer, beside what it tells of the real images.",
                plots.bars(asked, x="share right"),
            )
    return made


def _interpolation(found: Found, add: Any) -> None:
    """The weight-interpolation curve, where some blends were measured."""
    alphas = {name: model["alpha"] if name != "base" else 0.0 for name, model in found["models"].items()
              if name != "diffdis"}  # fmt: skip
    if sum(0 < a < 1 for a in alphas.values()) == 0:
        return
    order = sorted(alphas, key=alphas.__getitem__)
    xs = [alphas[name] for name in order]
    for key, about in found["described"].items():
        if about["headline"]:
            ys = [found["figures"][name][key] for name in order if key in found["figures"][name]]
            if len(ys) < len(order):
                continue
            band = {
                about["label"]: (
                    [f.get("low", f["value"]) for f in ys],
                    [f.get("high", f["value"]) for f in ys],
                )
            }
            curve = {about["label"]: (xs, [f["value"] for f in ys])}
            add(
                f"{about['label']} between base and tuned",
                "α is the tuned weights' share; the band is the 95 % interval.",
                plots.lines(
                    curve, x="α", y=about["label"], percent=about["percent"], marks=True, bands=band
                ),
            )


def _share(row: Mapping[str, Any]) -> float:
    """How much of its limit a meter uses up: 1 trips."""
    limit, measure = row["limit"], row["measure"]
    if measure is None:
        return 1.0
    if row["compares"] in ("ratio", "least"):
        return max(0.0, (1 - measure) / (1 - limit))
    return max(0.0, measure / limit)


# ---------------------------------------------------------------- the page


def page(
    found: Found,
    queries: Sequence[Mapping[str, Any]],
    examples: Sequence[Mapping[str, Any]],
    copies: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page, one file that loads nothing. `queries`: {caption, answers: {model: [(image, right)]}}; `examples`:
    {prompt, real, drawn: {model: image}}; `copies`: {model, prompt, cosine, drawn, training}; images are PIL's."""
    shown = [
        {
            **query,
            "answers": {
                n: [(data_uri(p), right) for p, right in some]
                for n, some in query["answers"].items()
            },
        }
        for query in queries
    ]
    images = [
        {**e, "real": data_uri(e["real"]), "drawn": {n: data_uri(p) for n, p in e["drawn"].items()}}
        for e in examples
    ]
    pairs = [
        {**c, "drawn": data_uri(c["drawn"]), "training": data_uri(c["training"])} for c in copies
    ]
    return html.render(
        "evaluate.html.j2", found=found, rows=table(found), queries=shown, examples=images, copies=pairs,
        plots=evaluation_plots(found), sides=SIDES,
    )  # fmt: skip


def data_uri(image: Image.Image) -> str:
    """An image as a data: URI, at most THUMBNAIL px; PNG where it is small enough, since JPEG smears 64 px."""
    small = image.convert("RGB")
    if max(small.size) > THUMBNAIL:
        small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    stream, kind = io.BytesIO(), "png" if max(image.size) <= THUMBNAIL // 2 else "jpeg"
    small.save(stream, kind, **({"optimize": True} if kind == "png" else {"quality": 85}))
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
