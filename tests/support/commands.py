"""Fixtures of the command line: the command in this process, and a place to work in."""

import logging
import os
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image

from tests.support.cli import on_tiny_base
from unidiff_cli import Project
from unidiff_cli.cli import console, program


@pytest.fixture
def unidiff(monkeypatch, capfd):
    """Runs the command in this process: exit code, standard output, standard error."""
    logger = logging.getLogger("unidiff")
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    monkeypatch.setattr(program, "QUIET", {})
    monkeypatch.delenv("UNIDIFF_PROJECT", raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unidiff", *map(str, arguments)])
        capfd.readouterr()
        with warnings.catch_warnings():
            code = program.run()
        output = capfd.readouterr()
        return code, output.out, output.err

    yield run
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)
    console.quiet_notes = False


@pytest.fixture
def workplace(tmp_path, monkeypatch, tiny_base):
    """The current directory: an empty project, an image, a text and an empty folder."""
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path / "project")
    project.root.mkdir()
    on_tiny_base(project, tiny_base)
    Image.new("RGB", (8, 8)).save("foreign.png")
    Path("note.txt").write_text("hello")
    Path("empty").mkdir()
    return tmp_path


def in_a_fork(folder, *arguments):
    """The command in a fork of this process: exit code, and what it printed, by way of `folder`.

    A fork has loaded all libraries, and leaves nothing behind in this process.
    """
    file = folder / "printed.txt"
    if (pid := os.fork()) == 0:
        code = 1
        try:
            with open(file, "w", encoding="utf-8") as printed:
                os.dup2(printed.fileno(), 1)
                os.dup2(printed.fileno(), 2)
                sys.stdout = sys.stderr = printed
                sys.argv = ["unidiff", *map(str, arguments)]
                code = program.run()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, file.read_text(encoding="utf-8")
