"""The package's source as trees, and fresh interpreters."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "unidiff_cli"
MODULES = sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))


@cache
def parsed(module: Path) -> ast.Module:
    """A module's syntax tree; `module` is relative to the checkout."""
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def run_python(code: str, *arguments: str, **options) -> str:
    """The standard output of a fresh interpreter in the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
