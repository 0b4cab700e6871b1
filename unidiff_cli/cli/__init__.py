"""The command line: one file holds one group of commands.

In: arguments. Out: calls of the stages, and what they return, as text or JSON.
A new command is a function in one of these files and a line in `program.py`.
"""

from unidiff_cli.cli.program import app, main

__all__ = ["app", "main"]
