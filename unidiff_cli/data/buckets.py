"""Buckets: sizes of about one area, from tall to wide, so that a denoiser sees images whole.

Aspect-ratio buckets are NovelAI's (github.com/NovelAI/novelai-aspect-ratio-bucketing). Every image
goes to the size that is nearest to its own shape; little of it is cropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self, TypeVar

from unidiff_cli.errors import UsageError

# The narrowest size: its longer side is so many times the shorter one.
NARROWEST = 2
# A side of the square is so many steps, where the autoencoder allows it.
STEPS = 16
# Of the square's area, what images may be generated at.
LEAST_AREA, MOST_AREA = 0.25, 2.0

Key = TypeVar("Key", bound=Hashable)


class Size(NamedTuple):
    """Width and height of images, in pixels."""

    width: int
    height: int

    @classmethod
    def square(cls, side: int) -> Size:
        return cls(side, side)

    @classmethod
    def parse(cls, text: str) -> Size:
        """Of `512x768`. Raises UsageError."""
        found = re.fullmatch(r"([1-9]\d{0,4})[x×]([1-9]\d{0,4})", text.strip().lower())
        if found is None:
            raise UsageError(f"'{text}' is no size.", "Give width x height: --size 512x768")
        return cls(*map(int, found.groups()))

    @property
    def area(self) -> int:
        return self.width * self.height

    @property
    def is_square(self) -> bool:
        return self.width == self.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Buckets:
    """The sizes of a base: its square of `side` pixels, and others whose sides are so many steps.

    They are at most as large as the square, and from twice as tall as wide to twice as wide as
    tall.
    """

    side: int
    step: int

    @classmethod
    def of(cls, side: int, factor: int) -> Self:
        """Those of a base whose autoencoder makes one latent of `factor` × `factor` pixels."""
        return cls(side, factor * max(1, side // (STEPS * factor)))

    @cached_property
    def sizes(self) -> tuple[Size, ...]:
        """All sizes, the square first and the others the nearer to it the earlier."""
        sizes = [Size.square(self.side)]
        for short in range(self.side // self.step * self.step, 0, -self.step):
            long = self.side**2 // short // self.step * self.step
            if long <= short:
                continue
            narrow = long >= NARROWEST * short
            long = min(long, NARROWEST * short)
            sizes += [Size(short, long), Size(long, short)]
            if narrow:
                break
        return tuple(sizes)

    def nearest(self, width: int, height: int) -> Size:
        """The size whose aspect ratio is nearest to an image's, by the ratio of both."""
        own = math.log(width / height)
        return min(self.sizes, key=lambda size: abs(math.log(size.width / size.height) - own))


def grouped(keys: Iterable[Key]) -> dict[Key, list[int]]:
    """The numbers of the items with each key, in the order in which the keys first stand."""
    groups: dict[Key, list[int]] = {}
    for number, key in enumerate(keys):
        groups.setdefault(key, []).append(number)
    return groups


def check_size(size: Size, side: int, factor: int) -> None:
    """Raises UsageError for a size that a base of a square side is not to generate images of.

    `factor` is that of its autoencoder.
    """
    wrong = ""
    if size.width % factor or size.height % factor:
        wrong = f"both sides are multiples of {factor}"
    elif max(size) > NARROWEST * min(size):
        wrong = f"the longer side is at most {NARROWEST} times the shorter one"
    elif not LEAST_AREA <= size.area / side**2 <= MOST_AREA:
        wrong = f"it has {LEAST_AREA:g} to {MOST_AREA:g} times the area of the base's {side}x{side}"
    if wrong:
        sizes = ", ".join(map(str, Buckets.of(side, factor).sizes[:7]))
        raise UsageError(f"Images of {size} are not generated: {wrong}.", f"Such as: {sizes}")
