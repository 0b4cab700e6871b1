"""Which shard a sample lies in: a function of its image, so that other samples do not move it.

A sample's key is the sha256 of its image. The shards of a split are the buckets of a linear hash
table (Litwin, VLDB 1980): one more shard takes samples out of one other and touches no third. So a
new, changed or removed image changes one or two shards of any number, and the shards are the same
whatever was there before.
"""

from __future__ import annotations

from collections.abc import Sequence

from unidiff_cli.data import duplicates

# Hex digits of a key: 80 bits, so that 100 million images have equal keys once in 200 million.
KEY = 20
# Hex digits of a key that choose its shard.
CHOICE = 8


def sample_keys(contents: Sequence[str]) -> list[str]:
    """A key for each sample by the sha256 of its image, in hex; equal images count up."""
    return [name[:KEY] for name in duplicates.numbered(contents)]


def shard_count(samples: int, size: int) -> int:
    """The shards of so many samples, `size` of them in one on average."""
    return -(-samples // size)


def shard_number(key: str, shards: int) -> int:
    """The shard of a key among so many: 0 … shards − 1.

    While their number is between two powers of two, some hold half as much as the others.
    """
    number, whole = int(key[:CHOICE], 16), 1 << (shards - 1).bit_length()
    place = number % whole
    return place if place < shards else place - whole // 2
