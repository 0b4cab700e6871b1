"""A recipe from all its sources: which source wins, and every problem at once with its line."""

import pytest

from tests.support.recipes import GOOD, problems
from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.sources import ConfigSource
from unidiff_cli.errors import RecipeError, UsageError
from unidiff_cli.models import sources


@pytest.fixture
def project_file(tmp_path):
    return tmp_path / "unidiff.yaml"


# ---------------------------------------------------------------- sources

# Each source sets one key more than the one above it.
ENVIRONMENT = {
    "UNIDIFF_TRAIN__WARMUP": "14",
    "UNIDIFF_TRAIN__CLIP_NORM": "4",
    "HOME": "/",
    "UNIDIFF_PROJECT": "x",
}
RECIPE = GOOD + "train: {steps: 2, batch_size: 12, warmup: 12, clip_norm: 2.0, ema: 0.2}\n"
NUMBERS = {"image_size": 64, "train": {"steps": 1, "ema": 0.1, "weight_decay": 0.01}}


@pytest.fixture
def resolved(write, project_file):
    """A recipe that all five sources take part in."""
    project_file.write_text(
        f"schema_version: 2\nrecipe: {write(RECIPE)}\n"
        "train: {batch_size: 13, warmup: 13, clip_norm: 3.0}\n"
    )
    return read_recipe(
        project_file=project_file,
        environ=ENVIRONMENT,
        assignments=["train.clip_norm=5"],
        defaults=lambda base: (base, ConfigSource("base defaults", NUMBERS)),
    )


@pytest.mark.parametrize(
    ("key", "value", "source"),
    [
        ("validate_every", 100, "the schema"),
        ("weight_decay", 0.01, "the base"),
        ("steps", 2, "the recipe file"),
        ("ema", 0.2, "the recipe file"),
        ("batch_size", 13, "unidiff.yaml"),
        ("warmup", 14, "the environment"),
        ("clip_norm", 5.0, "--set"),
    ],
)
def test_a_later_source_wins_and_sets_only_its_keys(resolved, key, value, source):
    assert getattr(resolved.train, key) == value, source


def test_the_base_sets_top_level_keys(resolved):
    assert resolved.image_size == 64


def test_the_environment_sets_top_level_keys(write):
    environ = {"UNIDIFF_BASE": "nano", "UNIDIFF_IMAGE_SIZE": "64"}
    recipe = read_recipe(write(GOOD), environ=environ)
    assert (recipe.base, recipe.image_size) == ("nano", 64)


def test_a_wrong_variable_is_named(write):
    [problem] = problems(read_recipe, write(GOOD), environ={"UNIDIFF_TRAIN__STEPZ": "1"})
    assert problem == (
        "environment:UNIDIFF_TRAIN__STEPZ: no key in train named 'stepz'. Did you mean 'steps'?"
    )


def test_the_recipe_in_force(write, project_file):
    project_file.write_text("recipe: joint\n")
    assert read_recipe().name == "fashion"
    assert read_recipe(project_file=project_file).name == "joint"
    assert read_recipe("sd-only", project_file=project_file).name == "sd-only"
    assert read_recipe(write(GOOD)).name == "mine"


def test_a_path_in_unidiff_yaml_is_relative_to_it(write, project_file):
    write(GOOD)
    project_file.write_text("recipe: mine.yaml\n")
    assert read_recipe(project_file=project_file).name == "mine"


def test_null_switches_an_objective_off(project_file):
    project_file.write_text("objectives: {consistency: null}\n")
    recipe = read_recipe("fashion", project_file=project_file)
    assert "consistency" not in recipe.active() and "denoise" in recipe.active()
    recipe = read_recipe("fashion", assignments=["objectives.denoise=null"])
    assert "denoise" not in recipe.active() and "consistency" in recipe.active()


def test_a_recipe_without_any_objective_is_refused():
    [problem] = problems(read_recipe, "sd-only", assignments=["objectives.denoise=null"])
    assert "at least one objective" in problem


