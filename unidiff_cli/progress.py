"""How long work tells that it goes on."""

from __future__ import annotations

from collections.abc import Callable

# Called with a label, how much is done and how much there is.
Progress = Callable[[str, int, int], None]
