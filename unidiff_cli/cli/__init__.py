"""The command line: one file holds one group of commands.

In: arguments. Out: calls of the stages, and what they return, as text or JSON.
A new command is a function in one of these files and a line in `program.py`.
"""

import sys

from unidiff_cli import signals
from unidiff_cli.cli import utf8
from unidiff_cli.errors import Interrupted


def main() -> None:
    """The process `unidiff`. It handles signals before the program loads, which takes a while."""
    utf8.enter()
    signals.start()
    try:
        code = _run()
        signals.check()
        signals.finish()
    except Interrupted as problem:
        signals.finish()
        from unidiff_cli.cli import console

        console.show_error(problem)
        code = problem.exit_code
    sys.exit(code)


def _run() -> int:
    """The program's exit code. The packages that print a sentence may be the missing ones."""
    try:
        from unidiff_cli.cli import program
    except ImportError as problem:
        from unidiff_cli.system import missing_package

        missing = missing_package(problem)
        sys.stderr.write(f"error: {missing.fact}\n{missing.action}\n")
        return missing.exit_code
    return program.run()
