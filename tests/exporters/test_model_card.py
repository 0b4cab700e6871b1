"""The model card: valid metadata, and no figure that was not measured."""

import json
import tomllib

import pytest
from huggingface_hub import ModelCard

from tests.support.projects import copy_project, load_recipe
from tests.support.source import ROOT
from unidiff_cli import evaluate, export
from unidiff_cli.exporters.model_card import refresh_model_card


@pytest.fixture
def project(finished, tmp_path):
    return copy_project(finished, tmp_path)


@pytest.fixture(scope="module")
def measured(finished, tmp_path_factory, tiny_base):
    """A project with a report of its export, and the card written after it."""
    project = copy_project(finished, tmp_path_factory.mktemp("measured"))
    evaluate(project, load_recipe(tiny_base, "evaluate.metrics=[recall]"))
    refresh_model_card(project, "001-fashion")
    return project


def card_of(project, name=None):
    return ModelCard.load(project.export(name) / "README.md")


def report_of(project):
    return json.loads((project.path("report") / "report.json").read_text())


def test_a_card_that_somebody_edited_stays(measured, tmp_path, caplog):
    project = copy_project(measured, tmp_path)
    card = project.export() / "README.md"
    card.write_text(card.read_text() + "\nOur shop's own words.\n")
    edited = card.read_text()
    refresh_model_card(project, "001-fashion")
    assert card.read_text() == edited and "was edited" in caplog.text
    assert project.export(hashed=None)


def test_the_hub_reads_its_metadata(finished):
    data = card_of(finished).data
    assert data.library_name == "diffusers" and data.pipeline_tag == "text-to-image"
    assert {"clip", "stable-diffusion", "unidiff"} <= set(data.tags)


def test_it_says_what_the_export_was_trained_on(finished):
    text = card_of(finished).text
    assert "48 training" in text and "contrastive × 1" in text and "recipe fashion" in text
    assert "DiffusionPipeline.from_pretrained(folder)" in text


def test_it_does_not_say_where_the_base_lies(finished, tiny_base):
    card = card_of(finished)
    assert str(tiny_base.parent) not in card.content and tiny_base.name in card.text
    assert card.data.base_model is None


def test_a_base_of_the_hub_is_named_in_the_metadata(project, monkeypatch):
    from unidiff_cli.exporters import model_card
    from unidiff_cli.models.sources import Source

    source = Source("org/diffusion", "org/clip")
    monkeypatch.setattr(model_card, "resolve_base", lambda base: (base, source))
    refresh_model_card(project, "001-fashion")
    assert card_of(project).data.base_model == ["org/diffusion", "org/clip"]


def test_the_licence_is_what_the_card_of_the_base_declares(project, tiny_base):
    assert card_of(project).data.license == "unknown"
    readme = tiny_base / "README.md"
    readme.write_text("---\nlicense: apache-2.0\n---\n# base\n")
    try:
        refresh_model_card(project, "001-fashion")
    finally:
        readme.unlink()
    assert card_of(project).data.license == "apache-2.0"


def test_nano_declares_the_licence_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for card in ("pretraining/cards/nano.md", "unidiff_cli/models/embedded/nano/README.md"):
        assert ModelCard.load(ROOT / card).data.license == project["license"].lower()


def test_an_export_of_nano_has_its_licence(project, monkeypatch):
    from unidiff_cli.exporters import model_card
    from unidiff_cli.models.sources import resolve_base

    monkeypatch.setattr(model_card, "resolve_base", lambda base: resolve_base("nano"))
    refresh_model_card(project, "001-fashion")
    assert card_of(project).data.license == "apache-2.0"


def test_a_blend_says_so(project):
    export(project, alpha=0.5)
    assert "0.5 of\nCLIP's towers and 0.5 of the denoiser are tuned" in card_of(project).text
    assert "arXiv 2109.01903" in card_of(project).text
    assert "arXiv 2109.01903" not in card_of(project, "001-fashion").text


# ---------------------------------------------------------------- figures


def test_without_a_report_there_is_no_figure(finished):
    card = card_of(finished)
    assert card.data.eval_results is None and "Not measured yet" in card.text


def test_it_has_the_headline_figures_of_the_report(measured):
    report, card = report_of(measured), card_of(measured)
    headline = {key for key, figure in report["specs"].items() if figure["headline"]}
    results = {result.metric_type: result for result in card.data.eval_results}
    assert results.keys() == headline and "r1_t2i" in headline
    for key, result in results.items():
        assert result.metric_value == report["figures"]["tuned"][key]["value"]
        assert result.dataset_split == report["split"] == "test"
    assert card.data.model_name == "001-fashion"


def test_it_shows_the_base_beside_the_tuned_model(measured):
    report, text = report_of(measured), card_of(measured).text
    from unidiff_cli.reports.wording import format_value

    for key, figure in report["specs"].items():
        if figure["headline"]:
            [row] = [line for line in text.splitlines() if line.startswith(f"| {figure['label']} ")]
            for model in ("base", "tuned"):
                value = report["figures"][model][key]["value"]
                assert format_value(value, figure["percent"]) in row
    assert "Not measured yet" not in text


def test_writing_it_again_changes_nothing(measured):
    file = measured.export() / "README.md"
    before = file.read_text(), file.stat().st_mtime_ns
    refresh_model_card(measured, "001-fashion")
    assert (file.read_text(), file.stat().st_mtime_ns) == before


def test_the_same_export_made_again_keeps_its_figures(measured, tmp_path):
    project = copy_project(measured, tmp_path)
    export(project, force=True)
    assert card_of(project).content == card_of(measured).content


def test_a_report_of_another_export_is_not_shown(measured, tmp_path):
    project = copy_project(measured, tmp_path)
    name, _ = export(project, alpha=0.5)
    refresh_model_card(project, name)
    assert card_of(project, name).data.eval_results is None


def test_an_export_whose_run_is_gone_keeps_its_card(project):
    import shutil

    before = card_of(project).content
    shutil.rmtree(project.path("runs"))
    refresh_model_card(project, "001-fashion")
    assert card_of(project).content == before
