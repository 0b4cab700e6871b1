"""unidiff: adapt CLIP and Stable Diffusion together to your own catalogue.

    from unidiff_cli import Project, Recipe, load_recipe
    from unidiff_cli import prepare, train, export, index, evaluate, compare, generate, retrieve
    from unidiff_cli import Client, Generator, Part, QueryEncoder, Retriever

The names load on first use, so `import unidiff_cli` is cheap, and torch waits until a stage needs
it.
"""

import os
import sys

# Before torch loads: its threads sleep soon while they wait for each other. They would spin, and
# where another program holds a core that stops them, not it. Who sets a variable decides.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# While `python -m unidiff_cli.cli` starts, the working directory stands first on the path, and it
# may be a stranger's catalogue. It may also be the checkout that this package lies in.
if (
    sys.argv[:1] == ["-m"]
    and not sys.flags.safe_path
    and f"{sys.path[0]}/unidiff_cli" != __path__[0]
):
    del sys.path[0]

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = {
    "Project": "project.project",
    "Recipe": "config.schema",
    "load_recipe": "models.sources",
    "prepare": "data.prepare",
    "train": "training.train",
    "export": "exporters.export",
    "index": "retrieval.build",
    "push": "retrieval.push",
    "evaluate": "evaluation.evaluate",
    "compare": "evaluation.evaluate",
    "generate": "generation.generate",
    "Generator": "generation.generator",
    "retrieve": "retrieval.retrieve",
    "Retriever": "retrieval.retriever",
    "QueryEncoder": "retrieval.query_encoder",
    "Part": "retrieval.composition",
    "Client": "service.client",
}
__all__ = ["__version__", *_MODULES]

if TYPE_CHECKING:
    from unidiff_cli.config.schema import Recipe as Recipe
    from unidiff_cli.project.project import Project as Project


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"unidiff_cli.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'unidiff_cli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
