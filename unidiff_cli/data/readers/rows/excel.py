"""An Excel file as rows, by openpyxl, which streams them and needs no other package.

The sizes that the packed parts claim are checked before one is opened; zipfile unpacks no more of a
part than it claims. Formulas give the values that were saved with them; nothing is calculated.
"""

from __future__ import annotations

import datetime
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import IO, Any

from unidiff_cli.config.prepare import Limits, Prepare, TableFile
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows.cells import Cells, Record
from unidiff_cli.data.readers.rows.csv_table import REPEATED, header_of, numbered
from unidiff_cli.data.readers.rows.records import more_cells
from unidiff_cli.data.readers.rows.text_stream import GROWTH
from unidiff_cli.data.readers.rows.titles import ABOVE, titles
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError

HIDDEN = "hidden sheets, read only where prepare.table.sheet names them"
# Parts of the package, and bytes of each in which a document type would stand.
PARTS, BEGINNING = 10_000, 1 << 12
# Empty rows in a row after which a sheet has ended; formats reach to row 1,048,576.
EMPTY = 10_000
# Rows in which the header is looked for, empty ones among them.
BEFORE = 50


def excel_rows(file: Location, options: Prepare, notes: Counter[str]) -> Iterator[Record]:
    """The rows of a sheet.

    Raises WorkError where the file is none, UsageError where several sheets may be meant and
    EnvironmentProblem without openpyxl.
    """
    try:
        import openpyxl
    except ImportError:
        raise EnvironmentProblem(
            f"{file.name} is an Excel file, and openpyxl is not installed.",
            "Install it: pip install 'unidiff-cli[excel]', or save the sheet as CSV.",
        ) from None
    with file.open() as stream:
        _refuse_bombs(file, stream, options.limits)
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        # Damaged parts, of which openpyxl says little.
        except Exception as problem:
            raise _unreadable(file, problem) from problem
        try:
            sheet = _sheet(file, book, options)
            hidden = sum(other.sheet_state != "visible" for other in book.worksheets)
            if hidden and options.table.sheet is None:
                notes[HIDDEN] = hidden
            yield from _rows(file, sheet, options, notes)
        finally:
            book.close()


def empty_formulas(file: Location, options: Prepare) -> list[str]:
    """The columns whose formulas have no stored value, by the first rows; raises as `excel_rows`.

    Programs that write a sheet without Excel store none.
    """
    return list(_empty_formulas(file, file.version, options.table.sheet, options.limits))


@lru_cache(maxsize=16)
def _empty_formulas(
    file: Location, version: str, sheet: str | None, limits: Limits
) -> tuple[str, ...]:
    import openpyxl

    options = Prepare(table=TableFile(sheet=sheet), limits=limits)
    views: list[list[Any]] = []
    for has_values in (True, False):
        with file.open() as stream:
            _refuse_bombs(file, stream, limits)
            book = openpyxl.load_workbook(stream, read_only=True, data_only=has_values)
            try:
                rows = _values(file, _sheet(file, book, options))
                views.append(
                    [row for row in islice(rows, BEFORE) if any(c is not None for c in row)]
                )
            finally:
                book.close()
    formulas = views[1]
    above = titles([_texts(list(row)) for row in formulas])
    header = _texts(list(formulas[above])) if above < len(formulas) else []
    stored = {
        place
        for row in views[0][above + 1 :]
        for place, value in enumerate(row)
        if value is not None
    }
    written = {
        place
        for row in formulas[above + 1 :]
        for place, value in enumerate(row)
        if isinstance(value, str) and value.startswith("=")
    }
    return tuple(name for place, name in enumerate(header) if place in written - stored)


