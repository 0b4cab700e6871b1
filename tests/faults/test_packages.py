"""A package that is missing is a sentence with the command that installs it, exit code 3."""

import importlib.metadata
import subprocess
import sys

import pytest

from tests.support.cli import on_tiny_base
from tests.support.projects import copy_project
from unidiff_cli.system import missing_package, translated

# Runs the command as on a machine without one module.
WITHOUT = """
import importlib.abc, sys
gone = sys.argv[1]
class Gone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == gone or name.startswith(gone + "."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())
sys.argv = ["unidiff", *sys.argv[2:]]
from unidiff_cli.cli import main
main()
"""
# Module, package, a command that needs it.
QUICK = [
    ("typer", "typer", "status"),
    ("rich", "rich", "status"),
    ("pydantic", "pydantic", "recipes list"),
    ("ruamel", "ruamel-yaml", "recipes list"),
    ("psutil", "psutil", "doctor"),
    ("numpy", "numpy", "prepare CATALOGUE"),
    ("PIL", "pillow", "prepare CATALOGUE"),
    ("pyarrow", "pyarrow", "prepare CATALOGUE --force"),
    ("resvg_py", "resvg-py", "sample-catalog shop"),
]
STREAMED = "--set train.streaming=true --set train.cache_latents=false"
SLOW = [
    ("torch", "torch", "doctor"),
    ("jinja2", "jinja2", "prepare CATALOGUE --force"),
    ("matplotlib", "matplotlib", "prepare CATALOGUE --force"),
    ("torchvision", "torchvision", "generate dress"),
    ("diffusers", "diffusers", "generate dress"),
    ("transformers", "transformers", "generate dress"),
    ("huggingface_hub", "huggingface-hub", "generate dress"),
    ("safetensors", "safetensors", "retrieve dress"),
    ("accelerate", "accelerate", "train --force"),
    ("tensorboard", "tensorboard", "train --force"),
    ("webdataset", "webdataset", f"train {STREAMED}"),
    ("cleanfid", "clean-fid", "evaluate --set evaluate.metrics=[kid]"),
    ("scipy", "scipy", "evaluate --set evaluate.metrics=[kid]"),
]


def without(module, project, line, folder):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, "-C", str(project), *line.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def refused(module, package, line, project, catalogue, folder):
    code, _, err = without(module, project, line.replace("CATALOGUE", str(catalogue)), folder)
    assert code == 3, err
    assert "Traceback" not in err
    *_, fact, action = err.strip().splitlines()
    assert fact.replace(".", "-").endswith(f"The package {package} is not installed-"), fact
    assert action.startswith("Run: pip install ")
    assert package in action.replace(".yaml", "-yaml") or "unidiff-cli" in action


@pytest.mark.parametrize(("module", "package", "line"), QUICK)
def test_it_is_named(prepared, catalogue, tmp_path, module, package, line):
    refused(module, package, line, copy_project(prepared, tmp_path).root, catalogue, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "package", "line"), SLOW)
def test_it_is_named_behind_a_library(
    finished, tiny_base, catalogue, tmp_path, module, package, line
):
    project = on_tiny_base(copy_project(finished, tmp_path), tiny_base)
    refused(module, package, line, project.root, catalogue, tmp_path)


def test_the_requirement_is_that_of_our_own_package():
    required = importlib.metadata.requires("unidiff-cli")
    pillow = next(line for line in required if line.startswith("pillow"))
    problem = missing_package(ModuleNotFoundError("No module named 'PIL'", name="PIL"))
    assert problem.action == f"Run: pip install '{pillow}'"


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (ModuleNotFoundError("No module named 'regex'", name="regex"), "pip install unidiff-cli"),
        (ModuleNotFoundError("No module named '_lzma'", name="_lzma"), "a complete Python"),
        (ImportError("libcudart.so: no such file", name="torch"), "--force-reinstall 'torch"),
        (ImportError("CLIPImageProcessor requires the Torchvision library but"), "'torchvision"),
    ],
)
def test_each_kind_of_import_error_has_its_command(problem, text):
    error = translated(problem)
    assert error.exit_code == 3 and text in error.action


def test_a_library_that_hides_it_is_looked_through():
    try:
        try:
            raise ModuleNotFoundError("No module named 'scipy'", name="scipy")
        except ImportError as problem:
            raise RuntimeError("Failed to import diffusers.x") from problem
    except RuntimeError as problem:
        assert "The package scipy is not installed." in translated(problem).fact
