"""What a run began with, as hashes: made once by `train` and kept in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unidiff_cli.config.schema import Recipe
from unidiff_cli.models.sources import files_hash
from unidiff_cli.objectives import needs_of
from unidiff_cli.project.files import write_json

FILE = "began.json"


@dataclass(frozen=True)
class Provenance:
    """Hashes of the shards, of the base's files, and of the files that objectives read."""

    shards: str
    weights: str
    # By objective, and by what the file holds.
    inputs: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, recipe: Recipe, shards: str) -> Provenance:
        """As things stand now; it reads every file of the base. Raises UsageError."""
        inputs = {name: objective.inputs() for name, objective in recipe.active().items()}
        return cls(shards, files_hash(recipe.base), {k: v for k, v in inputs.items() if v})

    @classmethod
    def read(cls, run: Path) -> Provenance:
        """As a run began."""
        return cls(**json.loads((run / FILE).read_text(encoding="utf-8")))

    def write(self, run: Path) -> None:
        """Keeps it in the run's folder."""
        write_json(run / FILE, asdict(self))

    def changes(self, now: Provenance) -> list[str]:
        """What is not any more as it was, in words."""
        pairs = {
            "the shards": (self.shards, now.shards),
            "the base's weights": (self.weights, now.weights),
        }
        for objective in {**self.inputs, **now.inputs}:
            before, after = self.inputs.get(objective, {}), now.inputs.get(objective, {})
            for name in {**before, **after}:
                pairs[f"the {objective}'s {name}"] = (before.get(name, ""), after.get(name, ""))
        return [words for words, (before, after) in pairs.items() if before != after]

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """What decides a run's weights beside the shards, for its receipt.

        Where the base's own images are trained on, how they are generated is a part of it.
        """
        generated = needs_of(recipe.active().values()).prior
        return {
            **recipe.training_inputs(),
            **({"generate": recipe.section("generate")["generate"]} if generated else {}),
            "weights": self.weights,
            **({"inputs": self.inputs} if self.inputs else {}),
        }
