"""Images with a text beside each."""

from pathlib import Path

from tests.support.catalogue import put


def write(folder: Path, text: str, name: str = "p{n}.txt", count: int = 4, encoding="utf-8"):
    """Images p0.jpg, … with a text each."""
    for n in range(count):
        put(folder / f"p{n}.jpg")
        put(folder / name.format(n=n), text.format(n=n).encode(encoding))


def captions(samples) -> list[tuple[str, ...]]:
    return [sample.captions for sample in samples]


DRESSES = [(f"red dress {n}",) for n in range(4)]
