"""Models in the formats that other programs load: one format is one file in `formats/`.

In: a base that holds a run's best weights. Out: a folder in `exports/` with a model card.
A new format is one class in one file of `formats/`; `unidiff export --format NAME` writes it.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from unidiff_cli.config.schema import Recipe
from unidiff_cli.config.values import Section
from unidiff_cli.data.buckets import Size
from unidiff_cli.models.guidance import Guidance

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel


class Exporter(Section):
    """A format of exports. `description` completes the sentence "This folder is …"."""

    description: ClassVar[str]
    # What the front matter of a model card says: which library loads it, and for which task.
    library_name: ClassVar[str | None] = None
    pipeline_tag: ClassVar[str | None] = None
    # Whether the folder can be a base again. Then it is what the other stages read.
    is_base: ClassVar[bool] = False

    def check(self, base: BaseModel) -> None:  # noqa: B027
        """Raises UsageError for a base that this format cannot hold, before anything is written."""

    @abstractmethod
    def write(self, base: BaseModel, folder: Path) -> None:
        """Writes the base into an empty folder, and nothing outside it."""

    def usage(self, name: str, recipe: Recipe, guidance: Guidance, size: Size) -> str:
        """Markdown for the model card: how another program loads the folder `name`.

        Its images are guided so, and of this size, by default.
        """
        return ""
