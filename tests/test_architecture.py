"""The architecture: contracts of imports, parts by convention, model internals, one place per fact.

Each check is a function of a source tree, so that a planted violation shows that it can fail.
"""

import ast
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.support.source import MODULES, PACKAGE, ROOT, parsed
from unidiff_cli import registry
from unidiff_cli.registry import KINDS

PARTS = [(kind, name) for kind in KINDS for name in registry.names(kind)]
BY_NAME = [module for module in MODULES if not module.name.startswith("__")]

# ---------------------------------------------------------------- imports


def lint_imports(root: Path) -> subprocess.CompletedProcess:
    """import-linter's verdict on the package in a folder."""
    pytest.importorskip("importlinter", reason="comes with the extra `dev`")
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, capture_output=True, text=True, cwd=root)


def test_the_contracts_of_imports_hold():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("data/captions.py", "from unidiff_cli.training import trainer", "imports go down"),
        (
            "evaluation/metrics/kid.py",
            "from unidiff_cli.evaluation.metrics import fid",
            "Metrics do not import metrics",
        ),
        (
            "objectives/denoise.py",
            "from unidiff_cli.objectives import prior",
            "Objectives do not import objectives",
        ),
        (
            "training/trainer.py",
            "from unidiff_cli.exporters import export",
            "A stage is no library",
        ),
        (
            "data/sample.py",
            "from unidiff_cli.data import shards\nfrom unidiff_cli.data import sample as itself",
            "No circles",
        ),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path, module, line, contract):
    shutil.copytree(
        PACKAGE, tmp_path / "unidiff_cli", ignore=shutil.ignore_patterns("*.safetensors")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "unidiff_cli" / module
    text = file.read_text(encoding="utf-8")
    if contract == "No circles":
        other = tmp_path / "unidiff_cli" / "data" / "shards.py"
        assert "unidiff_cli.data.sample" not in text
        other.write_text(
            other.read_text(encoding="utf-8")
            + "\nfrom unidiff_cli.data import sample  # planted\n",
            encoding="utf-8",
        )
    file.write_text(f"{text}\n{line}\n", encoding="utf-8")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert any(contract in row and "BROKEN" in row for row in done.stdout.splitlines()), done.stdout


# ---------------------------------------------------------------- names of parts and internals


def quoted_part_names(module: Path, tree: ast.Module) -> list[str]:
    """Part names that stand in quotes outside the part's own file, as `file:line: name`."""
    own = module.stem
    names = {name for kind, name in PARTS if kind in NAMED_KINDS} - ORDINARY_WORDS
    skipped = docstrings(tree)
    return [
        f"{module}:{node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and node.value in names
        and node.value != own
        and (own, node.value) not in HOMONYMS
        and id(node) not in skipped
    ]


# A metric's name is often the key of its figure too, and a reader's a word of plain English.
NAMED_KINDS = ("objectives", "exporters", "indexes", "models")
# Part names that are words of the language of this code, or names of others' libraries and files.
ORDINARY_WORDS = {"diffusers"}
# Names of parts that a file uses for something of its own.
HOMONYMS = {("consistency", "contrastive")}
# A default of a key names a part by design: it is what a recipe says when it says nothing.
DEFAULTS = {Path("unidiff_cli/config") / name for name in ("schema.py", "train.py")}


def docstrings(tree: ast.Module) -> set[int]:
    """The ids of the nodes that are docstrings."""
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }


def test_no_part_is_named_outside_its_own_file():
    quoted = [
        row
        for module in MODULES
        if module not in DEFAULTS
        for row in quoted_part_names(module, parsed(module))
    ]
    assert quoted == []


def test_a_planted_part_name_is_seen():
    tree = ast.parse('"""denoise."""\nif "denoise" in recipe.active(): pass')
    assert quoted_part_names(Path("unidiff_cli/training/trainer.py"), tree) == [
        "unidiff_cli/training/trainer.py:2: 'denoise'"
    ]
    assert quoted_part_names(Path("unidiff_cli/objectives/denoise.py"), tree) == []


INTERNALS = {"unet", "vae", "scheduler", "pipeline", "alphas_cumprod", "abar", "dual_stream"}


def touched_internals(module: Path, tree: ast.Module) -> list[str]:
    """Attributes of a model's inside that a module reads, as `file:line: name`."""
    return [
        f"{module}:{node.lineno}: .{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in INTERNALS
    ]