@pytest.mark.parametrize(
    ("assignment", "section", "key", "value"),
    [
        ("train.weight_decay=1e-5", "train", "weight_decay", 1e-5),
        ("train.trains=[denoiser, text]", "train", "trains", ("denoiser", "text")),
        ("train.steps=1e3", "train", "steps", 1000),
        ("prepare.where={view: main}", "prepare", "where", {"view": "main"}),
    ],
)
def test_a_value_of_set_is_yaml(write, assignment, section, key, value):
    recipe = read_recipe(write(GOOD), assignments=[assignment])
    assert getattr(getattr(recipe, section), key) == value


@pytest.mark.parametrize(
    ("value", "caption"),
    [
        ("{name} in {color}", "{name} in {color}"),
        ("{name}", "{name}"),
        ("{Body (HTML)}, {size}: new", "{Body (HTML)}, {size}: new"),
        ("a {color} {name}", "a {color} {name}"),
        ('"{name} in {color}"', "{name} in {color}"),
        ("null", None),
    ],
)
def test_a_template_is_text_with_and_without_quotes(write, value, caption):
    """A shell takes the quotes off `--set prepare.caption="{name} in {color}"`."""
    recipe = read_recipe(write(GOOD), assignments=[f"prepare.caption={value}"])
    assert recipe.prepare.caption == caption


@pytest.mark.parametrize("value", ["", "''", '""', " "])
def test_no_value_of_set_is_the_empty_text(write, value):
    """A shell makes `prepare.columns.split=` of `prepare.columns.split=''`."""
    recipe = read_recipe(write(GOOD), assignments=[f"prepare.columns.split={value}"])
    assert recipe.prepare.columns.split == ""


@pytest.mark.parametrize(
    "assignment",
    [
        "train.steps",
        "=5",
        "train.steps.x=1",
        "train=5",
        "train.lr=[[[",
        "a=2024-99-99",
        "a=" + "[" * 3000,
    ],
)
def test_set_that_means_nothing_is_a_usage_error(write, assignment):
    with pytest.raises(UsageError):
        read_recipe(write(GOOD), assignments=["train.steps=5", assignment])


# ---------------------------------------------------------------- problems


def test_every_problem_at_once_with_its_line_and_the_nearest_name(write, project_file):
    name = write(
        "schema_version: 2\n"
        "objectives:\n"
        "  contrastve: {weight: 1.0}\n"
        "  denoise: {caption_drp: 0.1}\n"
        "train:\n"
        "  steps: -3\n"
        "  ema: 7\n"
        "evaluate:\n"
        "  metrics: [recal]\n"
    )
    project_file.write_text("train:\n  warmpu: 3\n")
    sentences = problems(
        read_recipe, name, project_file=project_file, assignments=["train.batch_size=1"]
    )
    assert sentences == [
        "--set: train.batch_size is 1; input should be greater than or equal to 2.",
        f"{name}:3: no objective named 'contrastve'. Did you mean 'contrastive'?",
        f"{name}:4: no key in objectives.denoise named 'caption_drp'. Did you mean 'caption_drop'?",
        f"{name}:6: train.steps is -3; input should be greater than or equal to 1.",
        f"{name}:7: train.ema is 7; input should be less than or equal to 1.",
        f"{name}:9: evaluate.metrics: there is no metric named 'recal'. Did you mean 'recall'?",
        "unidiff.yaml:2: no key in train named 'warmpu'. Did you mean 'warmup'?",
    ]


def test_a_problem_of_the_file_is_not_blamed_on_a_set_beside_it(write):
    name = write(GOOD + "train:\n  stepz: 5\n")
    [problem] = problems(read_recipe, name, assignments=["train.steps=5"])
    assert problem.startswith(f"{name}:5: no key in train")


def test_a_problem_of_a_base_has_the_line_of_its_file(write, tmp_path):
    base = tmp_path / "base"
    (base / "clip").mkdir(parents=True)
    (base / "model_index.json").write_text("{}")
    (base / "clip" / "config.json").write_text("{}")
    (base / "base.yaml").write_text("image_size: 64\ntrain:\n  stepz: 5\n")
    [problem] = problems(
        read_recipe,
        write(GOOD),
        assignments=[f"base={base}"],
        defaults=sources.base_defaults,
    )
    assert problem.startswith(f"{base}/base.yaml:3: no key in train named 'stepz'.")


