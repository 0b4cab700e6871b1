"""unidiff: adapt CLIP and Stable Diffusion together to your own catalogue.

    from unidiff_cli import Project, Recipe, prepare, train, export, index, evaluate, compare, generate, retrieve

The names load on first use, so `import unidiff_cli` is cheap and torch waits until a stage needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Project": "project.project",
    "Recipe": "config.schema",
    "load_recipe": "models.sources",
    "prepare": "data.prepare",
    "train": "training.train",
    "export": "exporters.export",
    "index": "retrieval.build",
    "evaluate": "evaluation.evaluate",
    "compare": "evaluation.evaluate",
    "generate": "generation.generate",
    "retrieve": "retrieval.retrieve",
}
__all__ = ["__version__", *_WHERE]

if TYPE_CHECKING:
    from unidiff_cli.config.schema import Recipe as Recipe
    from unidiff_cli.project.project import Project as Project


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"unidiff_cli.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'unidiff_cli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
