"""A run's log.jsonl: one JSON object a line, `step` and `loss` on every training line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FILE = "log.jsonl"


def read(run: Path) -> list[dict[str, Any]]:
    """All whole lines; one cut by a crash is left out."""
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
        if isinstance(values, dict):
            lines.append(values)
    return lines


def tail(run: Path, start: int) -> tuple[int, list[dict[str, Any]]]:
    """Where the whole lines end now, in bytes, and those that came after `start`; nothing where the log was trimmed."""
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
    """Adds a line; numbers are rounded to seven digits to keep it readable."""
    short = {k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in values.items()}
    with open(run / FILE, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(short) + "\n")


def trim(run: Path, step: int) -> None:
    """Drops what was logged after a step, since the run continues from there."""
    kept = [json.dumps(line) for line in read(run) if line.get("step", 0) <= step]
    beside = run / f".{FILE}.new"
    beside.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    os.replace(beside, run / FILE)
