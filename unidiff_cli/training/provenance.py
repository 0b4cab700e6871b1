"""What a run began with, mostly as hashes: made once by `train` and kept in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from unidiff_cli.config.run_recipe import read_run_recipe, recipe_digest, write_run_recipe
from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import Damaged, NotReady
from unidiff_cli.models.sources import files_hash
from unidiff_cli.objectives import needs_of
from unidiff_cli.project.files import write_json
from unidiff_cli.training.precision import precision_of

FILE = "began.json"


@dataclass(frozen=True)
class Provenance:
    """Hashes of the recipe, the shards, the base's files and what objectives read."""

    recipe: str
    shards: str
    weights: str
    # By objective, and by what the file holds.
    inputs: Mapping[str, Mapping[str, str]]
    # The precision of its first steps, which decides no other hash. Empty: nobody noted it.
    precision: str = ""

    @classmethod
    def of(cls, recipe: Recipe, shards: str) -> Provenance:
        """As things stand now; it reads every file of the base. Raises UsageError."""
        inputs = {name: objective.inputs() for name, objective in recipe.active().items()}
        inputs = {name: files for name, files in inputs.items() if files}
        return cls(
            recipe_digest(recipe),
            shards,
            files_hash(recipe.base),
            inputs,
            precision_of(recipe.train),
        )

    @classmethod
    def read(cls, run: Path) -> Provenance:
        """As a run began. Raises NotReady for one that never did, Damaged for a broken file."""
        try:
            return TypeAdapter(cls).validate_json((run / FILE).read_bytes())
        except FileNotFoundError:
            raise NotReady(
                f"Run {run.name} never began: it has no {FILE}.", "Run: unidiff train"
            ) from None
        except (OSError, ValueError) as problem:
            raise Damaged(
                f"{FILE} of run {run.name} is not what was written.",
                "Put the file back as it was, or begin another run: unidiff train",
            ) from problem

    def write(self, run: Path, recipe: Recipe) -> None:
        """Keeps it in the run's folder, after the recipe: a run that has it has begun."""
        write_run_recipe(run, recipe)
        write_json(run / FILE, asdict(self))

    def recipe_of(self, run: Path) -> Recipe:
        """The recipe that the run began with. Raises Damaged where its file holds another."""
        return read_run_recipe(run, self.recipe)

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
