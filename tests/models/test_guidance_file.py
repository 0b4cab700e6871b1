"""Whose guidance it is: a recipe's number, an export's file, a base's numbers, or the default."""

import pytest

from tests.support.projects import load_recipe
from unidiff_cli.config.schema import Generate
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.guidance_file import FILE, GuidanceFile, guidance_in_force
from unidiff_cli.models.sources import Source


@pytest.fixture
def source(tmp_path):
    return Source(str(tmp_path), str(tmp_path / "clip"))


@pytest.fixture
def chosen(tmp_path):
    """An export's file with a guidance that was chosen."""
    guidance = GuidanceFile(guidance=Guidance(2.0, (0.0, 0.8), 0.7), reason="chosen by KID")
    (tmp_path / FILE).write_text(guidance.model_dump_json())
    return guidance


def test_a_base_that_says_nothing_has_stable_diffusions(source):
    guidance, why = guidance_in_force(Generate(), source)
    assert guidance == Guidance(7.5) and "default" in why


def test_a_base_has_the_scale_of_its_numbers(tmp_path, source):
    (tmp_path / "base.yaml").write_text("generate: {steps: 5, guidance: 4.0}")
    assert guidance_in_force(Generate(), source) == (Guidance(4.0), "the base's own")


def test_an_export_has_what_was_chosen_and_not_its_bases(tmp_path, source, chosen):
    (tmp_path / "base.yaml").write_text("generate: {guidance: 4.0}")
    assert guidance_in_force(Generate(), source) == (chosen.guidance, "chosen by KID")


def test_a_number_of_the_recipe_stands_above_all(source, chosen):
    guidance, why = guidance_in_force(Generate(guidance=3), source)
    assert guidance == Guidance(3.0) and why == "set by generate.guidance"


def test_a_recipe_keeps_auto_on_a_base_with_a_scale(tiny_base):
    assert load_recipe(tiny_base).generate.guidance == "auto"
    assert load_recipe(tiny_base).generate.steps == 3
    assert load_recipe(tiny_base, "generate.guidance=3").generate.guidance == 3


@pytest.mark.parametrize("value", ["high", "-1", ".nan"])
def test_a_scale_of_a_base_that_is_none_is_named(tmp_path, source, value):
    (tmp_path / "base.yaml").write_text(f"generate: {{guidance: {value}}}")
    with pytest.raises(EnvironmentProblem, match=r"base\.yaml has a generate\.guidance of"):
        guidance_in_force(Generate(), source)


@pytest.mark.parametrize("text", ["", "{}", '{"guidance": {"scale": "high"}, "reason": ""}'])
def test_a_file_that_holds_none_is_named(tmp_path, source, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(EnvironmentProblem, match="does not hold a guidance"):
        guidance_in_force(Generate(), source)
