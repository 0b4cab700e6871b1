"""Fixtures of the command line: the command in this process, and a place to work in."""

import logging
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
