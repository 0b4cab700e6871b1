"""The evaluation report: what report.json says, as a sentence, tables, plots and a page. Knows no model and no metric."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from . import pages, plots
from .errors import UsageError, WorkError, nearest
from .metrics._statistics import LEVEL, holm

PICTURES = {"train": "training pictures", "val": "validation pictures"}  # by split; any other was held out
SIDES = {"retrieval": "Retrieval", "pictures": "Drawing", "knowledge": "What it knew before"}
THUMBNAIL = 160  # px, the longest side of a picture inside the page: sharp at the size it is shown
Found = Mapping[str, Any]


# ---------------------------------------------------------------- report.json


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Model(Part):
    """A model that was measured; the first is the base of the others."""

    source: str
    weights: str = Field(description="a hash that changes with the weights")
    alpha: float = Field(description="the export's share, where it is blended with its base; else 1")


class Value(Part):
    """A figure, its 95 % interval where it has one, and what it was taken over."""

    value: float
    low: float | None = None
    high: float | None = None
    items: int | None = None
    groups: int | None = None


class Described(Part):
    """How a figure is read."""

    label: str
    judges: Literal["retrieval", "pictures", "knowledge"]
    better: Literal["higher", "lower"]
    percent: bool
    headline: bool


class Test(Part):
    """A paired test of a model against another; `low` and `high` are the interval of the difference, where there is one."""

    model: str
    against: str
    figure: str
    difference: float
    low: float | None
    high: float | None
    p: float
    items: int
    groups: int
    verdict: Literal["better", "worse", "not distinguishable"]
    sentence: str


class Flag(Part):
    """A collapse meter against the base's."""

    meter: str
    base: float | None
    tuned: float
    measure: float | None
    compares: Literal["rise", "ratio", "least", "most"]
    limit: float
    words: str
    raised: bool


class Report(Part):
    """report.json. `docs/report.schema.json` is made from this class."""

    schema_version: Literal[2] = 2
    title: str
    verdict: str
    split: str
    counts: dict[str, int]
    models: dict[str, Model]
    figures: dict[str, dict[str, Value]] = Field(description="model -> figure -> value")
    described: dict[str, Described]
    references: dict[str, dict[str, float]] = Field(
        description="chance, real (pictures in place of drawn ones), noise (of a figure whose truth is 0) -> figure -> value"
    )
    tests: list[Test]
    flags: dict[str, list[Flag]]
    shows: dict[str, dict[str, dict[str, Any]]] = Field(
        description="model -> metric -> curves, confusions, near copies"
    )
    notes: dict[str, list[str]] = Field(description="metric -> its own warnings")
    warnings: list[str]
    left_out: dict[str, str] = Field(description="metric -> why it was not computed")
    losses: dict[str, dict[str, list[float | None]]]
    scorer: dict[str, Any] | None
    extractor: str | None
    image_size: int
    generate: dict[str, Any]
    prompts: list[str]
    seeds: list[int]
    versions: dict[str, str]
    seconds: float


# ---------------------------------------------------------------- the verdict


def verdict(found: Found) -> str:
    """Better, worse, mixed or not distinguishable for each side, with figures: of every model but blends, against what it
    was tested against. The word allows for a side's several figures (Holm): one of five is found better by chance soon.
    """
    first, *others = found["models"]
    tested = [(name, first) for name in others] + [(t["model"], t["against"]) for t in found["tests"]]
    pairs = [pair for pair in dict.fromkeys(tested) if found["models"][pair[0]]["alpha"] == 1]
    said = []
    for model, against in pairs:
        name = f"{model} against {against}: " if len(pairs) > 1 else ""
        said += [name + " ".join(sides)] if (sides := _sides(found, model, against)) else []
    counts = found["counts"]
    over = f"{counts['rows']:,} {PICTURES.get(found['split'], 'held-out pictures')} of {counts['groups']:,} products or groups"
    drawn = f", {counts['drawn']:,} drawn" if counts["drawn"] else ""
    folds = counts.get("folds")
    runs = f"{folds} training runs, one a fold" if folds else f"one training run{' each' * (len(pairs) > 1)}"
    said.append(f"Over {over}{drawn}; {runs}, so seeds are not in these intervals.")
    return ("\n" if len(pairs) > 1 else " ").join(said)  # a line a pair, or nobody reads it


