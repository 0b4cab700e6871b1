"""JSON lines: an object a line, each read alone. One array under that ending is read as .json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from json import JSONDecoder

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows import json_layouts as layouts
from unidiff_cli.data.readers.rows import text_stream
from unidiff_cli.data.readers.rows.cells import Cells, Record, cells_of, decoder, not_json
from unidiff_cli.data.readers.rows.json_table import json_rows
from unidiff_cli.data.readers.rows.text_stream import Letters
from unidiff_cli.data.sample import Reason


def json_lines(file: Location, options: Prepare, notes: Counter[str]) -> Iterator[Record]:
    """The rows of a file of JSON lines."""
    letters = text_stream.letters_of(file, options)
    decode = decoder(notes)
    is_first = True
    for number, text in text_stream.lines(file, options, newline="\n"):
        if text is None:
            most = options.limits.row
            words = f"the line is longer than {most:,} characters (prepare.limits.row)"
            yield number, Reason(words)
        elif text.strip():
            if is_first and text.lstrip().startswith("["):
                yield from json_rows(file, options, notes)
                return
            cells = _object(text, letters, decode, notes)
            if not isinstance(cells, Reason) and layouts.is_action(cells):
                notes[layouts.ACTIONS] += 1
                continue
            yield number, cells if isinstance(cells, Reason) else layouts.row_of(cells, notes)
        is_first = is_first and not (text and text.strip())


def _object(
    text: str, letters: Letters, decode: JSONDecoder, notes: Counter[str]
) -> Cells | Reason:
    """A line as a row, or why it is none."""
    if not text_stream.well_read(text):
        mended = text_stream.mend(text, letters)
        if mended is None:
            return Reason(f"bytes that are no text in {letters.describe()}")
        notes[f"lines that are not UTF-8, read as {letters.describe().split()[-1]}"] += 1
        text = mended
    try:
        return cells_of(decode.decode(text.strip().removesuffix(",")))
    except RecursionError:
        return not_json(ValueError("nested too deeply"))
    except ValueError as problem:
        return not_json(problem)
