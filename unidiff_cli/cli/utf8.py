"""Python's UTF-8 mode, in any locale.

Tables, captions and recipes are UTF-8, and so are the names in them. In another locale, such as C,
Python cannot open a file of the name `größe.jpg` or read the argument `crème`.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable
from contextlib import suppress


def enter() -> None:
    """Starts this process again in UTF-8 mode, where its locale has another encoding.

    The process keeps its number. The processes that it starts are in UTF-8 mode too.
    """
    encoding = sys.getfilesystemencoding()
    was_tried = os.environ.get("PYTHONUTF8") == "1"
    if is_utf8(encoding) or was_tried or not sys.executable:
        return
    given = sys.argv[1:]
    # What stands before our own arguments: the script, or -m and the module.
    ahead = sys.orig_argv[1 : len(sys.orig_argv) - len(given)]
    start = map(os.fsencode, (sys.executable, "-X", "utf8", *ahead))
    environment = {**os.environ, "PYTHONUTF8": "1"}
    if codecs.lookup(encoding).name != "ascii":
        # The terminal of such a locale shows its own encoding.
        environment.setdefault("PYTHONIOENCODING", encoding)
    # Where it cannot be started again, it goes on as it is.
    with suppress(OSError):
        os.execve(sys.executable, [*start, *as_utf8(given, encoding)], environment)


def is_utf8(encoding: str | None) -> bool:
    """Whether a name of an encoding means UTF-8."""
    return bool(encoding) and codecs.lookup(encoding or "").name == "utf-8"


def as_utf8(arguments: Iterable[str], encoding: str) -> list[bytes]:
    """Arguments that Python decoded by a locale's encoding, in UTF-8.

    Bytes that are UTF-8 already, and those of a file that is there, stay as they are.
    """
    return [_as_utf8(argument, encoding) for argument in arguments]


def _as_utf8(argument: str, encoding: str) -> bytes:
    data = argument.encode(encoding, "surrogateescape")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        is_file = os.path.lexists(data)
        return data if is_file else argument.encode("utf-8", "surrogateescape")
    return data
