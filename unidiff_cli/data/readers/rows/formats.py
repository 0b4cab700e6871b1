"""Tables as rows of cells, whatever file they are in, each row numbered and none lost.

`read` yields (number, cells) or (number, reason): a row that cannot be read costs itself and no
other. The limits of a recipe bound each row: its characters, its columns, and how deep it nests.
Cells that only say that there is nothing (nan, None, N/A) are nothing, and counted.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.columns import words as words_of
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows import text_stream
from unidiff_cli.data.readers.rows.cells import Record, bounded, missing_note, without_missing
from unidiff_cli.data.readers.rows.csv_table import csv_rows
from unidiff_cli.data.readers.rows.dialect import dialect_doubts, dialect_of
from unidiff_cli.data.readers.rows.excel import empty_formulas, excel_rows
from unidiff_cli.data.readers.rows.json_lines import json_lines
from unidiff_cli.data.readers.rows.json_table import json_rows
from unidiff_cli.data.readers.rows.parquet import parquet_rows
from unidiff_cli.data.readers.rows.records import is_of_dialect
from unidiff_cli.data.readers.rows.token_table import is_tokens, token_rows
from unidiff_cli.data.readers.rows.xml_feed import is_feed, xml_rows
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Reason, unreadable
from unidiff_cli.errors import UnidiffError, UsageError, WorkError

_TEXT = (".csv", ".tsv", ".tab", ".psv", ".jsonl", ".ndjson", ".json")
SUFFIXES = (*_TEXT, ".parquet", ".xlsx", *(f"{suffix}.gz" for suffix in _TEXT))
# Other endings of the same kinds.
ALIASES = {"tab": "tsv", "psv": "csv"}
# Files of these endings are tables only where they hold one: captions.txt, feed.xml.
PERHAPS = (".txt", ".token", ".xml", ".xml.gz")
# Files of separated columns, and captions as Flickr8k has them.
_SEPARATED, TOKENS = ("csv", "tsv", "txt"), "token"
# Rows of a .txt that are looked at.
ROWS = 20
# The share of the first rows that do not fit the header, above which it is no header.
MISREAD = 0.8
# The share of a caption column that says nan, None and the like above which it is doubtful.
NOTHING = 0.05


def read(
    file: Location,
    options: Prepare,
    notes: Counter[str] | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[Record]:
    """The rows of a table, numbered; a row that cannot be read as its reason.

    Of a parquet only these columns are read, where they are named.

    Raises WorkError where the file as a whole is unreadable or has no rows, UsageError without a
    header.
    """
    notes = Counter() if notes is None else notes
    is_empty = True
    try:
        for number, cells in _records(file, options, notes, names):
            is_empty = False
            row = cells if isinstance(cells, Reason) else bounded(cells, options.limits)
            yield number, row if isinstance(row, Reason) else without_missing(row, notes)
    except OSError as problem:
        raise WorkError(f"{unreadable(problem, str(file)).text}.") from problem
    except (EOFError, zlib.error) as problem:
        raise WorkError(f"{file} cannot be unpacked: {problem}.") from problem
    except UnicodeError as problem:
        raise WorkError(f"{file} is not valid text: {problem}.", "Save it as UTF-8.") from problem
    if is_empty:
        words = "is empty" if file.size == 0 else "has no rows"
        raise WorkError(f"{file} {words}.", "Export it again, or name another table.")


def _records(
    file: Location, options: Prepare, notes: Counter[str], names: Sequence[str] | None
) -> Iterator[Record]:
    kind = _form_of(file, options)
    if kind == "parquet":
        return parquet_rows(file, options.limits, notes, names)
    if kind == TOKENS:
        return token_rows(file, options, notes)
    readers = {"json": json_rows, "xlsx": excel_rows, "xml": xml_rows}
    reader = json_lines if kind in ("jsonl", "ndjson") else readers.get(kind, csv_rows)
    return reader(file, options, notes)


def kind_of(file: Location) -> str:
    """The ending of a table without its dot; that of what is packed in a .gz."""
    kind = PurePosixPath(file.name.lower().removesuffix(text_stream.PACKED)).suffix[1:]
    return ALIASES.get(kind, kind)


def _form_of(file: Location, options: Prepare) -> str:
    """The ending of a table, or what it holds where that ending says too little."""
    kind = kind_of(file)
    return TOKENS if kind in (*_SEPARATED, "token") and is_tokens(file, options) else kind


def is_table(file: Location, options: Prepare) -> bool:
    """Whether a file is a table, by its ending; a text or XML by what it holds."""
    name = file.name.lower()
    if name.endswith(PERHAPS):
        return is_feed(file, options) if kind_of(file) == "xml" else _is_text_table(file, options)
    return name.endswith(SUFFIXES)


def _is_text_table(file: Location, options: Prepare) -> bool:
    """Whether a .txt is a table with a column of images, such as Flickr8k's captions.txt."""
    try:
        rows = [row for _, row in islice(read(file, options), ROWS)]
    except UnidiffError:
        return False
    cells = [row for row in rows if not isinstance(row, Reason)]
    if len(cells) > 0.8 * len(rows) and _form_of(file, options) == TOKENS:
        return True
    if len(cells) <= 0.8 * len(rows) or not cells or len(cells[0]) < 2:
        return False
    names = [name for name in cells[0] if _may_be_images(name)]
    filled = [
        [str(row[name]).strip() for row in cells if str(row.get(name) or "").strip()]
        for name in names
    ]
    # A row of what several products share has no image.
    return any(
        2 * len(images) > len(rows)
        and sum(PurePosixPath(i).suffix.lower() in IMAGE_SUFFIXES for i in images)
        > 0.8 * len(images)
        for images in filled
    )