def _refuse_bombs(file: Location, stream: IO[bytes], limits: Limits) -> None:
    """Raises WorkError where the parts are too many, grow too much or declare a document type."""
    most = GROWTH + limits.inflation * file.size
    try:
        with zipfile.ZipFile(stream) as parts:
            entries = parts.infolist()
            if len(entries) > PARTS or sum(entry.file_size for entry in entries) > most:
                raise WorkError(
                    f"{file} grows to more than {most:,} bytes when it is unpacked.",
                    "Allow more with prepare.limits.inflation, or save the sheet as CSV.",
                )
            for entry in entries:
                if entry.filename.endswith((".xml", ".rels")):
                    with parts.open(entry) as part:
                        if b"<!DOCTYPE" in part.read(BEGINNING):
                            raise WorkError(f"{file} declares a document type in its XML.")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as problem:
        raise _unreadable(file, problem) from problem
    stream.seek(0)


def _unreadable(file: Location, problem: BaseException) -> WorkError:
    words = (str(problem).splitlines() or [type(problem).__name__])[0]
    return WorkError(
        f"{file} is not readable as Excel: {words}.", "Save it again, or save the sheet as CSV."
    )


def _sheet(file: Location, book: Any, options: Prepare) -> Any:
    """The sheet that the recipe names, else the only visible one with two rows."""
    wanted = options.table.sheet
    if wanted is not None:
        if wanted not in book.sheetnames:
            raise _which(file, f"has no sheet '{wanted}'", book.sheetnames)
        return book[wanted]
    visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    filled = [sheet for sheet in visible if _has_rows(sheet)]
    if len(filled) > 1:
        raise _which(file, "has several sheets with rows", [sheet.title for sheet in filled])
    if not filled:
        raise WorkError(f"{file} has no visible sheet with rows.", "Name one by its sheet's title.")
    return filled[0]


def _which(file: Location, words: str, names: list[str]) -> UsageError:
    return UsageError(
        f"{file} {words}: {', '.join(names)}.",
        f"Name one: --set 'prepare.table.sheet={names[0]}'",
    )


def _has_rows(sheet: Any) -> bool:
    sheet.reset_dimensions()
    rows = (row for row in sheet.iter_rows(max_row=100, values_only=True))
    return sum(any(cell is not None for cell in row) for row in rows) > 1


def _rows(file: Location, sheet: Any, options: Prepare, notes: Counter[str]) -> Iterator[Record]:
    # What a sheet claims of its size is often wrong.
    sheet.reset_dimensions()
    header: list[str] = []
    first: list[str] = []
    empty = 0
    above = _titles(file, sheet) if options.table.header is None else 0
    if above:
        notes[ABOVE] = above
    for number, values in enumerate(_values(file, sheet), 1):
        cells = [_cell(value) for value in values]
        while cells and cells[-1] in (None, ""):
            cells.pop()
        empty = 0 if cells else empty + 1
        if empty > EMPTY:
            return
        if not cells:
            continue
        if above:
            above -= 1
            continue
        if not header and options.table.header is not False:
            first = _texts(cells)
            header = header_of(file, first, options)
            continue
        if not header:
            header = numbered([""] * len(cells), options, file)
        if _texts(cells) == first:
            notes[REPEATED] += 1
        elif len(cells) > len(header):
            yield number, more_cells(len(cells), len(header))
        else:
            yield number, _named(header, cells)


def _titles(file: Location, sheet: Any) -> int:
    """The filled rows above the header."""
    rows = (_texts(list(values)) for values in islice(_values(file, sheet), BEFORE))
    return titles([row for row in rows if any(map(str.strip, row))])


def _texts(cells: list[Any]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in cells]


def _values(file: Location, sheet: Any) -> Iterator[Any]:
    try:
        yield from sheet.iter_rows(values_only=True)
    # A damaged part, of which openpyxl says little.
    except (ValueError, KeyError, TypeError, SyntaxError, zipfile.BadZipFile, EOFError) as problem:
        raise _unreadable(file, problem) from problem


def _named(header: list[str], cells: list[Any]) -> Cells:
    padded = cells + [None] * (len(header) - len(cells))
    return {
        name: cell
        for name, cell in zip(header, padded, strict=True)
        if cell is not None or not name.startswith("column ")
    }


def _cell(value: Any) -> Any:
    """A value as a person sees it: whole numbers without .0, dates without an empty time."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, datetime.datetime):
        is_date = value.time() == datetime.time()
        return value.date().isoformat() if is_date else value.isoformat(sep=" ")
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return str(value)
    return value
