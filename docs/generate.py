"""Writes the pages that the code determines: `python docs/generate.py`, or `--check` to compare.

docs/reference/cli.md               the commands, from the command line itself
docs/reference/recipe-keys.md       every recipe key with type, default and meaning
docs/reference/report.schema.json   the JSON schema of report.json
docs/architecture.md                the annotated tree between its two markers
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "unidiff_cli"
BEGIN, END = "<!-- tree -->\n", "<!-- end of tree -->\n"
# Folders of data: their files are no modules.
DATA = {
    "models/embedded",
    "reports/templates",
    "data/prompts",
    "service/static",
    "service/templates",
}


def first_sentence(module: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.splitlines()[0].removesuffix(".") if docstring else ""


def tree() -> str:
    """The package as an indented list: folders, then files, each with its first sentence."""
    lines = ["```text", "unidiff_cli/"]

    def walk(folder: Path, depth: int) -> None:
        entries = sorted(folder.iterdir(), key=lambda entry: (entry.is_dir(), entry.name))
        for entry in entries:
            name = entry.relative_to(PACKAGE).as_posix()
            if entry.is_dir() and (entry / "__init__.py").is_file():
                lines.append(_line(f"{entry.name}/", first_sentence(entry / "__init__.py"), depth))
                walk(entry, depth + 1)
            elif name in DATA:
                lines.append(_line(f"{entry.name}/", "data, no code", depth))
            elif entry.suffix == ".py" and entry.name not in ("__init__.py", "__main__.py"):
                lines.append(_line(entry.name, first_sentence(entry), depth))

    walk(PACKAGE, 1)
    return "\n".join([*lines, "```", ""])


def _line(name: str, sentence: str, depth: int) -> str:
    return f"{'  ' * depth + name:<30} {sentence}"


def architecture() -> str:
    """docs/architecture.md with the tree of today between its markers."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + tree() + END + rest.partition(END)[2]


def commands() -> str:
    """The command line as Markdown, by typer."""
    arguments = ["unidiff_cli.cli.program", "utils", "docs", "--name", "unidiff"]
    done = subprocess.run(
        [sys.executable, "-m", "typer", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout


def recipe_keys() -> str:
    """Every key of a recipe as Markdown tables."""
    from unidiff_cli.config.reference import page

    return page()


def report_schema() -> str:
    """The JSON schema of report.json."""
    from unidiff_cli.reports.schema import Report

    return json.dumps(Report.model_json_schema(), indent=2) + "\n"


PAGES = {
    "docs/architecture.md": architecture,
    "docs/reference/cli.md": commands,
    "docs/reference/recipe-keys.md": recipe_keys,
    "docs/reference/report.schema.json": report_schema,
}


def main() -> int:
    """Writes every page, or with `--check` names those that differ. Gives the exit code."""
    differing = []
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            differing.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if "--check" in sys.argv and differing:
        print(f"{', '.join(differing)} is not what the code says. Run: make docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
