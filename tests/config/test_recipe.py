"""Recipes: layers, every problem at once with its line, hostile YAML, and the loader under hypothesis."""

import json
import shutil
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unidiff_cli.config import schema, shipped
from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.schema import recipe_schema
from unidiff_cli.config.shipped import remember_recipe
from unidiff_cli.config.sources import MAX_BYTES, read_yaml
from unidiff_cli.errors import RecipeError, UnidiffError, UsageError
from unidiff_cli.project.project import STARTER

SHIPPED = sorted(shipped.shipped_recipes())
GOOD = "schema_version: 2\nobjectives:\n  contrastive: {weight: 1.0}\n"
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def write(tmp_path):
    """Writes a recipe file and gives its path as `load` takes it."""

    def write(text, name="mine.yaml"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(file)

    return write


def problems(call, *args, **kwargs):
    with pytest.raises(RecipeError) as caught:
        call(*args, **kwargs)
    assert caught.value.exit_code == 2
    return caught.value.problems


# ---------------------------------------------------------------- layers


def test_later_layers_win_and_each_sets_only_its_own_keys(write, tmp_path):
    mine = tmp_path / "unidiff.yaml"
    name = write(GOOD + "train: {steps: 2, batch_size: 12, warmup: 12, clip_norm: 2.0, ema: 0.2}\n")
    mine.write_text(
        f"schema_version: 2\nrecipe: {name}\ntrain: {{batch_size: 13, warmup: 13, clip_norm: 3.0}}\n"
    )

    found = read_recipe(
        project_file=mine,
        environ={
            "UNIDIFF_TRAIN__WARMUP": "14",
            "UNIDIFF_TRAIN__CLIP_NORM": "4",
            "HOME": "/",
            "UNIDIFF_PROJECT": "x",
        },
        assignments=["train.clip_norm=5"],
        defaults=lambda base: (
            base,
            {"image_size": 64, "train": {"steps": 1, "ema": 0.1, "weight_decay": 0.01}},
        ),
    )

    train = found.train
    assert (train.steps, train.batch_size, train.warmup, train.clip_norm, train.ema) == (
        2,
        13,
        14,
        5.0,
        0.2,
    )
    assert (train.weight_decay, found.image_size) == (
        0.01,
        64,
    )  # the base's own, where nobody says otherwise
    assert train.validate_every == 100  # the model's own, where not even the base does


def test_the_environment_sets_top_level_keys_too(write):
    assert (
        read_recipe(
            write(GOOD), environ={"UNIDIFF_BASE": "nano", "UNIDIFF_IMAGE_SIZE": "64"}
        ).image_size
        == 64
    )
    [said] = problems(read_recipe, write(GOOD), environ={"UNIDIFF_TRAIN__STEPZ": "1"})
    assert (
        said
        == "environment:UNIDIFF_TRAIN__STEPZ: no key in train named 'stepz'. Did you mean 'steps'?"
    )


def test_the_name_in_force(write, tmp_path):
    mine = tmp_path / "unidiff.yaml"
    mine.write_text("recipe: joint\n")
    assert read_recipe().name == "fashion"
    assert read_recipe(project_file=mine).name == "joint"
    assert read_recipe("sd-only", project_file=mine).name == "sd-only"
    assert read_recipe(write(GOOD)).name == "mine"
    mine.write_text("recipe: mine.yaml\n")
    assert read_recipe(project_file=mine).name == "mine"  # a path in unidiff.yaml is beside it


def test_null_switches_an_objective_off(write, tmp_path):
    mine = tmp_path / "unidiff.yaml"
    mine.write_text("objectives: {consistency: null}\n")
    assert set(read_recipe("fashion", project_file=mine).active()) == {"contrastive", "denoise"}
    assert set(read_recipe("fashion", assignments=["objectives.denoise=null"]).active()) == {
        "contrastive",
        "consistency",
    }
    [said] = problems(read_recipe, "sd-only", assignments=["objectives.denoise=null"])
    assert "at least one objective" in said


def test_values_of_set(write):
    assignments = [
        "train.lr.denoiser=1e-5",
        "train.trains=[denoiser, text]",
        "train.steps=1e3",
        "prepare.where={view: main}",
    ]
    found = read_recipe(write(GOOD), assignments=assignments)
    assert (
        found.train.lr.denoiser == 1e-5
        and found.train.trains == ("denoiser", "text")
        and found.train.steps == 1000
    )
    assert found.prepare.where == {"view": "main"}


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


def test_every_problem_at_once_with_its_line_and_the_nearest_name(write, tmp_path):
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
    mine = tmp_path / "unidiff.yaml"
    mine.write_text("train:\n  warmpu: 3\n")

    found = problems(read_recipe, name, project_file=mine, assignments=["train.batch_size=1"])

    assert found == [
        "--set: train.batch_size is 1; input should be greater than or equal to 2.",
        f"{name}:3: no objective named 'contrastve'. Did you mean 'contrastive'?",
        f"{name}:4: no key in objectives.denoise named 'caption_drp'. Did you mean 'caption_drop'?",
        f"{name}:6: train.steps is -3; input should be greater than or equal to 1.",
        f"{name}:7: train.ema is 7; input should be less than or equal to 1.",
        f"{name}:9: evaluate.metrics: there is no metric named 'recal'. Did you mean 'recall'?",
        "unidiff.yaml:2: no key in train named 'warmpu'. Did you mean 'warmup'?",
    ]


def test_a_key_of_the_file_is_not_blamed_on_a_set_beside_it(write):
    name = write(GOOD + "train:\n  stepz: 5\n")
    [said] = problems(read_recipe, name, assignments=["train.steps=5"])
    assert said.startswith(f"{name}:5: no key in train")


@pytest.mark.parametrize(
    ("text", "said"),
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
        (GOOD + "prepare: {splits: [0.5, 0.1, 0.1]}\n", "add up to 0.7"),
        (GOOD + "train: {ema: .nan}\n", "train.ema is nan"),
        (GOOD + "train: {weight_decay: .inf}\n", "train.weight_decay is inf"),
        (GOOD + "train: {weight_decay: 1.0e999}\n", "finite"),
        (GOOD + "train: {weight_decay: 1e999}\n", "finite"),
        (GOOD + "train: {seed: -1}\n", "train.seed is -1"),
        (GOOD + "name: ../../etc\n", "name is '../../etc'"),
        (
            GOOD + "base: {difusion: x, clip: y}\n",
            "no key in base named 'difusion'. Did you mean 'diffusion'?",
        ),
        (GOOD + "base: [1, 2]\n", "base is"),
        (GOOD + "base: null\n", "base is"),
    ],
)
def test_values_that_mean_nothing(write, text, said):
    from unidiff_cli.models import sources

    for layer in ({}, {"defaults": sources.base_defaults}):
        assert any(said in line for line in problems(read_recipe, write(text), **layer))


