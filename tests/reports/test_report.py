"""The report: its sentence, its table and its page, from plain data."""

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from unidiff_cli.errors import UsageError, WorkError
from unidiff_cli.evaluation import gates, verdict
from unidiff_cli.reports import evaluation, plots, schema

RECALL = {
    "label": "R@1",
    "judges": "retrieval",
    "better": "higher",
    "percent": True,
    "headline": True,
}
KID = {"label": "KID", "judges": "images", "better": "lower", "percent": False, "headline": True}
SCORE = {
    "label": "CLIP score",
    "judges": "images",
    "better": "higher",
    "percent": False,
    "headline": True,
}


def found(base, tuned, verdicts=("better", "better", "not distinguishable")):
    keys, figures = ("r1_t2i", "kid", "clip_score"), {}
    for name, values in (("base", base), ("tuned", tuned)):
        figures[name] = {
            k: {"value": v, "low": v - 0.1, "high": v + 0.1, "items": 46, "groups": 18}
            for k, v in zip(keys, values, strict=True)
        }
    tests = [
        {"model": "tuned", "against": "base", "figure": k, "difference": b - a, "low": b - a - 0.1, "high": b - a + 0.1, "p": 0.01,
         "items": 46, "groups": 18, "verdict": v, "sentence": f"{k} in words."}
        for k, a, b, v in zip(keys, base, tuned, verdicts, strict=True)
    ]  # fmt: skip
    return {
        "schema_version": 2,
        "title": "001-fashion against its base",
        "split": "test",
        "models": {
            "base": {"source": "nano", "weights": "a", "alpha": 1.0},
            "tuned": {"source": "001", "weights": "b", "alpha": 1.0},
        },
        "described": dict(zip(keys, (RECALL, KID, SCORE), strict=True)),
        "figures": figures,
        "tests": tests,
        "flags": {"tuned": []},
        "shows": {"base": {}, "tuned": {}},
        "references": {"chance": {"r1_t2i": 0.02}, "real": {"kid": 0.004}},
        "counts": {"rows": 46, "groups": 18, "captions": 40, "drawn": 64},
        "notes": {"kid": ["Few images."]},
        "warnings": [],
        "left_out": {"fid": "FID over 64 images would mislead."},
        "losses": {},
        "image_size": 64,
        "extractor": None,
        "generate": {},
        "seeds": [],
        "seconds": 1.0,
        "scorer": None,
        "versions": {},
        "prompts": [],
        "verdict": "A verdict.",
    }


@pytest.mark.parametrize(
    ("verdicts", "retrieval", "drawing"),
    [
        (("better", "better", "better"), "better", "better"),
        (("worse", "worse", "worse"), "worse", "worse"),
        (
            ("not distinguishable",) * 3,
            "not distinguishable from before",
            "not distinguishable from before",
        ),
        (("not distinguishable", "better", "worse"), "not distinguishable from before", "mixed"),
        (
            ("better", "better", "not distinguishable"),
            "better",
            "better",
        ),  # one figure moved, the other did not
    ],
)
def test_the_verdict_is_plain_and_careful(verdicts, retrieval, drawing):
    said = verdict.verdict(found((0.3, 0.2, 25.0), (0.5, 0.1, 25.5), verdicts))
    assert said.startswith(f"Retrieval: {retrieval} (R@1 30.0\u00a0% → 50.0\u00a0%).")
    assert f" Drawing: {drawing} (KID 0.2 → 0.1; CLIP score 25.0 → 25.5)." in said
    assert said.endswith(
        "46 held-out images of 18 products or groups, 64 drawn; one training run, so seeds are not in these intervals."
    )


def test_one_of_several_figures_is_found_better_by_chance_soon():
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 25.5), ("better", "better", "not distinguishable"))
    for test in about["tests"]:
        test["p"] = 0.03
    said = verdict.verdict(about)
    assert said.startswith("Retrieval: better (R@1"), "the only figure of its side"
    assert " Drawing: not distinguishable from before (KID" in said, "one of two, at p = 0.03"
    assert evaluation.table(about)[1]["cells"][1]["word"] == "better", (
        "its own row says what its own test says"
    )


def test_a_comparison_names_its_models():
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 25.5))
    for part in ("models", "figures", "flags"):
        about[part]["other"] = about[part]["tuned"]
    about["tests"] += [t | {"model": "other", "verdict": "worse"} for t in about["tests"]]
    about["tests"] += [t | {"model": "other", "against": "tuned"} for t in about["tests"][:3]]
    said = verdict.verdict(about)
    assert said.startswith("tuned against base: Retrieval: better")
    assert "\nother against base: Retrieval: worse (R@1 30.0" in said
    assert (
        "\nother against tuned: Retrieval: better (R@1 50.0" in said
        and "one training run each" in said
    )
    assert evaluation.table(about)[0]["cells"][2]["word"] == "worse", (
        "the table holds all against the base"
    )
    assert "<b>other</b> against tuned" in evaluation.page(about, [], [])


