"""YAML from people and from strangers: hostile, odd and broken files are sentences."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.recipes import GOOD, problems
from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.sources import MAX_BYTES, read_yaml
from unidiff_cli.errors import UnidiffError, UsageError

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


BILLION = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
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
def test_hostile_yaml_is_a_sentence(write, text, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = GOOD.encode() + text if isinstance(text, bytes) else GOOD + text
    assert problem in "\n".join(problems(read_recipe, write(text)))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("text", "kind"),
    [("- a\n- b\n", "a list"), ("hello\n", "the value 'hello'"), ("5\n", "the value '5'")],
)
def test_not_a_mapping(write, text, kind):
    [problem] = problems(read_recipe, write(text))
    assert problem.endswith(f":1: keys with values are asked for here, and this is {kind}.")


@pytest.mark.parametrize("key", ["0x]", "str", "literal[a]"])
def test_an_unknown_key_may_look_like_a_name_of_pydantic_s(write, key):
    [problem] = problems(read_recipe, write(f"{GOOD}{key}: 1\n"))
    assert f"no key in a recipe named '{key}'" in problem


def test_odd_but_fine_files(write, tmp_path):
    assert read_recipe(write(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())).active()
    assert read_yaml(tmp_path / write("# nothing\n", "empty.yaml")).data == {}
    assert "objectives is missing" in problems(read_recipe, write(""))[0]
    with pytest.raises(UsageError, match="cannot be read"):
        read_yaml(tmp_path)


# ---------------------------------------------------------------- properties


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
