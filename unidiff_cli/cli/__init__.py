"""The command line: one file holds one group of commands.

In: arguments. Out: calls of the stages, and what they return, as text or JSON.
A new command is a function in one of these files and a line in `program.py`.
"""

import sys


def main() -> None:
    """The command `unidiff`."""
    # The packages that print a sentence may be the missing ones.
    try:
        from unidiff_cli.cli.program import main as run
    except ImportError as problem:
        from unidiff_cli.system import missing_package

        missing = missing_package(problem)
        sys.stderr.write(f"error: {missing.fact}\n{missing.action}\n")
        sys.exit(missing.exit_code)
    run()
