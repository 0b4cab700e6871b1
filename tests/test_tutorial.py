"""The tutorial: every command of its `bash` blocks runs, in order, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source import ROOT


def commands(text):
    """The lines of a page's `bash` blocks; a line that ends in a backslash goes on."""
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    joined = "".join(blocks).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip()]


@pytest.mark.slow
def test_the_tutorials_commands_run(tmp_path):
    lines = commands((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
    assert len(lines) >= 10
    scripts = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    env.pop("UNIDIFF_PROJECT", None)
    for line in lines:
        done = subprocess.run(
            line, shell=True, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=600
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "unidiff-project" / "report" / "report.html").is_file()


def test_a_command_over_two_lines_is_one():
    assert commands("```bash\na \\\n  b\nc\n```\n```sh\nd\n```\n") == ["a    b", "c"]
