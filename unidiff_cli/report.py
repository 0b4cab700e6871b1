"""The evaluation report: what report.json says, as a sentence, a table and a page. Knows no model and no metric."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from . import pages

CAUTION = "This is a first look at one run, not a significance test."
SIDES = {"retrieval": "Retrieval", "pictures": "Pictures"}
THUMBNAIL = 160  # px, the longest side of a picture inside the page: sharp at the size it is shown


def verdict(found: Mapping[str, Any]) -> str:
    """Better, worse, mixed or about the same for each side of the model, with its figures, its n and a caution."""
    said = []
    for side, name in SIDES.items():
        rows = [r for r in table(found) if r["judges"] == side and r["headline"]]
        if not rows:
            continue
        words = {r["word"] for r in rows} - {"same"}
        word = "mixed" if len(words) > 1 else words.pop() if words else "about the same"
        figures = "; ".join(f"{r['label']} {r['base']} → {r['tuned']}" for r in rows)
        counts = found["counts"]
        over = (
            f"{counts['rows']:,} held-out pictures"
            if side == "retrieval"
            else f"{counts['drawn']:,} drawn pictures"
        )
        verb = "is" if side == "retrieval" else "are"
        said.append(f"{name} {verb} {word} over {over} ({figures}).")
    return " ".join([*said, CAUTION])


def table(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a figure: printed values, the change, whether it is more than chance makes, and a bar's marks."""
    base, tuned = found["base"], found["tuned"]
    rows = []
    for key, about in found["described"].items():
        shown = {name: found[name].get(key) for name in ("chance", "real")}
        margin, change = found["margins"].get(key), tuned[key] - base[key]
        word = _word(change, margin, about["better"])
        scale = (
            1.0
            if about["percent"]
            else max(abs(v) for v in (base[key], tuned[key], *shown.values(), 1e-12) if v is not None)
        )
        marks = {"base": base[key], "tuned": tuned[key], **shown}
        rows.append(
            {
                **about,
                "key": key,
                "base": show(base[key], about["percent"]),
                "tuned": show(tuned[key], about["percent"]),
                "change": ("+" if change >= 0 else "−") + _points(abs(change), about["percent"]),
                "margin": "" if margin is None else f"±{_points(margin, about['percent'])}",
                "word": word,
                **{
                    name: "" if value is None else show(value, about["percent"])
                    for name, value in shown.items()
                },
                "marks": {
                    n: round(100 * min(max(v / scale, 0), 1), 1) for n, v in marks.items() if v is not None
                },
            }
        )
    return rows


def _word(change: float, margin: float | None, better: str) -> str:
    if abs(change) <= (margin or 0):
        return "same"
    return "better" if (change > 0) == (better == "higher") else "worse"


def show(value: float, percent: bool) -> str:
    """A figure as people read it: 12.5 %, 23.1, 0.0042."""
    if percent:
        return f"{value:.1%}".replace("%", "\u00a0%")  # no line break before the sign
    text = (
        f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.3g}"
        if abs(value) >= 1e-3 or value == 0
        else f"{value:.1e}"
    )
    return text.replace("-", "−")


def _points(value: float, percent: bool) -> str:
    """A difference: of shares in percentage points."""
    return f"{100 * value:.1f}\u00a0pt" if percent else show(value, percent)


def markdown(found: Mapping[str, Any]) -> str:
    """A short table for a pull request."""
    lines = [f"**{found['export']}** against its base, split `{found['split']}`. {found['verdict']}", ""]
    lines += ["| | base | tuned | change | | chance | real pictures |", "|---|--:|--:|--:|---|--:|--:|"]
    for r in table(found):
        word = "about the same" if r["word"] == "same" else r["word"]
        lines.append(
            f"| {r['label']} | {r['base']} | {r['tuned']} | {r['change']} | {word} | {r['chance']} | {r['real']} |"
        )
    notes = [note for about in found["notes"].values() for note in about]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def page(
    found: Mapping[str, Any], queries: Sequence[Mapping[str, Any]], examples: Sequence[Mapping[str, Any]]
) -> str:
    """The page, one file that loads nothing. `queries`: {caption, answers: {model: [(picture, right)]}};
    `examples`: {prompt, real, base, tuned}, pictures as PIL images."""
    shown = [
        {
            **query,
            "answers": {
                n: [(data_uri(p), right) for p, right in some] for n, some in query["answers"].items()
            },
        }
        for query in queries
    ]
    drawn = [{k: v if k == "prompt" else data_uri(v) for k, v in example.items()} for example in examples]
    return pages.render("evaluate.html.j2", found=found, rows=table(found), queries=shown, examples=drawn)


def data_uri(picture: Image.Image) -> str:
    """A picture as a data: URI, at most THUMBNAIL px; PNG where it is small enough, since JPEG smears 64 px."""
    small = picture.convert("RGB")
    if max(small.size) > THUMBNAIL:
        small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    stream, kind = io.BytesIO(), "png" if max(picture.size) <= THUMBNAIL // 2 else "jpeg"
    small.save(stream, kind, **({"optimize": True} if kind == "png" else {"quality": 85}))
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
