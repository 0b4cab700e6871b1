"""Arrays in .npy files that tell whether they are whole: their last bytes are a sha256 of the rest.

numpy reads such a file as any other. The cache is written without a receipt, so each of its files
has to vouch for itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

DIGEST_BYTES = hashlib.sha256().digest_size
# Bytes read at a time.
BLOCK = 1 << 20
# Files that this process found whole, as they were then.
_whole: set[tuple[str, int, int, int]] = set()


def seal_array(file: Path) -> None:
    """Appends the digest to a .npy file that is written to its end."""
    with open(file, "r+b") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
        stream.seek(0, 2)
        stream.write(digest)


def open_array(file: Path) -> np.ndarray | None:
    """The array of a sealed file, memory-mapped; None where there is none, or not all of it.

    This process reads a file that does not change only once to check it.
    """
    import numpy as np

    try:
        status = file.stat()
        state = (str(file), status.st_ino, status.st_size, status.st_mtime_ns)
        if state not in _whole:
            if not _is_whole(file, status.st_size):
                return None
            _whole.add(state)
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def _is_whole(file: Path, size: int) -> bool:
    sha256, left = hashlib.sha256(), size - DIGEST_BYTES
    with open(file, "rb") as stream:
        while left > 0 and (block := stream.read(min(BLOCK, left))):
            sha256.update(block)
            left -= len(block)
        return stream.read() == sha256.digest()
