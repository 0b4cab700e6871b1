"""Parts by kind and name: built-in ones and those of another package come from one place."""

import pytest

from unidiff_cli import registry
from unidiff_cli.config.load import read_recipe
from unidiff_cli.errors import RecipeError, UsageError
from unidiff_cli.registry import KINDS

MODULE = """
from unidiff_cli.objectives import Objective

class Triplet(Objective):
    '''Keeps an image nearer to its caption than to others.'''
    margin: float = 0.2
    def loss(self, forward): ...

class Part:
    '''A part of any other kind.'''
"""


@pytest.fixture(autouse=True)
def fresh_registry():
    """The registry looks at the installed packages once; each test has packages of its own."""
    for function in (registry.names, registry.load):
        function.cache_clear()
    yield
    for function in (registry.names, registry.load):
        function.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with one part of every kind: `triplet`, and `spare_part` elsewhere."""
    (tmp_path / "other_package.py").write_text(MODULE)
    info = tmp_path / "other_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1\n")
    groups = "".join(
        f"[unidiff.{kind}]\nspare_part = other_package:Part\n"
        for kind in KINDS
        if kind != "objectives"
    )
    objectives = "[unidiff.objectives]\ntriplet = other_package:Triplet\n"
    (info / "entry_points.txt").write_text(objectives + groups)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_offers_a_part_of_every_kind(package, kind):
    name = "triplet" if kind == "objectives" else "spare_part"
    assert name in registry.names(kind)
    part = registry.load(kind, name)
    assert (part.__module__, part.__name__) == (
        "other_package",
        "Triplet" if kind == "objectives" else "Part",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_package_its_parts_are_unknown(kind):
    assert not {"triplet", "spare_part"} & set(registry.names(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_gives_the_nearest_and_all_known_ones(package, kind):
    right, wrong = ("triplet", "tripelt") if kind == "objectives" else ("spare_part", "spare_prat")
    with pytest.raises(UsageError, match=f"named '{wrong}'. Did you mean '{right}'?") as caught:
        registry.load(kind, wrong)
    assert caught.value.action == f"Known: {', '.join(registry.names(kind))}."


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("readers", "reader"),
        ("models", "model"),
        ("objectives", "objective"),
        ("exporters", "exporter"),
        ("indexes", "index"),
        ("metrics", "metric"),
    ],
)
def test_an_unknown_name_is_said_in_the_kinds_singular(kind, word):
    with pytest.raises(UsageError, match=f"There is no {word} named 'nothing-like-it'"):
        registry.load(kind, "nothing-like-it")


def test_a_built_in_part_is_not_replaced_by_one_of_the_same_name(tmp_path, monkeypatch, package):
    info = tmp_path / "other_package-1.dist-info"
    (info / "entry_points.txt").write_text("[unidiff.objectives]\ndenoise = other_package:Part\n")
    assert registry.load("objectives", "denoise").__module__ == "unidiff_cli.objectives.denoise"
    assert registry.names("objectives").count("denoise") == 1


def test_the_keys_of_a_packages_objective_are_recipe_keys(package, tmp_path):
    (tmp_path / "mine.yaml").write_text("objectives: {triplet: {margin: 0.5}}\n")
    recipe = str(tmp_path / "mine.yaml")
    assert read_recipe(recipe).active()["triplet"].margin == 0.5
    with pytest.raises(RecipeError, match="Did you mean 'margin'?"):
        read_recipe(recipe, assignments=["objectives.triplet.margn=1"])