def _sides(found: Found, model: str, against: str) -> list[str]:
    tests = {t["figure"]: t for t in found["tests"] if (t["model"], t["against"]) == (model, against)}
    first, said = next(iter(found["models"])), []
    none = "not distinguishable" + " from before" * (against == first)
    for side, name in SIDES.items():
        keys = [
            k for k, d in found["described"].items() if d["judges"] == side and d["headline"] and k in tests
        ]
        if not keys:
            continue
        p = dict(zip(keys, holm([tests[k]["p"] for k in keys]), strict=True))
        words = {tests[k]["verdict"] for k in keys if p[k] < 1 - LEVEL} - {"not distinguishable"}
        word = "mixed" if len(words) > 1 else words.pop() if words else none
        changes = "; ".join(_change(found, against, model, k) for k in keys)
        said.append(f"{name}: {word} ({changes}).")
    flags = found["flags"].get(model, []) if against == first else []
    if raised := [flag["words"] for flag in flags if flag["raised"]]:
        said.append(f"Collapse meters tripped: {'; '.join(raised)}.")
    return said


def _change(found: Found, first: str, last: str, key: str) -> str:
    about, before, after = found["described"][key], found["figures"][first][key], found["figures"][last][key]
    shown = (show(f["value"], about["percent"]) for f in (before, after))
    return f"{about['label']} {' → '.join(shown)}"


# ---------------------------------------------------------------- gates


class Gate(NamedTuple):
    """A bound on a figure of a model: the tuned one, or another of the report such as `diffdis` or `base`."""

    model: str
    figure: str
    sign: str
    bound: float


def gates(text: str, known: Sequence[str]) -> list[Gate]:
    """Bounds such as "r1_t2i>=0.6, kid<=0.02, diffdis.r1_t2i>=0.3". Raises UsageError for anything else and for figures
    not computed."""
    found = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.fullmatch(
            r"(?:(?P<model>\w+)\.)?(?P<figure>[a-z]\w*)\s*(?P<sign>>=|<=|>|<)\s*(?P<bound>-?\d+(?:\.\d*)?(?:e-?\d+)?)",
            part,
        )
        if not match:
            raise UsageError(
                f"--gate cannot read '{part}'.", "Write a figure, a sign and a number: r1_t2i>=0.6,kid<=0.02"
            )
        if (figure := match["figure"]) not in known:
            raise UsageError(
                f"--gate names '{figure}', which is not computed.{nearest(figure, known)}",
                f"Computed: {', '.join(known)}.",
            )
        found.append(Gate(match["model"] or "tuned", figure, match["sign"], float(match["bound"])))
    return found


def check(asked: Sequence[Gate], figures: Mapping[str, Mapping[str, float]], page: Path) -> None:
    """Raises WorkError naming every gate that is not met by the figures {model: {figure: …}}, or whose figure there is not."""
    signs = {">=": float.__ge__, "<=": float.__le__, ">": float.__gt__, "<": float.__lt__}
    said = []
    for gate in asked:
        name = gate.figure if gate.model == "tuned" else f"{gate.model}.{gate.figure}"
        if gate.figure not in figures.get(gate.model, {}):
            said.append(f"{name} cannot be told here")
        elif not signs[gate.sign](value := float(figures[gate.model][gate.figure]), gate.bound):
            said.append(f"{name} is {value:.4g}, asked {gate.sign} {gate.bound:g}")
    if said:
        raise WorkError(f"The gate is not met: {'; '.join(said)}.", f"The report says more: see {page}")


# ---------------------------------------------------------------- the table