def test_the_split_and_the_folds_are_named():
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 25.5))
    assert "Over 46 training images of 18" in verdict.verdict(about | {"split": "train"})
    folds = verdict.verdict(about | {"split": "5 folds", "counts": about["counts"] | {"folds": 5}})
    assert "Over 46 held-out images of 18" in folds and "5 training runs, one a fold" in folds


def test_a_figure_that_a_model_has_not_is_an_empty_cell():
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 25.5))
    del about["figures"]["base"]["r1_t2i"], about["figures"]["tuned"]["kid"]
    about["tests"] = about["tests"][2:]
    about["models"]["alpha 0.5"] = about["models"]["tuned"] | {"alpha": 0.5}
    about["figures"]["alpha 0.5"] = about["figures"]["base"]
    cells = {
        row["key"]: [cell["value"] for cell in row["cells"]] for row in evaluation.table(about)
    }
    assert cells["r1_t2i"] == ["", "50.0\u00a0%", ""] and cells["kid"] == ["0.2", "", "0.2"]
    assert "R@1" in evaluation.page(about, [], []) and "| KID | 0.2 |" in evaluation.markdown(about)


def test_a_tripped_meter_is_in_the_verdict():
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 25.5))
    about["flags"]["tuned"] = [
        {"meter": "retention", "base": 1.0, "tuned": 0.5, "measure": 0.5, "compares": "least", "limit": 0.9, "words": "zero-shot classes are forgotten", "raised": True}
    ]  # fmt: skip
    assert "Collapse meters tripped: zero-shot classes are forgotten." in verdict.verdict(about)
    assert "zero-shot classes are forgotten" in evaluation.page(about, [], [])


def test_the_table_says_what_a_change_is_worth():
    recall, kid, score = evaluation.table(found((0.3, 0.2, 25.0), (0.5, 0.1, 24.5)))
    base, tuned = recall["cells"]
    assert (base["value"], tuned["value"], tuned["around"]) == (
        "30.0\u00a0%",
        "50.0\u00a0%",
        "40.0\u00a0% … 60.0\u00a0%",
    )
    assert (tuned["change"], tuned["word"], recall["chance"]) == (
        "+20.0\u00a0pt",
        "better",
        "2.0\u00a0%",
    )
    assert (kid["cells"][1]["change"], kid["real"], kid["chance"]) == ("−0.1", "0.004", "")
    noisy = found((0.3, 0.2, 25.0), (0.5, 0.1, 24.5)) | {"references": {"noise": {"kid": 0.004}}}
    assert evaluation.table(noisy)[1]["real"] == "± 0.004"
    assert (score["cells"][1]["change"], score["cells"][1]["word"]) == (
        "−0.5",
        "not distinguishable",
    )
    assert (recall["items"], recall["groups"]) == (46, 18)


def test_gates():
    asked = gates.gates("r1_t2i>=0.6, kid<=0.02", ["r1_t2i", "kid"])
    assert asked == [("tuned", "r1_t2i", ">=", 0.6), ("tuned", "kid", "<=", 0.02)]
    page = Path("folds/report.html")
    gates.check(asked, {"tuned": {"r1_t2i": 0.6, "kid": 0.01}}, page)
    with pytest.raises(
        WorkError,
        match="r1_t2i is 0.5, asked >= 0.6; kid is 0.03, asked <= 0.02.*folds/report.html",
    ):
        gates.check(asked, {"tuned": {"r1_t2i": 0.5, "kid": 0.03}}, page)
    with pytest.raises(WorkError, match="kid cannot be told here"):
        gates.check(asked, {"tuned": {"r1_t2i": 0.6}}, page)
    other = gates.gates("diffdis.r1_t2i>=0.3", ["r1_t2i"])
    gates.check(other, {"tuned": {"r1_t2i": 0.1}, "diffdis": {"r1_t2i": 0.4}}, page)
    with pytest.raises(WorkError, match="diffdis.r1_t2i is 0.2, asked >= 0.3"):
        gates.check(other, {"tuned": {"r1_t2i": 0.4}, "diffdis": {"r1_t2i": 0.2}}, page)
    with pytest.raises(WorkError, match="diffdis.r1_t2i cannot be told here"):
        gates.check(other, {"tuned": {"r1_t2i": 0.4}}, page)
    with pytest.raises(UsageError, match="Did you mean 'kid'"):
        gates.gates("kit<=0.02", ["kid"])
    with pytest.raises(UsageError, match="cannot read 'kid=0.02'"):
        gates.gates("kid=0.02", ["kid"])


