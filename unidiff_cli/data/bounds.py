"""What one piece of work may cost the process that does it: processor seconds and memory.

Code in C cannot be interrupted, so work that takes too long ends its process. Work that takes too
much memory gets a MemoryError, where the system counts it (Linux).
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def processor_seconds(most: int) -> Iterator[None]:
    """Ends this process when the block takes more processor time; 0: it may take any."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_memory(more: int) -> None:
    """Lets this process take so many bytes more than it has now; 0: any."""
    held = _data_bytes()
    if not more or held is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = held + more if hard == resource.RLIM_INFINITY else min(held + more, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _data_bytes() -> int | None:
    """Bytes of this process that RLIMIT_DATA counts; None where the system does not say."""
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            sizes = dict(line.split(":", 1) for line in status)
        return int(sizes["VmData"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None
