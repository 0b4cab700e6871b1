"""Which shard a sample lies in: a function of its image, so that other samples do not move it.

A sample's key is the sha256 of its image. The shards of a split are the buckets of a linear hash
table (Litwin, VLDB 1980): one more shard takes samples out of one other and touches no third. So a
new, changed or removed image changes one or two shards of any number, and the shards are the same
whatever was there before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unidiff_cli.data.duplicates import Contents, bytes_of

# Bytes of a key, so that 100 million images have equal keys once in 200 million.
KEY = 10
# Bytes of a key that choose its shard.
CHOICE = 4

# (n, KEY)
Keys = NDArray[np.uint8]


def sample_keys(contents: Contents) -> Keys:
    """A key for each sample by the sha256 of its image, of which no two are equal."""
    return bytes_of(contents)[:, :KEY]


def in_key_order(keys: Keys) -> NDArray[np.intp]:
    """The samples in the order of their keys."""
    return np.argsort(np.ascontiguousarray(keys).view(f"S{KEY}")[:, 0])


def shard_count(samples: int, size: int) -> int:
    """The shards of so many samples, `size` of them in one on average."""
    return -(-samples // size)


def shard_numbers(keys: Keys, shards: int) -> NDArray[np.int_]:
    """The shard of each key among so many: 0 … shards − 1.

    While their number is between two powers of two, some hold half as much as the others.
    """
    starts = np.ascontiguousarray(keys[:, :CHOICE]).view(">u4")[:, 0].astype(int)
    whole = 1 << (shards - 1).bit_length()
    places = starts % whole
    return np.where(places < shards, places, places - whole // 2)
