"""Errors of the system and of its packages as ours: disk, memory, permissions, missing packages.

Libraries wrap them in classes of their own, so they are looked for in what an error came from too.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from unidiff_cli.errors import EnvironmentProblem, UnidiffError, UsageError

PACKAGE = "unidiff-cli"
FULL = (errno.ENOSPC, errno.EDQUOT)
# Modules that are named otherwise than the package they come in.
PACKAGES = {"PIL": "pillow", "cleanfid": "clean-fid", "faiss": "faiss-cpu", "ruamel": "ruamel.yaml"}
# "(os error 28)" of safetensors, "[Errno 28]" of pyarrow.
_NUMBER = re.compile(r"\b(?:os error|errno) (\d+)", re.IGNORECASE)
# SQLITE_FULL and SQLITE_IOERR as the system's numbers; further bits tell which call failed.
_SQLITE = {13: errno.ENOSPC, 10: errno.EIO}
# What transformers and diffusers put in the place of a class that cannot be imported.
_LIBRARY = re.compile(r"requires the (\S+) library")


def translated(problem: BaseException) -> UnidiffError | None:
    """An error as ours; None for one that is a mistake in a program."""
    if isinstance(problem, UnidiffError):
        return problem
    causes = list(_causes(problem))
    if missing := [each for each in causes if isinstance(each, ImportError)]:
        return missing_package(max(missing, key=lambda each: bool(each.name)))
    if error := system_error(problem):
        return disk_problem(error)
    if any(isinstance(each, MemoryError) or _out_of_memory(each) for each in causes):
        return EnvironmentProblem(
            f"The machine is out of memory: {first_line(problem)}",
            "Lower train.batch_size (or generate.batch_size), or set train.gradient_checkpointing.",
        )
    if isinstance(problem, UnicodeEncodeError):
        return UsageError(
            f"A name holds bytes that are no text: {problem.object[:80]!r}.",
            "Rename it so that it is UTF-8.",
        )
    return None


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """An error and those it was raised from."""
    each: BaseException | None = problem
    while each is not None:
        yield each
        each = each.__cause__


def _out_of_memory(problem: BaseException) -> bool:
    """Whether it is torch's own class, which torch need not be imported for."""
    return type(problem).__name__ == "OutOfMemoryError"


def first_line(problem: BaseException) -> str:
    """What an error says first; its kind where it says nothing."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]


# ---------------------------------------------------------------- the disk


def system_error(problem: BaseException) -> OSError | None:
    """The error of the system behind an error, with its number; None where there is none."""
    for each in _causes(problem):
        if isinstance(each, OSError) and each.errno:
            return each
        if isinstance(each, OSError) or type(each).__name__ == "SafetensorError":
            if number := _NUMBER.search(str(each)):
                return OSError(int(number[1]), os.strerror(int(number[1])))
        # SQLite's class, which need not be imported for that.
        if code := _SQLITE.get(getattr(each, "sqlite_errorcode", 0) & 0xFF):
            return OSError(code, os.strerror(code))
    return None


@contextmanager
def naming(place: Path | str) -> Iterator[None]:
    """Within it an error of the system that names no file names this place."""
    try:
        yield
    except Exception as problem:
        error = None if isinstance(problem, UnidiffError) else system_error(problem)
        if error is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(place)) from problem


def disk_problem(problem: OSError, what: str = "", then: str = "") -> EnvironmentProblem:
    """An error of the system in words: what cannot be read or written, where, and what to do.

    `then` is the sentence of what to do once the disk is well again.
    """
    # Of a copy, a link or a renaming the second name is that of what is written.
    full = problem.errno in FULL
    name = problem.filename2 if full and problem.filename2 else problem.filename
    place = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    reason = problem.strerror or str(problem)
    subject = f"{what} ({place})" if what and place else what or place or "A file"
    fact, again = f"{subject}: {reason}.", then or "Then run it again."
    if full:
        return EnvironmentProblem(f"The disk is full. {fact}", f"Free some space. {again}")
    if problem.errno == errno.EIO:
        fact = f"The disk could not be read or written. {fact}"
        return EnvironmentProblem(fact, f"Check the disk, or work on another one. {again}")
    return EnvironmentProblem(fact, then or "See where it happened with: unidiff --debug …")


# ---------------------------------------------------------------- packages


def missing_package(problem: ImportError) -> EnvironmentProblem:
    """A package that is not there, or not whole, with the command that installs it."""
    library = _LIBRARY.search(str(problem))
    module = (problem.name or (library[1].lower() if library else "")).split(".")[0]
    if module in sys.stdlib_module_names:
        return EnvironmentProblem(
            f"This Python was built without its module {module}.", "Install a complete Python."
        )
    name = PACKAGES.get(module, module.replace("_", "-"))
    requirement = _requirement(name)
    if isinstance(problem, ModuleNotFoundError) or library:
        return EnvironmentProblem(
            f"The package {name} is not installed.", f"Run: pip install {requirement}"
        )
    return EnvironmentProblem(
        f"The package {name or PACKAGE} cannot be loaded: {first_line(problem)}.",
        f"Run: pip install --force-reinstall {requirement}",
    )


def _requirement(name: str) -> str:
    """What pip is to install: the package as we require it, or ours with all that it requires."""
    try:
        required = [line.split(";")[0].strip() for line in requires(PACKAGE) or ()]
    except PackageNotFoundError:
        required = []
    for requirement in required:
        if _normal(re.split(r"[<>=!~\[ (]", requirement)[0]) == _normal(name):
            return f"'{requirement}'"
    return PACKAGE


def _normal(name: str) -> str:
    """A package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
