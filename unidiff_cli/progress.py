"""The types of progress callbacks, which every long stage takes."""

from __future__ import annotations

from collections.abc import Callable

# Called with a label, how much is done and how much there is.
Progress = Callable[[str, int, int], None]
# The same without a label.
Counter = Callable[[int, int], None]


def labelled(progress: Progress | None, label: str) -> Counter | None:
    """The callback for one labelled part of the work; None where nobody listens."""
    if progress is None:
        return None
    return lambda done, total: progress(label, done, total)
