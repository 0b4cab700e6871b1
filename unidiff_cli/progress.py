"""The types of progress callbacks, which every long stage takes, and how a duration is said."""

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


def time_left(seconds: float) -> str:
    """A duration as people say it: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
