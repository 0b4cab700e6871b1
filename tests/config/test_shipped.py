"""The shipped recipes, and the name of one in a project's unidiff.yaml."""

import shutil

import pytest

from tests.support.recipes import GOOD
from unidiff_cli.config import shipped
from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.shipped import copy_recipe, remember, shipped_recipes
from unidiff_cli.config.sources import read_yaml
from unidiff_cli.errors import UsageError
from unidiff_cli.project.project import STARTER

SHIPPED = sorted(shipped_recipes())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_loads_and_loads_again(name, write):
    recipe = read_recipe(name)
    assert recipe.schema_version == 2 and recipe.description and recipe.active()
    assert read_recipe(write(recipe.yaml())).model_dump() == recipe.model_dump()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_has_short_lines(name):
    lines = shipped_recipes()[name].read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 100] == []


def test_the_shipped_recipes_are_those_of_a_wheel_or_of_a_checkout(tmp_path, monkeypatch):
    assert "fashion" in SHIPPED
    package = tmp_path / "unidiff_cli"
    shutil.copytree(shipped.shipped_folder(), package / "recipes")
    monkeypatch.setattr(shipped, "__file__", str(package / "config" / "shipped.py"))
    assert shipped.shipped_folder() == package / "recipes"
    assert sorted(shipped_recipes()) == SHIPPED


# ---------------------------------------------------------------- copies


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_copy_is_the_recipe_byte_by_byte(here):
    assert copy_recipe("fashion").read_bytes() == shipped_recipes()["fashion"].read_bytes()


def test_a_copy_overwrites_a_file_only_with_force(here):
    (here / "fashion.yaml").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        copy_recipe("fashion")
    assert (here / "fashion.yaml").read_text() == "mine"
    copy_recipe("fashion", force=True)
    assert (here / "fashion.yaml").read_text() != "mine"


def test_a_copy_goes_into_a_folder_or_a_new_one(here):
    (here / "folder").mkdir()
    assert copy_recipe("joint", here / "folder") == here / "folder" / "joint.yaml"
    assert copy_recipe("joint", here / "new" / "a.yaml").is_file()


# ---------------------------------------------------------------- the name in unidiff.yaml

SPACED = "train:\n    steps:   5   # odd   spacing stays\nrecipe:   'joint'   # mine\n"
FILES = [
    STARTER,
    "# only comments\n# of mine",
    "",
    "\ufeff",
    "train: {steps: 5}  # mine\n",
    "recipe: joint",
    SPACED + "list:\n- a\n- b\n",
    "recipe: joint\r\ntrain: {steps: 5}\r\n",
    "\ufeffrecipe: joint  # mine\r\ntrain: {steps: 5}\r\n",
    "recipe:\n  joint\ntrain: {steps: 5}\n",
    "recipe:  # mine\n",
    "{recipe: joint, train: {steps: 5}}\n",
    "{train: {steps: 5}}\n",
    "recipe: jo#int\n",
    "recipe: null\n",
    "preview: |\n  recipe: fake\nrecipe: joint\n",
    "recipe: |\n  joint\ntrain: {steps: 5}\n",
    "---\ntrain: {steps: 5}  # mine\n...\n",
    "<<: {recipe: joint}\n",
    "recipe: &a joint\ndescription: *a\n",
    "? recipe\n: joint\n",
]
NAMES = ["fashion", "product", "null", "1e5"]


@pytest.fixture
def project_file(tmp_path):
    return tmp_path / "unidiff.yaml"


@pytest.mark.parametrize("text", FILES)
@pytest.mark.parametrize("name", NAMES)
def test_the_name_changes_and_no_other_setting(text, name, project_file):
    project_file.write_bytes(text.encode())
    before = read_yaml(project_file).data
    remember(project_file, "recipe", name)
    assert read_yaml(project_file).data == {**before, "recipe": name}
    assert [p.name for p in project_file.parent.iterdir()] == [project_file.name]


@pytest.mark.parametrize("text", FILES)
@pytest.mark.parametrize("name", NAMES)
def test_comments_and_other_lines_stay(text, name, project_file):
    project_file.write_bytes(text.encode())
    remember(project_file, "recipe", name)
    after = project_file.read_bytes().decode()
    for line in text.splitlines():
        assert line.partition(" #")[2] in after
        # All but marks of the document, an alias of the old name, and the line of the name.
        other = line.startswith(("{", "---", "...")) or "*a" in line
        if not other and "recipe" not in line and "joint" not in line:
            assert line in after


def test_the_same_name_again_leaves_the_file_alone(project_file):
    project_file.write_text(SPACED)
    remember(project_file, "recipe", "fashion")
    before = project_file.stat().st_mtime_ns
    remember(project_file, "recipe", "fashion")
    assert project_file.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SPACED, SPACED.replace("'joint'", "fashion")),
        ("recipe: joint\r\nx: 1", "recipe: fashion\r\nx: 1"),
        ("\ufeffrecipe: joint # a\r\n", "\ufeffrecipe: fashion # a\r\n"),
        ("x: 1\r\ny: 2", "x: 1\r\ny: 2\r\nrecipe: fashion\r\n"),
        ("# mine", "# mine\nrecipe: fashion\n"),
    ],
)
def test_every_other_byte_stays(text, expected, project_file):
    project_file.write_bytes(text.encode())
    remember(project_file, "recipe", "fashion")
    assert project_file.read_bytes() == expected.encode()


def test_a_file_that_cannot_take_the_name_stays_as_it_is(project_file, monkeypatch):
    project_file.write_text("recipe: joint\n")
    for edit in ("_edited", "_dumped"):
        monkeypatch.setattr(shipped, edit, lambda text, key, name: f"{key}: {name}\nx: 1\n")
    with pytest.raises(UsageError, match="cannot be written into .* recipe: fashion"):
        remember(project_file, "recipe", "fashion")
    assert project_file.read_text() == "recipe: joint\n"


@pytest.mark.parametrize("text", ["", "base: auto  # mine\n", "base:\n  clip: a\n  diffusion: b\n"])
def test_a_base_is_kept_as_a_recipe_is(text, project_file, tmp_path, monkeypatch):
    project_file.write_text(f"recipe: joint\n{text}")
    remember(project_file, "base", "nano")
    assert read_yaml(project_file).data == {"recipe": "joint", "base": "nano"}
    monkeypatch.chdir(tmp_path.parent)
    remember(project_file, "base", tmp_path.name)
    assert read_yaml(project_file).data["base"] == str(tmp_path)


def test_the_path_of_a_recipe_is_written_whole(write, tmp_path, monkeypatch):
    write(GOOD)
    (tmp_path / "deep").mkdir()
    project_file = tmp_path / "deep" / "unidiff.yaml"
    project_file.write_text(STARTER)
    monkeypatch.chdir(tmp_path)
    remember(project_file, "recipe", "mine.yaml")
    monkeypatch.chdir("/")
    assert read_recipe(project_file=project_file).name == "mine"
