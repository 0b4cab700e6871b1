"""`python -m unidiff_cli.cli` is the `unidiff` command."""

from unidiff_cli.cli import main

main()