def test_only_models_touch_a_models_inside():
    touched = [
        row
        for module in MODULES
        if module.parts[1] != "models"
        for row in touched_internals(module, parsed(module))
    ]
    assert touched == []


def test_a_planted_internal_is_seen():
    tree = ast.parse("base.unet.conv_in")
    assert touched_internals(Path("a.py"), tree) == ["a.py:1: .unet"]


def looks_into_another(module: Path, tree: ast.Module) -> list[str]:
    """Calls of `vars(x)` with another object than `self`, as `file:line`."""
    return [
        f"{module}:{node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "vars"
        and not (node.args and isinstance(node.args[0], ast.Name) and node.args[0].id == "self")
    ]


def test_no_module_looks_into_the_attributes_of_another_object():
    assert [row for m in MODULES for row in looks_into_another(m, parsed(m))] == []


def test_a_planted_look_is_seen():
    assert looks_into_another(Path("a.py"), ast.parse("vars(self)\nvars(model)")) == ["a.py:2"]


# ---------------------------------------------------------------- the source


def test_no_file_for_odds_and_ends():
    words = ("util", "common", "helper", "manager", "misc", "legacy")
    assert [str(m) for m in MODULES if any(word in m.stem.lower() for word in words)] == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_says_what_it_is(module):
    docstring = ast.get_docstring(parsed(module))
    assert docstring and len(docstring.splitlines()[0]) > 20 and "TODO" not in docstring


def test_the_top_level_is_the_flow():
    files = {path.name for path in PACKAGE.glob("*.py")}
    foundations = {"errors", "addresses", "filesystems", "machine", "processes", "progress"}
    foundations |= {"signals", "system"}
    assert files == {f"{name}.py" for name in {"__init__", "registry", *foundations}}
    public = set(import_module("unidiff_cli").__all__)
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    # A folder with the name of a public function would replace it once it is imported.
    assert not folders & public


# ---------------------------------------------------------------- parts


def test_a_kind_is_a_folder_of_parts():
    for kind, folder in KINDS.items():
        files = {
            path.stem
            for path in (PACKAGE / folder.replace(".", "/")).glob("*.py")
            if not path.stem.startswith("_")
        }
        assert files and files <= set(registry.names(kind))
    sentence = "no objective named 'contrastve'. Did you mean 'contrastive'"
    with pytest.raises(Exception, match=sentence):
        registry.load("objectives", "contrastve")


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_part_is_a_file_with_a_class_of_its_name(kind, name):
    part = registry.load(kind, name)
    assert part.__name__ == "".join(word.capitalize() for word in name.split("_"))
    assert part.__module__ == f"unidiff_cli.{KINDS[kind]}.{name}"
    assert part.__doc__ and part.__doc__.strip() and part.__doc__ != part.__mro__[1].__doc__
    assert sys.modules[part.__module__].__doc__


@pytest.mark.parametrize("name", registry.names("objectives"))
def test_a_recipe_key_of_a_part_says_what_it_is(name):
    part = registry.load("objectives", name)
    assert issubclass(part, BaseModel)
    base = import_module("unidiff_cli.objectives").Objective
    fields = {
        key: field for key, field in part.model_fields.items() if key not in base.model_fields
    }
    assert [key for key, field in fields.items() if not field.description] == []


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_part_has_a_test_that_names_it(kind, name):
    part = registry.load(kind, name).__name__
    tests = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("*.py")
        if path.name != Path(__file__).name
    ]
    assert any(name in text or part in text for text in tests)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_its_page(kind):
    page = (ROOT / "docs" / "guides" / "extending.md").read_text(encoding="utf-8")
    assert f"`unidiff.{kind}`" in page and f"`{KINDS[kind].replace('.', '/')}/`" in page


def test_tests_mirror_the_package():
    """A folder of tests is a folder of the package, or one of the few that belong to no folder."""
    folders = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").is_file()}
    package = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders - package <= {"support", "parity", "faults", "pretraining", "benchmarks"}


def test_helpers_live_in_support():
    """No test imports from another test file."""
    offenders = [
        f"{path}: {node.module}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("tests.")
        and not node.module.startswith("tests.support")
    ]
    assert offenders == []