def _may_be_images(name: str) -> bool:
    """Whether a column is called image or file_name, or has the word image in its name."""
    return name.strip().lower() in ROLES["image"] or "image" in words_of(name)


# ---------------------------------------------------------------- how it is read


def describe(file: Location, options: Prepare) -> str:
    """How a table is read, in words. Raises WorkError where it cannot be opened."""
    words = decisions(file, options)
    if "separator" in words:
        words["separator"] = f"columns separated by a {words['separator']}"
    return ", ".join([kind_of(file), *words.values()])


def decisions(file: Location, options: Prepare) -> dict[str, str]:
    """What decides how a table is read: a label and a few words each."""
    kind = kind_of(file)
    if kind in ("parquet", "xlsx", "xml"):
        return {}
    try:
        words = {"encoding": text_stream.letters_of(file, options).describe()}
        if _form_of(file, options) == TOKENS:
            words["lines"] = "lines of a name, # with a number, a tab and a caption"
        elif kind in _SEPARATED:
            words |= dialect_of(file, options).decisions()
        return words
    except (OSError, EOFError, zlib.error) as problem:
        raise WorkError(f"{file} cannot be read: {problem}.") from problem


def refuse_unusable(file: Location, options: Prepare, usable: int, bad: Sequence[Reason]) -> None:
    """Raises WorkError where of the first rows none can be used, or few by the file's dialect."""
    rows, of_dialect = usable + len(bad), sum(map(is_of_dialect, bad))
    if not bad or (usable and of_dialect < MISREAD * rows):
        return
    (reason, count), *_ = Counter(reason.counted_as for reason in bad).most_common(1)
    many = f"{len(bad):,} of" if usable else "None of"
    can = "cannot" if usable else "can"
    action = "Export it again, or name another table."
    if of_dialect and _form_of(file, options) in _SEPARATED:
        action = (
            "Say how it is written: --set prepare.table.separator=semicolon (or comma, tab, bar, "
            "any character), or with prepare.table.quoting and prepare.table.header."
        )
    raise WorkError(
        f"{many} the first {rows:,} rows of {file} {can} be used; {count:,}: {reason}.", action
    )


def explained(problem: UsageError, file: Location, options: Prepare) -> UsageError:
    """What is wrong with the columns of a table, where formulas without values explain it."""
    doubts = _formula_doubts(file, options)
    return UsageError(f"{problem.fact} {doubts[0].fact}", doubts[0].action) if doubts else problem


def _formula_doubts(file: Location, options: Prepare) -> list[Doubt]:
    names = empty_formulas(file, options) if kind_of(file) == "xlsx" else []
    if not names:
        return []
    columns = ", ".join(f"'{name}'" for name in names[:5])
    return [
        Doubt(
            f"Columns of {file.name} hold formulas without stored values, read as empty: "
            f"{columns}.",
            "Open the file in Excel or LibreOffice and save it, which stores them.",
        )
    ]


def doubts(
    file: Location, options: Prepare, notes: Counter[str], caption: str | None, rows: int
) -> list[Doubt]:
    """What is doubtful of a table after a pass of so many rows; `caption` is its column."""
    found: list[Doubt] = []
    kind = kind_of(file)
    if kind not in ("parquet", "xlsx", "xml"):
        found += text_stream.letters_doubts(file, text_stream.letters_of(file, options))
    if kind in _SEPARATED and _form_of(file, options) != TOKENS:
        found += dialect_doubts(file, dialect_of(file, options))
    found += _formula_doubts(file, options)
    nothing = notes[missing_note(caption)] if caption else 0
    if nothing > NOTHING * rows:
        found.append(
            Doubt(
                f"{nothing:,} of {rows:,} captions in '{caption}' say nan, None, N/A or the like.",
                "These rows have no caption. Map another column, or a template: prepare.caption",
            )
        )
    return found
