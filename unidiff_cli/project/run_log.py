"""The log of a run, log.jsonl: one JSON object a line, `step` and `loss` on every training line.

The only module that knows the file's name and format.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from unidiff_cli.project import files
from unidiff_cli.project.files import write_text

FILE = "log.jsonl"


def read(run: Path) -> list[dict[str, Any]]:
    """All whole lines; one cut by a crash is left out. Empty where there is no log."""
    try:
        return _lines((run / FILE).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def _lines(text: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and isinstance(values.get("step", 0), int):
            lines.append(values)
    return lines


def tail(run: Path, start: int) -> tuple[int, list[dict[str, Any]]]:
    """Where the whole lines end now, in bytes, and the lines after `start`.

    Gives no line where the log was trimmed meanwhile.
    """
    try:
        with open(run / FILE, "rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(min(start, end))
            text = stream.read()
    except OSError:
        return 0, []
    whole = text[: text.rfind(b"\n") + 1]
    return min(start, end) + len(whole), _lines(whole.decode("utf-8", errors="replace"))


def append(run: Path, **values: Any) -> None:
    """Adds a line. Numbers are rounded to seven digits."""
    short = {k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in values.items()}
    with open(run / FILE, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(short) + "\n")


def sync(run: Path) -> None:
    """Brings all lines, and the log's name, to the disk."""
    if (run / FILE).exists():
        files.sync(run / FILE)
        files.sync(run)


def trim(run: Path, step: int) -> None:
    """Drops the lines after a step, since the run continues from there."""
    lines = [json.dumps(line) for line in read(run) if line.get("step", 0) <= step]
    write_text(run / FILE, "".join(f"{line}\n" for line in lines))
