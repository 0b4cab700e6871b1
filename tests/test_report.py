"""The report: its sentence, its table and its page, from plain data."""

import base64
import io

import pytest
from PIL import Image

from unidiff_cli import report

RECALL = {"label": "R@1", "judges": "retrieval", "better": "higher", "percent": True, "headline": True}
KID = {"label": "KID", "judges": "pictures", "better": "lower", "percent": False, "headline": True}
SCORE = {"label": "CLIP score", "judges": "pictures", "better": "higher", "percent": False, "headline": True}


def found(base, tuned, margins=(0.1, 0.01, 1.0)):
    keys = ("r1_t2i", "kid", "clip_score")
    return {
        "export": "001-fashion",
        "split": "test",
        "described": dict(zip(keys, (RECALL, KID, SCORE), strict=True)),
        "base": dict(zip(keys, base, strict=True)),
        "tuned": dict(zip(keys, tuned, strict=True)),
        "margins": dict(zip(keys, margins, strict=True)),
        "chance": {"r1_t2i": 0.02},
        "real": {"kid": 0.004},
        "counts": {"rows": 46, "captions": 40, "drawn": 64},
        "notes": {"kid": ["Few pictures."], "data": []},
        "images": 64,
        "image_size": 64,
        "scorer": None,
        "models": {},
        "versions": {},
        "prompts": [],
        "verdict": "A verdict.",
    }


@pytest.mark.parametrize(
    ("tuned", "retrieval", "pictures"),
    [
        ((0.5, 0.10, 30.0), "better", "better"),
        ((0.1, 0.30, 20.0), "worse", "worse"),
        ((0.35, 0.205, 25.5), "about the same", "about the same"),
        ((0.3, 0.10, 20.0), "about the same", "mixed"),
        ((0.3, 0.10, 25.0), "about the same", "better"),  # one figure moved, the other did not
    ],
)
def test_the_verdict_is_plain_and_careful(tuned, retrieval, pictures):
    said = report.verdict(found((0.3, 0.2, 25.0), tuned))
    assert said.startswith(f"Retrieval is {retrieval} over 46 held-out pictures (R@1 30.0\u00a0% → ")
    assert f" Pictures are {pictures} over 64 drawn pictures (KID 0.2 → " in said
    assert said.endswith("not a significance test.")


def test_the_table_says_what_a_change_is_worth():
    recall, kid, score = report.table(found((0.3, 0.2, 25.0), (0.5, 0.1, 24.5)))
    assert (recall["change"], recall["margin"], recall["chance"]) == (
        "+20.0\u00a0pt",
        "±10.0\u00a0pt",
        "2.0\u00a0%",
    )
    assert (kid["change"], kid["word"], kid["real"]) == ("−0.1", "better", "0.004")
    assert (score["change"], score["word"], score["chance"]) == ("−0.5", "same", "")
    assert recall["marks"] == {"base": 30.0, "tuned": 50.0, "chance": 2.0}
    assert kid["marks"] == {"base": 100.0, "tuned": 50.0, "real": 2.0}


@pytest.mark.parametrize(
    ("value", "text"), [(23.14, "23.1"), (0.0, "0"), (0.00421, "0.00421"), (-0.0004, "−4.0e−04")]
)
def test_figures_as_people_read_them(value, text):
    assert report.show(value, percent=False) == text


def test_markdown_is_a_table():
    text = report.markdown(found((0.3, 0.2, 25.0), (0.5, 0.1, 24.5)))
    assert "| KID | 0.2 | 0.1 | −0.1 | better |  | 0.004 |" in text and "- Few pictures." in text


def test_captions_are_text_in_the_page():
    evil = "<script>alert(1)</script> & 'dress'"
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 24.5)) | {"prompts": [evil], "notes": {"data": [evil]}}
    white = Image.new("RGB", (8, 8), "white")
    page = report.page(about, [{"caption": evil, "answers": {"base": [(white, True)]}}], [])
    assert "<script" not in page and page.count("&lt;script&gt;") == 3


def test_small_pictures_are_kept_exactly_and_large_ones_scaled():
    small, large = Image.new("RGB", (64, 64), (1, 2, 3)), Image.new("RGB", (1024, 512))
    kinds = [report.data_uri(p).split(",") for p in (small, large)]
    assert [k[0] for k in kinds] == ["data:image/png;base64", "data:image/jpeg;base64"]
    sizes = [Image.open(io.BytesIO(base64.b64decode(k[1]))) for k in kinds]
    assert sizes[0].getpixel((5, 5)) == (1, 2, 3) and sizes[1].size == (160, 80)
