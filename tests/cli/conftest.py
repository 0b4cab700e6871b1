"""The command in this process, a place to work in, and projects that name the tiny base."""

import logging
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image

from tests.support.cli import on_tiny_base
from tests.support.projects import copy_project
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


@pytest.fixture
def project(tmp_path, prepared, tiny_base):
    """A prepared project of this test's own."""
    return on_tiny_base(copy_project(prepared, tmp_path), tiny_base)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, finished, tiny_base):
    """A project of this module's own, with an export and an index."""
    return on_tiny_base(copy_project(finished, tmp_path_factory.mktemp("cli")), tiny_base)
