"""What needs no torch loads none, and `--help` is quick."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source import ROOT, run_python

HEAVY = {
    "torch",
    "torchvision",
    "transformers",
    "diffusers",
    "accelerate",
    "webdataset",
    "numpy",
    "PIL",
    "pyarrow",
    "pydantic",
}
LOADED = """
import sys
sys.argv = ["unidiff", *sys.argv[1:]]
from unidiff_cli import cli
try:
    cli.main()
finally:
    sys.stderr.write(" ".join({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["train", "--help"], ["nonsense"], ["recipes", "show", "fashion"]],
)
def test_what_needs_no_torch_loads_none(arguments):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    # typer reads arguments with pydantic
    heavy = HEAVY if arguments[0].startswith("--") else HEAVY - {"pydantic"}
    assert "unidiff_cli" in loaded and not loaded & heavy


def test_a_recipe_is_checked_without_torch():
    code = (
        "from unidiff_cli.config.load import read_recipe\nread_recipe('fashion')\n"
        "import sys\nprint(*sys.modules)"
    )
    assert not {"torch", "diffusers", "transformers", "numpy"} & set(run_python(code).split())


def test_a_catalogue_is_prepared_without_torch(tmp_path, catalogue):
    code = (
        "import sys\nfrom unidiff_cli import Project, prepare\n"
        "from unidiff_cli.config.load import read_recipe\n"
        "settings = read_recipe('fashion', assignments=['prepare.workers=1'])\n"
        "prepare(Project(sys.argv[1]), settings, sys.argv[2])\n"
        "print(*(m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules))"
    )
    assert run_python(code, str(tmp_path / "project"), str(catalogue)).split() == []


def test_help_is_quick():
    """The rule is 0.3 s, warm. CPU time is held, since the machine may be busy with other work."""
    command = [str(Path(sys.executable).parent / "unidiff"), "--help"]
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) <= 0.5


@pytest.mark.parametrize("kind", ["objectives", "readers", "metrics"])
def test_parts_load_without_torch(kind):
    code = (
        "import sys\nfrom unidiff_cli import registry\n"
        f"for name in registry.names({kind!r}): registry.load({kind!r}, name)\n"
        "heavy = ('torch', 'diffusers', 'transformers', 'accelerate')\n"
        "print(*(module for module in heavy if module in sys.modules))"
    )
    assert run_python(code).split() == []


@pytest.mark.parametrize(("given", "expected"), [(None, "1000"), ("5", "5")])
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(given, expected):
    environment = {
        k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    }
    environment |= {"GOMP_SPINCOUNT": given} if given else {}
    code = (
        "import sys, os, unidiff_cli; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    assert run_python(code, env=environment).split() == [expected, "False"]


def test_whoever_reads_a_base_s_interface_loads_no_library_of_models():
    """Each loader process does, and the libraries take seconds."""
    loaded = run_python(
        "import sys, unidiff_cli.models.base; "
        "print(*({n.split('.')[0] for n in sys.modules} & {'diffusers', 'transformers'}))"
    )
    assert loaded.strip() == ""
