"""TODO docstring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unidiff_cli.config.schema import Recipe
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt

if TYPE_CHECKING:
    pass

from unidiff_cli.models import sources

BEGAN = "began.json"  # in a run's folder: the hashes of what it began with
CHANGES = {
    "shards": "the shards",
    "weights": "the base's weights",
    "captions": "the prior's captions",
}


def _began(recipe: Recipe) -> dict[str, str]:
    """What a run begins with beside the shards: hashes of the base's weights and of the prior's captions. Raises UsageError."""
    prior = recipe.active().get("prior")
    return {"weights": sources.files_hash(recipe.base)} | (
        {"captions": digest(prior.read())} if prior else {}
    )


def _settings(recipe: Recipe, began: dict[str, str]) -> dict[str, Any]:
    """What decides a run's weights, and how its prior's images were drawn."""
    how = recipe.generate
    drawn = {"prior": [how.steps, how.guidance]} if "prior" in recipe.active() else {}
    return {**recipe.training_inputs(), **drawn, **began}


def _same(project: Project, recipe: Recipe, inputs: dict[str, str]) -> tuple[str, Receipt] | None:
    """The newest finished run of this very work."""
    settings = _settings(recipe, _began(recipe))
    for name in reversed(project.runs()):
        receipt = Receipt.read(project.path("runs", name))
        if receipt and receipt.same_work(settings, inputs):
            return name, receipt
    return None
