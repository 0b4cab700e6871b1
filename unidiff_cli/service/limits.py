"""What a client of the service may ask for, so that none can take it from the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of requests; times in seconds, sizes in bytes."""

    # A request's body, and all bodies that are in memory at a time.
    body: int = 20 << 20
    bodies: int = 256 << 20
    # Until the head of a request is there, between two pieces of a body, and for all of it.
    head: float = 10.0
    pause: float = 10.0
    reading: float = 60.0
    # Searches that wait for the device, and how long each does.
    waiting: int = 128
    patience: float = 30.0
    # Generations that wait, and images of one.
    queue: int = 16
    images: int = 16
    # Hits of one search, its parts, and the characters of a text.
    hits: int = 500
    parts: int = 16
    text: int = 10_000
    # Query images that the page can come back to, and finished generations that are kept.
    kept: int = 256
    finished: int = 64
    # Thumbnails in memory.
    thumbnails: int = 64 << 20
    # For what runs when the service is told to stop, and then for saying that it was cut off.
    drain: float = 30.0
    parting: float = 5.0
