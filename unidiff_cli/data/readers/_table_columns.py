"""Which column of a table is what, and where the files are that its image column names.

Columns are found by their names and by what they hold (values that are files), or mapped by
`prepare.columns.*`; `prepare.columns.split: ''` says that there is none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers._cells import Cells
from unidiff_cli.data.sample import IMAGE_SUFFIXES
from unidiff_cli.data.splits import SPLITS
from unidiff_cli.errors import UsageError, nearest

# Where the images of a table may lie, from its own folder, and what their names may lack.
FOLDERS = ("", "images", "image", "imgs", "img", "photos", "pictures")
ENDINGS = ("", ".jpg", ".jpeg", ".png", ".webp")
# Rows looked at for images that are files.
FILES = 50


class TableColumns:
    """The columns of a table, understood from its first rows.

    `roles` maps image, caption, id, product and split to a column, or to None. Raises UsageError
    where images or captions have no column, or a column of the recipe is not there.
    """

    def __init__(self, table: Location, head: Sequence[Cells], options: Prepare) -> None:
        self.table, self.options = table, options
        self.head = head
        self.names = list(dict.fromkeys(name for cells in self.head for name in cells))
        if len(self.names) > options.limits.columns:
            raise UsageError(
                f"{table} has {len(self.names):,} columns, more than {options.limits.columns:,}.",
                f"Allow more: --set prepare.limits.columns={len(self.names)}",
            )
        self.roles: dict[str, str | None] = dict.fromkeys(ROLES)
        # The folder and the ending that make a cell a file.
        self._place = ("", "")
        if self.head:
            self._understand()

    def decisions(self) -> dict[str, str]:
        """The column of each role that has one."""
        template = f'"{self.options.caption}"' if self.options.caption else None
        roles = self.roles | ({"caption": template} if template else {})
        return {f"{role} column": column for role, column in roles.items() if column}

    def describe(self) -> list[str]:
        """The columns in lines for a person."""
        columns = [f"{role.split()[0]} = {column}" for role, column in self.decisions().items()]
        lines, (folder, ending) = [f"columns: {', '.join(columns)}"], self._place
        roles = self.roles | ({"caption": None} if self.options.caption else {})
        if others := [name for name in self.names if name not in roles.values()]:
            lines.append(f"kept as attributes: {', '.join(others)}")
        if folder or ending:
            pattern = os.path.join(folder, f"<{self.roles['image']}>") + ending
            lines.append(f"images are found as {pattern}")
        return lines

    def cell(self, role: str, cells: Cells) -> Any:
        """A row's cell of a role; None where no column has it."""
        return cells.get(self.roles[role] or "")

    def image_path(self, cell: str) -> str:
        """The path from the table's folder that a cell of the image column means."""
        folder, ending = self._place
        return os.path.normpath(os.path.join(folder, cell + ending))

    def holds_images(self) -> bool:
        """Whether the images lie in the table itself."""
        return bool(self.head) and image_bytes(self.cell("image", self.head[0])) is not None

    def _understand(self) -> None:
        for role in ROLES:
            self.roles[role] = self._mapped(role)
        self._find_images()
        images = self.roles["image"]
        for role in ("caption", "id", "product", "split"):
            if self.roles[role] is None and not (role == "caption" and self.options.caption):
                named = [c for c in self._named(role) if c != images]
                self.roles[role] = next((c for c in named if self._fits(role, c)), None)
            elif self.roles[role] == "":
                self.roles[role] = None
        self._check()

    def _mapped(self, role: str) -> str | None:
        """The column the recipe maps to a role. Raises UsageError where there is none."""
        column: str | None = getattr(self.options.columns, role)
        if column and column not in self.names:
            raise self._missing(f"prepare.columns.{role}", column)
        return column

    def _missing(self, key: str, column: str) -> UsageError:
        return UsageError(
            f"{key} is '{column}', but {self.table.name} has no such column."
            f"{nearest(column, self.names)}",
            f"Its columns: {', '.join(self.names)}.",
        )

    def _named(self, role: str) -> list[str]:
        """The columns whose names mean a role, likeliest first."""
        plain = {
            re.sub(r"[^a-z0-9]+", "_", column.strip().lower()): column
            for column in reversed(self.names)
        }
        return [plain[name] for name in ROLES[role] if name in plain]

    def _find_images(self) -> None:
        """Sets the image column and where its values are files.

        They may lie beside the table or in images/ and the like, with or without their ending.
        """
        mapped = self.roles["image"]
        named = [mapped] if mapped else list(dict.fromkeys([*self._named("image"), *self.names]))
        hits, column, place = 0, "", ("", "")
        for folder, ending in ((folder, ending) for ending in ENDINGS for folder in FOLDERS):
            if folder and not self.table.sibling(folder).is_folder():
                continue
            for name in named:
                cells = (row.get(name) for row in self.head[:FILES])
                more = sum(self._is_image(cell, folder, ending) for cell in cells)
                if more > hits + (2 if hits else 0):
                    hits, column, place = more, name, (folder, ending)
            # No other place can hold more of them.
            if hits == len(self.head[:FILES]):
                break
        if not mapped:
            self.roles["image"] = column or next(iter(self._named("image")), None)
        self._place = place

    def _is_image(self, cell: Any, folder: str, ending: str) -> bool:
        if image_bytes(cell) is not None:
            return True
        name = "" if isinstance(cell, dict) else file_name(cell) + ending
        if not name or len(name) > 1000 or "\0" in name:
            return False
        if PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES:
            return False
        # A link that leads out is an image too; its rows say that it is refused.
        return self.table.parent.child(folder).child(name).kind() in ("file", "outside")

    def _fits(self, role: str, column: str) -> bool:
        """Whether a column that has the right name holds the right thing."""
        values = [captions.cell_text(cells.get(column)) for cells in self.head]
        values = [value for value in values if value]
        if role == "split":
            return any(value.lower() in SPLITS for value in values)
        if role == "product":
            # In some tables 'product' names a kind of goods; such groups would be the splits.
            return len(set(values)) >= min(len(values), max(3, 0.05 * len(values)))
        return bool(values)

    def _check(self) -> None:
        columns = f"Its columns: {', '.join(self.names)}. "
        if self.roles["image"] is None:
            raise UsageError(
                f"{self.table.name} has no column that names images.",
                columns + "Map one: --set prepare.columns.image=COLUMN",
            )
        for column in self.options.where:
            if column not in self.names:
                raise self._missing("prepare.where", column)
        if self.options.caption:
            for column in captions.fields(self.options.caption):
                if column not in self.names:
                    raise self._missing("A column of prepare.caption", column)
        elif self.roles["caption"] is None:
            raise UsageError(
                f"{self.table.name} has no caption column.",
                columns + "Map one: --set prepare.columns.caption=COLUMN, "
                "or several: --set 'prepare.caption=\"{name} in {color}\"'",
            )


def file_name(cell: Any) -> str:
    """A cell as a file's name: as written, blanks and all."""
    return cell if isinstance(cell, str) and cell.strip() else captions.cell_text(cell)


def image_bytes(cell: Any) -> bytes | None:
    """The image itself, where a cell holds it, as Hugging Face's parquet does."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return bytes(data) if isinstance(data, bytes | bytearray) else None


def without_bytes(value: Any) -> Any:
    """A row without the images in it, so that many fit into memory."""
    if isinstance(value, dict):
        return {k: without_bytes(v) for k, v in value.items()}
    return value[:8] if isinstance(value, bytes | bytearray) else value
