"""The schema of a recipe: it reads back what it writes, and every key says what it is."""

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.recipes import leaves
from unidiff_cli.config import shipped
from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.schema import recipe_model, recipe_schema
from unidiff_cli.config.sources import read_yaml
from unidiff_cli.config.train import Train

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


parts = st.fixed_dictionaries(
    {},
    optional={
        "anchor": st.fixed_dictionaries({"temperature": st.floats(1e-3, 10)}),
        "contrastive": st.fixed_dictionaries({"weight": st.floats(0, 1e6)}),
        "denoise": st.fixed_dictionaries(
            {"caption_drop": st.floats(0, 1), "snr_gamma": st.none() | st.floats(1e-3, 1e3)}
        ),
        "consistency": st.fixed_dictionaries({"max_timestep": st.integers(1, 1000)}) | st.none(),
    },
).filter(lambda objectives: any(objectives.values()))
printable = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=40)
whole = st.fixed_dictionaries(
    {"objectives": parts},
    optional={
        "name": st.text(
            string.ascii_letters + string.digits + " ._-'\"#:é漢", min_size=1, max_size=30
        ),
        "description": printable,
        "base": printable | st.fixed_dictionaries({"diffusion": printable, "clip": printable}),
        "image_size": st.integers(1, 512).map(lambda n: 8 * n),
        "train": st.fixed_dictionaries(
            {},
            optional={
                "steps": st.integers(1, 10**9) | st.just("auto"),
                "trains": st.lists(st.sampled_from(["vision", "text", "denoiser"]), unique=True),
                "lr": st.fixed_dictionaries({"denoiser": st.floats(0, 1)}),
                "preview_prompts": st.lists(printable, max_size=4),
                "seed": st.integers(0, 2**62),
            },
        ),
        "prepare": st.fixed_dictionaries(
            {
                "where": st.dictionaries(printable, printable, max_size=3),
                "caption": st.none() | printable,
            }
        ),
    },
)


@quick
@given(data=whole)
def test_a_recipe_dumped_as_yaml_loads_to_an_equal_recipe(data, tmp_path):
    recipe = recipe_model().model_validate(data)
    file = tmp_path / "dumped.yaml"
    file.write_text(recipe.yaml(), encoding="utf-8")
    again = read_recipe(str(file))
    assert again.model_dump() == recipe.model_dump()
    assert again.yaml() == recipe.yaml()


def accepts(kind, value, root):
    """A small JSON-schema check: types, keys, enums, references; enough for pydantic's schemas."""
    if "$ref" in kind:
        return accepts(root["$defs"][kind["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in kind:
        return any(accepts(option, value, root) for option in kind["anyOf"])
    if "const" in kind and value != kind["const"] or "enum" in kind and value not in kind["enum"]:
        return False
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    types |= {"boolean": bool, "null": type(None)}
    if "type" in kind and not isinstance(value, types[kind["type"]]):
        return False
    if isinstance(value, dict):
        known = kind.get("properties", {})
        extra = kind.get("additionalProperties", True)
        if any(key not in value for key in kind.get("required", ())):
            return False
        return all(
            accepts(known[k], v, root)
            if k in known
            else bool(extra) and (extra is True or accepts(extra, v, root))
            for k, v in value.items()
        )
    if isinstance(value, list) and "items" in kind:
        return all(accepts(kind["items"], v, root) for v in value)
    return True


def test_the_schema_accepts_the_shipped_recipes_and_refuses_typos():
    schema = json.loads(json.dumps(recipe_schema()))
    assert schema["type"] == "object" and schema["additionalProperties"] is False
    for name, path in shipped.shipped_recipes().items():
        data = read_yaml(path).data
        assert accepts(schema, data, schema), name
        assert not accepts(schema, {**data, "trian": {}}, schema)
        assert not accepts(schema, {**data, "objectives": {"contrastve": {}}}, schema)
    references = [text for text in json.dumps(schema).split('"') if text.startswith("#/$defs/")]
    assert {text.rpartition("/")[2] for text in references} <= set(schema["$defs"])


def test_every_key_has_a_short_description():
    long = {
        key for key, field in leaves(recipe_model()) if not 3 < len(field.description or "") <= 100
    }
    assert long == set()


# ---------------------------------------------------------------- what changes the weights

ASIDE = {
    "workers",
    "trackers",
    "ema_on",
    "cache_latents",
    "keep_checkpoints",
    "checkpoint_every",
    "pace",
    "preview_every",
    "preview_prompts",
    "stop_on_collapse",
    "alpha",
}


def test_training_inputs_leave_out_what_changes_no_weight():
    inputs = read_recipe("fashion").training_inputs()
    assert set(inputs) == {"base", "image_size", "objectives", "train"}
    assert Train.model_fields.keys() - inputs["train"].keys() == ASIDE


@pytest.mark.parametrize(
    ("assignment", "same"),
    [
        ("train.checkpoint_every=7", True),
        ("train.alpha=auto", True),
        ("generate.guidance=2", True),
        ("prepare.seed=3", True),
        ("train.pace.passes=3", True),
        ("train.seed=3", False),
        ("train.schedule=linear", False),
        ("objectives.denoise.weight=2", False),
        ("objectives.consistency=null", False),
        ("image_size=64", False),
    ],
)
def test_training_inputs_change_with_what_changes_the_weights(assignment, same):
    changed = read_recipe("fashion", assignments=[assignment])
    assert (changed.training_inputs() == read_recipe("fashion").training_inputs()) is same