def test_plots_come_from_what_was_measured():
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 25.5))
    curve = {
        "k": [1, 5, 10],
        "t2i": [0.1, 0.2, 0.3],
        "i2t": [0.1, 0.2, 0.4],
        "by": {"color": {"red": {"value": 0.5}, "blue": {"value": 0.2}}},
    }
    about["shows"] = {
        "base": {"recall": curve},
        "tuned": {
            "recall": curve,
            "zero_shot": {"color": {"matrix": [[3, 1], [0, 2]], "values": ["red", "blue"]}},
        },
    }
    about["losses"] = {"tuned": {"step": [1, 2, 3], "contrastive": [3.0, 2.0, None]}}
    titles = [plot["title"] for plot in evaluation.evaluation_plots(about)]
    assert titles == [
        "Text finds image",
        "Image finds text",
        "Losses of tuned",
        "R@5 by color",
        "tuned: color told by prompts",
    ]
    about["models"]["alpha 0.5"] = {"source": "001", "weights": "c", "alpha": 0.5}
    about["figures"]["alpha 0.5"] = about["figures"]["tuned"]
    assert "R@1 between base and tuned" in [
        plot["title"] for plot in evaluation.evaluation_plots(about)
    ]
    assert all(
        "#0" not in plot["svg"] and "var(--" in plot["svg"]
        for plot in evaluation.evaluation_plots(about)
    )


def test_what_a_catalogue_says_is_no_formula():
    price = "$5 to $9_a"
    made = [
        plots.bars({price: {"$a$": 0.5, "b": 0.1}}, x="$x$"),
        plots.matrix([[1, 0], [0, 1]], [price, "other"]),
        plots.lines({price: ([1, 2], [1, 2]), "b": ([1, 2], [2, 1])}, x="x", y="y"),
    ]
    assert all(price in svg for svg in made) and "$a$" in made[0] and "$x$" in made[0]


@pytest.mark.parametrize(
    ("value", "text"), [(23.14, "23.1"), (0.0, "0"), (0.00421, "0.00421"), (-0.0004, "−4.0e−04")]
)
def test_figures_as_people_read_them(value, text):
    assert evaluation.format_value(value, percent=False) == text


def test_markdown_is_a_table():
    text = evaluation.markdown(found((0.3, 0.2, 25.0), (0.5, 0.1, 24.5)))
    assert "| KID | 0.2 | 0.1 | −0.1 | better |  | 0.004 |" in text and "- Few images." in text


def test_markdown_of_several_models_says_each_ones_word():
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 24.5))
    about["models"]["other"] = about["models"]["tuned"]
    about["figures"]["other"] = about["figures"]["tuned"]
    about["tests"] += [t | {"model": "other", "verdict": "worse"} for t in about["tests"]]
    text = evaluation.markdown(about)
    assert "| | base | tuned | other | chance | real |\n|---|--:|--:|--:|--:|--:|\n" in text
    assert "| KID | 0.2 | 0.1 ▲ | 0.1 ▼ |  | 0.004 |" in text and "▲ better" in text


def test_captions_are_text_in_the_page():
    evil = "<script>alert(1)</script> & 'dress'"
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 24.5)) | {
        "prompts": [evil],
        "notes": {"kid": [evil]},
    }
    white = Image.new("RGB", (8, 8), "white")
    page = evaluation.page(about, [{"caption": evil, "answers": {"base": [(white, True)]}}], [])
    assert "<script" not in page and page.count("&lt;script&gt;") == 3


def test_small_images_are_kept_exactly_and_large_ones_scaled():
    small, large = Image.new("RGB", (64, 64), (1, 2, 3)), Image.new("RGB", (1024, 512))
    kinds = [evaluation.data_uri(p).split(",") for p in (small, large)]
    assert [k[0] for k in kinds] == ["data:image/png;base64", "data:image/jpeg;base64"]
    sizes = [Image.open(io.BytesIO(base64.b64decode(k[1]))) for k in kinds]
    assert sizes[0].getpixel((5, 5)) == (1, 2, 3) and sizes[1].size == (160, 80)


def test_report_json_has_a_published_schema():
    published = json.loads(
        (Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json").read_text()
    )
    assert published == schema.Report.model_json_schema(), "run: make docs"
    about = found((0.3, 0.2, 25.0), (0.5, 0.1, 24.5))
    schema.Report.model_validate(about)
    with pytest.raises(ValueError, match="finite"):
        schema.Report.model_validate(about | {"seconds": float("nan")})