@pytest.mark.parametrize("defaults", [None, sources.base_defaults])
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "schema_version: 3\nobjectives: {denoise: {}}\n",
            "schema_version is 3; this unidiff reads 2",
        ),
        ("schema_version: 2\n", "objectives is missing"),
        ("objectives: 5\n", "objectives is 5"),
        ("objectives: {denoise: 5}\n", "objectives.denoise is 5"),
        (GOOD + "train: null\n", "train is None"),
        (GOOD + "train: {trains: [denoiser, vison]}\n", "train.trains.1 is 'vison'"),
        (GOOD + "train: {schedule: cosin}\n", "train.schedule is 'cosin'"),
        (GOOD + "prepare: {splits: [0.5, 0.1, 0.1]}\n", "add up to 0.7"),
        (GOOD + "train: {ema: .nan}\n", "train.ema is nan"),
        (GOOD + "train: {weight_decay: .inf}\n", "train.weight_decay is inf"),
        (GOOD + "train: {weight_decay: 1.0e999}\n", "finite"),
        (GOOD + "train: {weight_decay: 1e999}\n", "finite"),
        (GOOD + "train: {seed: -1}\n", "train.seed is -1"),
        (GOOD + "train: {alpha: half}\n", "'half' is neither auto nor a number from 0 to 1"),
        (GOOD + "name: ../../etc\n", "name is '../../etc'"),
        (
            GOOD + "base: {difusion: x, clip: y}\n",
            "no key in base named 'difusion'. Did you mean 'diffusion'?",
        ),
        (GOOD + "base: [1, 2]\n", "base is"),
        (GOOD + "base: null\n", "base is"),
    ],
)
def test_a_value_that_means_nothing_is_a_sentence(write, text, problem, defaults):
    assert problem in "\n".join(problems(read_recipe, write(text), defaults=defaults))


@pytest.mark.parametrize("base", ["nanoo", "~nobody-of-this-name/base", "x" * 300])
def test_a_base_that_is_not_there(write, base):
    with pytest.raises(UsageError, match="base"):
        read_recipe(write(GOOD), assignments=[f"base={base}"], defaults=sources.base_defaults)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("fashon", True),
        ("no/such.yaml", False),
        ("~nobody-of-this-name/x.yaml", False),
        ("..", False),
    ],
)
def test_an_unknown_recipe(name, nearest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        read_recipe(name)
    assert ("Did you mean 'fashion'?" in str(caught.value)) is nearest


# ---------------------------------------------------------------- a recipe that extends another


def test_a_recipe_changes_the_one_that_it_extends(write):
    write(GOOD + "train: {steps: 2, lr: {vision: 0.5, text: 0.25}}\n", "below.yaml")
    more = "objectives: {denoise: {weight: 1}, anchor: {weight: 1}}\n"
    write(f"extends: below.yaml\ntrain: {{lr: {{vision: 0.125}}}}\n{more}", "middle.yaml")
    path = write("extends: middle.yaml\ntrain: {steps: 3}\nobjectives: {denoise: null}\n")
    recipe = read_recipe(path)
    assert (recipe.name, recipe.train.steps) == ("mine", 3)
    assert (recipe.train.lr.vision, recipe.train.lr.text) == (0.125, 0.25)
    assert list(recipe.active()) == ["anchor", "contrastive"]
    # A run's own recipe stands alone.
    assert "extends" not in recipe.yaml()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("train: {steps: 2}\nextends: fashon\n", r"mine.yaml:2: .*named 'fashon'.*'fashion'"),
        ("extends: [a]\n", r"mine.yaml:1: extends: There is no recipe named"),
        ("extends: mine.yaml\n", r"mine.yaml:1: extends mine.yaml, which extends this recipe"),
        ("extends: fashion\ntrain: {stps: 2}\n", r"mine.yaml:2: no key in train named 'stps'"),
    ],
)
def test_what_cannot_be_extended_is_refused_with_its_line(write, text, problem):
    with pytest.raises(RecipeError, match=problem):
        read_recipe(write(text))


def test_only_a_recipe_file_extends_another(project_file):
    project_file.write_text("extends: fashion\n")
    with pytest.raises(RecipeError, match="unidiff.yaml:1: no key in a recipe named 'extends'"):
        read_recipe("joint", project_file=project_file)
