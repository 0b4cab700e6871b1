"""Receipts: what a finished folder holds and what it was made from, its last file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from unidiff_cli.project.files import digest, write_json

RECEIPT = "receipt.json"
PACKAGES = ("unidiff-cli", "torch", "diffusers", "transformers", "accelerate", "pillow")


def versions() -> dict[str, str]:
    """The versions of the packages that decide results, for receipts and the doctor."""
    numbers = {}
    for name in PACKAGES:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            numbers[name] = "not installed"
    return numbers


@dataclass
class Receipt:
    """What a finished folder holds and what it was made from.

    `settings` are the recipe sections the stage read; `inputs` maps each folder it read to the hash
    of that folder's receipt; `counts` and `figures` are the stage's own. `hash` leaves out time and
    versions, so the same work on the same input has the same hash.
    """

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    counts: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = ""
    versions: dict[str, str] = field(default_factory=versions)

    @property
    def hash(self) -> str:
        timeless = ("seconds", "finished", "versions")
        return digest({k: v for k, v in vars(self).items() if k not in timeless})

    @classmethod
    def read(cls, folder: Path) -> Receipt | None:
        """The folder's receipt, or None where the folder is missing or unfinished."""
        try:
            return cls(**json.loads((folder / RECEIPT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def same_work(self, settings: dict[str, Any], inputs: dict[str, str]) -> bool:
        """Whether the work that is asked for now is the work this receipt closed."""
        return digest([self.settings, self.inputs]) == digest([settings, inputs])


def close(folder: Path, receipt: Receipt, seconds: float) -> None:
    """Writes a folder's receipt, its last file."""
    receipt.seconds = round(seconds, 2)
    receipt.finished = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(folder / RECEIPT, asdict(receipt))
