"""Prompts: worded in one file a language, which the package ships."""

import ast
from pathlib import Path

import pytest

from tests.support.source import MODULES, PACKAGE, parsed
from unidiff_cli.data.prompts import load_prompts


def test_english_prompts():
    prompts = load_prompts()
    assert prompts.class_caption == "a photo of {class}"
    assert prompts.class_prompts == (
        "{value}",
        "a photo of a {value}",
        "a {value} product",
        "{attribute}: {value}",
    )


@pytest.mark.parametrize(("name", "article"), [("apple", "an"), ("mug", "a"), ("orange", "an")])
def test_an_object_has_its_article(name, article):
    assert load_prompts().of_object(name) == f"a photo of {article} {name}"


def test_the_files_lie_in_the_package():
    assert (PACKAGE / "data" / "prompts" / "en.yaml").is_file()


def test_no_other_module_words_a_prompt():
    """The sample shop words its captions itself: they are a catalogue's."""
    places = [
        str(module)
        for module in MODULES
        if "sample_catalog" not in Path(module).parts
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and "a photo of" in node.value
        and "\n" not in node.value
    ]
    assert places == []