def test_a_base_that_is_not_there(write):
    from unidiff_cli.models import sources

    for base in ("nanoo", "~nobody-of-this-name/base", "x" * 300):
        with pytest.raises(UsageError, match="base"):
            read_recipe(write(GOOD), assignments=[f"base={base}"], defaults=sources.base_defaults)


@pytest.mark.parametrize(
    "name", ["fashon", "no/such.yaml", "~nobody-of-this-name/x.yaml", "", ".."]
)
def test_unknown_recipes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not name:
        return
    with pytest.raises(UsageError) as caught:
        read_recipe(name)
    assert ("Did you mean 'fashion'?" in str(caught.value)) is (name == "fashon")


# ---------------------------------------------------------------- hostile YAML

BILLION = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("description: !!python/object/apply:os.system ['touch pwned']\n", "tagged"),
        ("train: !!python/object:dict {steps: 5}\n", "tagged"),
        ("train: !mine {steps: 5}\n", "tagged !mine"),
        ("description: !mine x\n", "tagged !mine"),
        ("description: !!binary aGVsbG8=\n", "description"),
        ("description: 2024-01-01\n", "holds a"),
        (BILLION, "10,000 values"),
        ("train: &a {steps: *a}\n", "train.steps is None"),
        ("train: " + "[" * 30 + "]" * 30 + "\n", "20 levels"),
        ("train: {steps: 1, steps: 2}\n", ":4: this is not valid YAML: found duplicate key"),
        ("train: " + "[" * 900 + "\n", "nested too deep"),
        ("train: " + "[" * 50_000 + "\n", "brackets"),
        ("- " * 40_000 + "\n", ""),
        ("x: " + "a" * 2_000_000, f"{MAX_BYTES:,} bytes"),
        (b"description: \xff\xfe\n", "not valid YAML"),
        (b"description: \x00\n", "not valid YAML"),
        ("train: {steps: 5\n", "not valid YAML"),
        ("a: b: c\n", ":4: this is not valid YAML"),
        ("seed: " + "9" * 5000 + "\n", "not valid YAML"),
        ("---\nb: 1\n", "not valid YAML"),
        ("<<: {train: {stepz: 5}}\n", "no key in train named 'stepz'"),
    ],
)
def test_hostile_yaml_is_a_sentence(write, text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = GOOD.encode() + text if isinstance(text, bytes) else GOOD + text
    assert said in "\n".join(problems(read_recipe, write(text)))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("text", "kind"), [("- a\n- b\n", "Seq"), ("hello\n", "str"), ("5\n", "int")]
)
def test_not_a_mapping(write, text, kind):
    [said] = problems(read_recipe, write(text))
    assert ":1: a recipe is a mapping" in said and kind in said