def table(found: Found) -> list[dict[str, Any]]:
    """One row a figure: printed values of every model with intervals, its references, and the paired tests."""
    first = next(iter(found["models"]))
    tests = {(t["model"], t["figure"]): t for t in found["tests"] if t["against"] == first}
    rows = []
    noise = found["references"].get("noise", {})
    for key, about in found["described"].items():
        percent, cells = about["percent"], []
        for name in found["models"]:
            figure, test = found["figures"][name].get(key), tests.get((name, key))
            cell = {"model": name, "value": "", "around": "", "word": "", "sentence": ""}
            if figure:
                cell["value"] = show(figure["value"], percent)
                if "low" in figure:
                    cell["around"] = f"{show(figure['low'], percent)} … {show(figure['high'], percent)}"
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
            **{kind: show(v[key], percent) if key in v else "" for kind, v in found["references"].items()},
            **({"real": f"± {show(noise[key], percent)}"} if key in noise else {}),
        })  # fmt: skip
    return rows


def show(value: float, percent: bool) -> str:
    """A figure as people read it: 12.5 %, 23.1, 0.0042."""
    if percent:
        return f"{value:.1%}".replace("%", "\u00a0%").replace("-", "−")  # no line break before the sign
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
    text = f"{100 * abs(value):.1f}\u00a0pt" if percent else show(abs(value), percent)
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
            f"{c['value']} {pages.MARKS.get(c['word'], '') if several else ''}".strip() for c in row["cells"]
        )
        told = "" if several else f" {tuned[-1].get('change', '')} | {tuned[-1]['word']} |"
        lines.append(f"| {row['label']} | {values} |{told} {row.get('chance', '')} | {row.get('real', '')} |")
    if several:
        lines += [
            "",
            f"{', '.join(f'{mark} {word}' for word, mark in pages.MARKS.items())}: each against {models[0]}, by the paired test.",
        ]
    notes = [note for about in found["notes"].values() for note in about]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


# ---------------------------------------------------------------- the plots


def drawn(found: Found) -> list[dict[str, str]]:
    """Every plot that the figures allow: title, a line to read it by, and its SVG."""
    made: list[dict[str, str]] = []

    def add(title: str, said: str, svg: str) -> None:
        made.append({"title": title, "said": said, "svg": svg})

    curves = {name: each["recall"] for name, each in found["shows"].items() if "recall" in each}
    for way, words in (("t2i", "Text finds picture"), ("i2t", "Picture finds text")):
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
                "Picture finds text, for the pictures of each value.",
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
            a: {"drawn": v["drawn"], "real": v["real"]}
            for a, v in each.get("attributes", {}).items()
            if v["real"] is not None
        }
        if asked:
            add(
                f"{name}: attributes drawn as asked",
                "By the scorer, beside what it tells of the real pictures.",
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
                plots.lines(curve, x="α", y=about["label"], percent=about["percent"], marks=True, bands=band),
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
    """The page, one file that loads nothing. `queries`: {caption, answers: {model: [(picture, right)]}}; `examples`:
    {prompt, real, drawn: {model: picture}}; `copies`: {model, prompt, cosine, drawn, training}; pictures are PIL's."""
    shown = [
        {
            **query,
            "answers": {
                n: [(data_uri(p), right) for p, right in some] for n, some in query["answers"].items()
            },
        }
        for query in queries
    ]
    pictures = [
        {**e, "real": data_uri(e["real"]), "drawn": {n: data_uri(p) for n, p in e["drawn"].items()}}
        for e in examples
    ]
    pairs = [{**c, "drawn": data_uri(c["drawn"]), "training": data_uri(c["training"])} for c in copies]
    return pages.render(
        "evaluate.html.j2", found=found, rows=table(found), queries=shown, examples=pictures, copies=pairs,
        plots=drawn(found), sides=SIDES,
    )  # fmt: skip


def data_uri(picture: Image.Image) -> str:
    """A picture as a data: URI, at most THUMBNAIL px; PNG where it is small enough, since JPEG smears 64 px."""
    small = picture.convert("RGB")
    if max(small.size) > THUMBNAIL:
        small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    stream, kind = io.BytesIO(), "png" if max(picture.size) <= THUMBNAIL // 2 else "jpeg"
    small.save(stream, kind, **({"optimize": True} if kind == "png" else {"quality": 85}))
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
