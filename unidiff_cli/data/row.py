"""One prepared sample, and how an Arrow table holds it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Row:
    """One sample as the index knows it; sizes and offsets in bytes within its shard."""

    key: str
    id: str
    split: str
    group: str
    captions: tuple[str, ...]
    attributes: dict[str, Any] = field(hash=False)
    row: str = ""
    # Of the image, relative to the catalogue; "" where it came out of a tar or a table.
    path: str = ""
    width: int = 0
    height: int = 0
    # sha256 of the image's bytes as stored.
    content: str = ""
    phash: str = ""
    shard: str = ""
    image_offset: int = 0
    image_size: int = 0
    image_crc: int = 0
    json_offset: int = 0
    json_size: int = 0
    json_crc: int = 0

    def json(self) -> bytes:
        """What the sample's .json member holds."""
        text = (
            {"caption": self.captions[0]}
            if len(self.captions) == 1
            else {"captions": list(self.captions)}
        )
        # Not the row of the catalogue: it changes with every row before it.
        ours = {"id": self.id, "group": self.group, "split": self.split}
        value = {**text, "attributes": self.attributes, "unidiff": ours}
        return json.dumps(value, allow_nan=False).encode()


def encoded(rows: Sequence[Row]) -> pyarrow.Table:
    """Rows as an Arrow table, a column for each field; attributes as JSON."""
    import pyarrow

    columns = {f.name: [getattr(row, f.name) for row in rows] for f in fields(Row)}
    columns["captions"] = [list(captions) for captions in columns["captions"]]
    columns["attributes"] = [json.dumps(a, allow_nan=False) for a in columns["attributes"]]
    types = {name: arrow_type(name) for name in columns}
    return pyarrow.table(columns, schema=pyarrow.schema(types.items()))


def arrow_type(name: str) -> pyarrow.DataType:
    """What a field is in such a table."""
    import pyarrow

    if name == "captions":
        return pyarrow.list_(pyarrow.string())
    numbers = {f.name for f in fields(Row) if f.type == "int"}
    return pyarrow.int64() if name in numbers else pyarrow.string()


def decoded(name: str, cell: Any) -> Any:
    """A field as a row has it, by the cell of such a table."""
    if name == "captions":
        return tuple(cell)
    return json.loads(cell) if name == "attributes" else cell


def decoded_row(names: Sequence[str], cells: Sequence[Any]) -> Row:
    """A row by its cells."""
    values = dict(zip(names, cells, strict=True))
    values["captions"] = tuple(values["captions"])
    values["attributes"] = json.loads(values["attributes"])
    return Row(**values)
