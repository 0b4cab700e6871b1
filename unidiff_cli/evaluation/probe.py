"""TODO docstring."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from unidiff_cli.data.prompts import load_prompts
from unidiff_cli.errors import UsageError

if TYPE_CHECKING:
    pass

PROBE_EACH, PROBE_SIDE = 10, 128  # drawings of each everyday object, px


@dataclass(frozen=True)
class ProbeSet:
    """Images (RGB) of known classes, and which each shows: what a model should know whatever it was tuned on."""

    images: list[Image.Image]
    labels: np.ndarray  # (N,) int
    classes: list[str]
    prompts: list[str]  # one for each class

    @classmethod
    def drawn(cls, seed: int = 4_000_000) -> ProbeSet:
        """Ten drawings of each everyday object, which no shop of clothes shows; seeds that nano was not trained on."""
        from unidiff_cli.sample_catalog import OBJECTS, draw, random_object

        classes = list(OBJECTS)
        looks = [
            random_object(random.Random(seed + PROBE_EACH * c + i), type=name)
            for c, name in enumerate(classes)
            for i in range(PROBE_EACH)
        ]
        labels = np.repeat(np.arange(len(classes)), PROBE_EACH)
        prompts = [load_prompts().of_object(name) for name in classes]
        return cls([draw(look, PROBE_SIDE) for look in looks], labels, classes, prompts)

    @classmethod
    @cache
    def photographed(cls, folder: str) -> ProbeSet:
        """The photos of a catalogue with a `class` column, each class asked for by the caption of its first photo.

        Where there is a split column only its test photos count. Raises UsageError for a catalogue without classes.
        """
        from unidiff_cli.config.schema import Prepare
        from unidiff_cli.data import readers, sample

        path = Path(folder).expanduser()
        if not path.exists():
            raise UsageError(
                f"There is no evaluate.probe {folder}.",
                "Name a folder with a table, or leave it out.",
            )
        rows = [item for item in readers.choose(path, Prepare()) if isinstance(item, sample.Sample)]
        tested = [
            row for row in rows if row.attributes.get("class") and row.split in (None, "test")
        ]
        prompts = {str(row.attributes["class"]): row.captions[0] for row in reversed(tested)}
        if len(prompts) < 2:
            raise UsageError(
                f"evaluate.probe {folder} has test photos of {len(prompts)} classes; it needs two or more.",
                "Give its table the columns image, class and caption.",
            )
        classes = sorted(prompts)
        images = [Image.open(io.BytesIO(row.image.read())).convert("RGB") for row in tested]
        labels = np.array([classes.index(str(row.attributes["class"])) for row in tested])
        return cls(images, labels, classes, [prompts[name] for name in classes])

    @cached_property
    def stamp(self) -> str:
        """A hash of the images."""
        found = hashlib.sha256()
        for image in self.images:
            found.update(f"{image.size}".encode() + image.tobytes())
        return found.hexdigest()[:16]
