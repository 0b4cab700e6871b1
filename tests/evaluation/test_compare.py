"""compare: several exports and their base in one report."""

import pytest

from tests.support.exports import copy_export, evaluation_recipe, exported_project, read_report
from unidiff_cli.errors import UsageError
from unidiff_cli.evaluation.evaluate import compare
from unidiff_cli.models.buckets_file import FILE
from unidiff_cli.project.files import write_json

pytestmark = pytest.mark.usefixtures("scorer_folder")


@pytest.fixture
def project(prepared, tmp_path, tiny_base):
    """A project with two exports of the same weights."""
    project = exported_project(prepared, tmp_path, tiny_base)
    copy_export(project, project.path("exports", "001-tiny"))
    return project


@pytest.fixture
def recall_recipe(tiny_base):
    return evaluation_recipe(tiny_base, metrics=["recall"])


def test_exports_stand_in_one_report(project, recall_recipe):
    receipt = compare(project, recall_recipe, ["001-tiny", "002-twin"])
    assert list(receipt.figures) == ["base", "001-tiny", "002-twin"]
    assert receipt.figures["001-tiny"] == receipt.figures["002-twin"]
    assert receipt.inputs.keys() == {"shards", "exports/001-tiny", "exports/002-twin"}
    assert (project.path("comparison") / "report.html").exists()
    assert not project.path("report").exists()


def test_each_is_tested_against_the_base_and_the_first(project, recall_recipe):
    compare(project, recall_recipe, ["001-tiny", "002-twin"])
    report = read_report(project, "comparison")
    assert {(test["model"], test["against"]) for test in report["tests"]} == {
        ("001-tiny", "base"),
        ("002-twin", "base"),
        ("002-twin", "001-tiny"),
    }
    assert "002-twin against 001-tiny: Retrieval: not distinguishable" in report["verdict"]


def test_all_are_measured_at_the_size_of_the_first(project, tiny_base):
    recipe = evaluation_recipe(tiny_base, metrics=["clip_score"])
    first = project.path("exports", "001-tiny")
    write_json(copy_export(project, first) / FILE, {"images": {"24x40": 3, "32x32": 2}})
    copy_export(project, first)
    compare(project, recipe, ["002-twin", "001-tiny"])
    report = read_report(project, "comparison")
    assert report["generation"]["size"] == "24x40"
    assert report["figures"]["002-twin"] == report["figures"]["001-tiny"]
    compare(project, recipe, ["001-tiny", "002-twin"])
    assert read_report(project, "comparison")["generation"]["size"] == "32x32"


def test_one_export_is_refused(project, recall_recipe):
    with pytest.raises(UsageError, match="two exports or more"):
        compare(project, recall_recipe, ["001-tiny", "001-tiny"])


@pytest.mark.parametrize("change", ["image_size", "base"])
def test_exports_of_other_bases_and_sizes_are_refused(project, recall_recipe, change):
    first = project.path("exports", "001-tiny")
    settings = {"image_size": 64} if change == "image_size" else {"base": str(first)}
    copy_export(project, first, **settings)
    with pytest.raises(UsageError, match="do not have the same base and image size"):
        compare(project, recall_recipe, ["001-tiny", "002-twin"])
