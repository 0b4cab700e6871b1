"""pretraining/ and benchmarks/ stand on the package alone, and not on each other."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.source import ROOT

FOLDERS = {"pretraining": {"benchmarks", "tests"}, "benchmarks": {"pretraining", "tests"}}


def imported_packages(source: str) -> set[str]:
    """The top-level packages that a source imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_beside_the_package_stands_on_the_package_alone(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    offenders = {
        str(path.relative_to(ROOT)): forbidden
        for path in files
        if (forbidden := imported_packages(path.read_text("utf-8")) & FOLDERS[folder])
    }
    assert offenders == {}


def test_the_package_imports_neither():
    offenders = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "unidiff_cli").rglob("*.py"))
        if imported_packages(path.read_text("utf-8")) & {*FOLDERS, "tests"}
    ]
    assert offenders == []


def test_a_planted_import_is_seen():
    source = "def f():\n    from benchmarks import figures\nimport pretraining.data as d\n"
    assert imported_packages(source) == {"benchmarks", "pretraining"}


def test_a_command_names_a_module_that_exists():
    """`python -m pretraining.x` or `benchmarks.x` in a docstring or a card is a file."""
    texts = [
        *(ROOT / "pretraining").rglob("*.py"),
        *(ROOT / "pretraining").rglob("*.md"),
        *(ROOT / "benchmarks").rglob("*.py"),
        *(ROOT / "unidiff_cli" / "models" / "embedded").glob("*/README.md"),
    ]
    modules = {
        module
        for path in texts
        for module in re.findall(r"-m ((?:pretraining|benchmarks)[.\w]*)", path.read_text("utf-8"))
    }
    assert modules
    missing = [m for m in modules if not (ROOT / Path(*m.split("."))).with_suffix(".py").is_file()]
    assert missing == []
