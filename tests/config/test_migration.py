"""A recipe with old names is refused, and the message has the new name of each, with its line."""

import pytest

from tests.support.recipes import GOOD, problems
from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.migration import KEYS, VALUES
from unidiff_cli.config.run_recipe import read_run_recipe
from unidiff_cli.config.schema import recipe_model
from unidiff_cli.config.sources import ConfigSource
from unidiff_cli.project.files import digest

OLD = """\
schema_version: 1
objectives:
  contrastive: {weight: 1.0}
  consistency:
    tap: mid
    below: 300
    eta: 1.0
train:
  trains: [vision, unet, heads]
  lr:
    unet: 1.0e-4
    heads: 1.0e-3
"""


def test_an_old_recipe_gets_the_new_name_of_every_key_and_value(write):
    name = write(OLD)
    assert problems(read_recipe, name) == [
        f"{name}:1: schema_version 1 is an old schema. "
        "Rename what is named here, then write schema_version: 2.",
        f"{name}:5: objectives.consistency.tap is now objectives.consistency.layer.",
        f"{name}:6: objectives.consistency.below is now objectives.consistency.max_timestep.",
        f"{name}:7: objectives.consistency.eta is now objectives.consistency.anchor_weight.",
        f"{name}:9: heads in train.trains is now new_layers.",
        f"{name}:9: unet in train.trains is now denoiser.",
        f"{name}:11: train.lr.unet is now train.lr.denoiser.",
        f"{name}:12: train.lr.heads is now train.lr.new_layers.",
    ]


def renamed(text):
    """The old recipe with every name as the messages give it."""
    names = [(old.rpartition(".")[2], new.rpartition(".")[2]) for old, new in KEYS.items()]
    for old, new in [("schema_version: 1", "schema_version: 2"), *names]:
        text = text.replace(old, new)
    return text


def test_the_recipe_is_valid_once_the_messages_are_followed(write):
    recipe = read_recipe(write(renamed(OLD)))
    assert recipe.train.lr.denoiser == 1e-4 and recipe.train.trains[1:] == (
        "denoiser",
        "new_layers",
    )


def test_an_old_recipe_without_renamed_keys_needs_only_the_version(write):
    name = write("schema_version: 1\nobjectives: {denoise: {}}\n")
    assert problems(read_recipe, name) == [
        f"{name}:1: schema_version 1 is an old schema. Write schema_version: 2."
    ]


@pytest.mark.parametrize(("old", "new"), KEYS.items())
def test_an_old_key_in_a_new_recipe_gets_its_new_name(write, old, new):
    keys = old.split(".")
    text = "".join("  " * depth + f"{key}:\n" for depth, key in enumerate(keys))
    name = write("schema_version: 2\n" + text.replace(f"{keys[-1]}:\n", f"{keys[-1]}: 1\n"))
    line = len(keys) + 1
    assert f"{name}:{line}: {old} is now {new}." in problems(read_recipe, name)


def test_old_names_in_every_source_are_named_at_once(write, tmp_path):
    project_file = tmp_path / "unidiff.yaml"
    project_file.write_text("schema_version: 1\ntrain:\n  lr: {unet: 0}\n")
    name = write(GOOD + "train:\n  lr: {unet: 0}\n")
    numbers = ConfigSource("base/base.yaml", {"train": {"lr": {"unet": 0}}})
    sentences = problems(
        read_recipe,
        name,
        project_file=project_file,
        environ={"UNIDIFF_TRAIN__LR__HEADS": "0"},
        assignments=["train.trains=[unet]"],
        defaults=lambda base: (base, numbers),
    )
    assert sentences == [
        "--set: unet in train.trains is now denoiser.",
        f"{name}:5: train.lr.unet is now train.lr.denoiser.",
        "base/base.yaml: train.lr.unet is now train.lr.denoiser.",
        "environment:UNIDIFF_TRAIN__LR__HEADS: train.lr.heads is now train.lr.new_layers.",
        "unidiff.yaml:1: schema_version 1 is an old schema. "
        "Rename what is named here, then write schema_version: 2.",
        "unidiff.yaml:3: train.lr.unet is now train.lr.denoiser.",
    ]


def test_other_problems_of_an_old_recipe_are_named_too(write):
    name = write("schema_version: 1\nobjectives: {denoise: {}}\ntrain:\n  lr:\n    unet: 7\n")
    sentences = problems(read_recipe, name)
    assert f"{name}:5: train.lr.unet is now train.lr.denoiser." in sentences
    assert any(line.startswith(f"{name}:5: train.lr.denoiser is 7;") for line in sentences)


@pytest.mark.parametrize("key", [*KEYS.values(), *VALUES])
def test_every_new_name_is_a_key_of_the_schema(key):
    model = recipe_model()
    for part in key.split("."):
        assert part in model.model_fields
        field = model.model_fields[part]
        options = getattr(field.annotation, "__args__", (field.annotation,))
        model = next((kind for kind in options if hasattr(kind, "model_fields")), None)


@pytest.mark.parametrize(
    "text",
    [
        "objectives: {consistency: null}\n",
        "train: null\n",
        "train: {lr: 5}\n",
        "train: {trains: unet}\n",
        "train: {trains: [[unet]]}\n",
        "train: {trains: {unet: 1}}\n",
        "schema_version: [1]\n",
    ],
)
def test_an_odd_shape_is_left_to_the_schema(write, text):
    assert not any("is now" in line for line in problems(read_recipe, write(text)))


def test_a_run_of_an_older_unidiff_keeps_its_names(tmp_path):
    """Its recipe may not be edited: the run holds a digest of it."""
    text = "schema_version: 2\nobjectives: {denoise: {}}\ntrain: {gradient_cosine_every: 7}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = read_run_recipe(tmp_path, digest(text))
    assert recipe.train.measure_gradients_every == 7