def test_odd_but_fine_files(write, tmp_path):
    assert read_recipe(write(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())).active()
    assert read_yaml(tmp_path / write("# nothing\n", "empty.yaml")).data == {}
    assert "objectives is missing" in problems(read_recipe, write(""))[0]
    with pytest.raises(UsageError, match="cannot be read"):
        read_yaml(tmp_path)


# ---------------------------------------------------------------- properties

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
).filter(lambda found: any(found.values()))
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
                "steps": st.integers(1, 10**9),
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
    made = schema.recipe_model().model_validate(data)
    file = tmp_path / "dumped.yaml"
    file.write_text(made.yaml(), encoding="utf-8")
    again = read_recipe(str(file))
    assert again.model_dump() == made.model_dump()
    assert again.yaml() == made.yaml()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads_and_loads_again(name, write):
    made = read_recipe(name)
    assert made.schema_version == 2 and made.description and made.active()
    assert read_recipe(write(made.yaml())).model_dump() == made.model_dump()


@quick
@given(
    junk=st.binary(max_size=200)
    | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass"))
)
def test_junk_raises_nothing_but_our_own_errors(junk, tmp_path):
    file = tmp_path / "junk.yaml"
    file.write_bytes(junk)
    with pytest.raises(UnidiffError):
        read_recipe(str(file))  # nobody types a recipe by accident: it has to have an objective
    try:
        read_yaml(file)
    except UnidiffError:
        pass


yamlish = st.lists(
    st.sampled_from(
        [
            "a: ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            "&a ",
            "*a",
            "!t ",
            "!!python/none ",
            "|\n",
            ">",
            "'",
            '"',
            "? ",
            ": ",
            ", ",
        ]
        + [
            "<<: ",
            "\n",
            "  ",
            "#",
            "%YAML 1.1\n",
            "---\n",
            "0x",
            "1e5",
            "~",
            "2024-01-01",
            "=",
            "\t",
            "\\",
            "é",
            "train",
        ]
    ),
    max_size=24,
).map("".join)


@quick
@given(text=yamlish)
def test_near_yaml_raises_nothing_but_our_own_errors(text, tmp_path):
    file = tmp_path / "junk.yaml"
    file.write_text(GOOD + text, encoding="utf-8")
    for call in (
        lambda: read_recipe(str(file)),
        lambda: read_recipe("fashion", assignments=[f"train.steps={text}"]),
    ):
        try:
            call()
        except UnidiffError:
            pass


# ---------------------------------------------------------------- schema, copies, the kept name


def accepts(kind, value, root):
    """A small JSON-schema check: types, keys, enums, references; enough for what pydantic writes for us."""
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
    found = json.loads(json.dumps(recipe_schema()))
    assert found["type"] == "object" and found["additionalProperties"] is False
    for name, path in shipped.shipped_recipes().items():
        data = read_yaml(path).data
        assert accepts(found, data, found), name
        assert not accepts(found, {**data, "trian": {}}, found)
        assert not accepts(found, {**data, "objectives": {"contrastve": {}}}, found)
    refs = {r.rpartition("/")[2] for r in json.dumps(found).split('"') if r.startswith("#/$defs/")}
    assert refs <= set(found["$defs"])


def test_copy_refuses_to_overwrite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = shipped.copy_recipe("fashion")
    assert made.read_bytes() == shipped.shipped_recipes()["fashion"].read_bytes()
    made.write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        shipped.copy_recipe("fashion")
    assert made.read_text() == "mine"
    shipped.copy_recipe("fashion", force=True)
    assert made.read_text() != "mine"
    (tmp_path / "folder").mkdir()
    assert shipped.copy_recipe("joint", tmp_path / "folder") == tmp_path / "folder" / "joint.yaml"
    assert shipped.copy_recipe("joint", tmp_path / "new" / "a.yaml").is_file()


@pytest.mark.parametrize(
    "before",
    [
        STARTER,
        "# only comments\n# of mine",
        "",
        "train: {steps: 5}  # mine\n",
        "recipe: joint",
        "train:\n    steps:   5   # odd   spacing stays\nrecipe:   'joint'   # mine\nlist:\n- a\n- b\n",
        "recipe: joint\r\ntrain: {steps: 5}\r\n",
        "recipe:\n  joint\ntrain: {steps: 5}\n",
        "{recipe: joint, train: {steps: 5}}\n",
        "recipe: jo#int\n",
        "recipe: null\n",
        "preview: |\n  recipe: fake\nrecipe: joint\n",
    ],
)
@pytest.mark.parametrize("name", ["fashion", "product", "null", "1e5"])
def test_keep_name_changes_the_name_and_nothing_else(before, name, tmp_path):
    file = tmp_path / "unidiff.yaml"
    file.write_bytes(before.encode())
    was = read_yaml(file).data
    remember_recipe(file, name)
    assert read_yaml(file).data == {**was, "recipe": name}
    kept = file.read_bytes().decode()
    for line in before.splitlines():
        assert line.partition(" #")[2] in kept  # every comment
        if not line.startswith(("recipe", "{")) and "joint" not in line:
            assert line in kept
    assert not list(tmp_path.glob(".*"))
    remember_recipe(file, name)
    assert file.read_bytes().decode() == kept


def test_keep_name_of_a_file_is_found_from_anywhere(write, tmp_path, monkeypatch):
    write(GOOD)
    (tmp_path / "deep").mkdir()
    project_file = tmp_path / "deep" / "unidiff.yaml"
    project_file.write_text(STARTER)
    monkeypatch.chdir(tmp_path)
    remember_recipe(project_file, "mine.yaml")
    monkeypatch.chdir("/")
    assert read_recipe(project_file=project_file).name == "mine"


def test_shipped_is_found_in_a_wheel_and_in_a_checkout_alike(tmp_path, monkeypatch):
    assert "fashion" in SHIPPED
    package = tmp_path / "unidiff_cli"
    shutil.copytree(shipped.shipped_folder(), package / "recipes")
    monkeypatch.setattr(schema, "__file__", str(package / "recipe.py"))
    assert (
        shipped.shipped_folder() == package / "recipes"
        and sorted(shipped.shipped_recipes()) == SHIPPED
    )
