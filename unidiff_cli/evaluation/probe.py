"""ProbeSet: images of known classes from outside the catalogue, for general knowledge."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from PIL import Image

from unidiff_cli.data.prompts import load_prompts
from unidiff_cli.data.sample import Reason, Sample
from unidiff_cli.errors import UsageError

# Renderings of each everyday object, and their side in px.
RENDERINGS, RENDERING_SIDE = 10, 128
# Beyond the seeds that nano was trained on.
SEED = 4_000_000


@dataclass(frozen=True)
class ProbeSet:
    """RGB images of known classes: what a model should know whatever it was tuned on.

    `labels` (N,) int are numbers into `classes`; `prompts` has one for each class.
    """

    images: list[Image.Image]
    labels: np.ndarray
    classes: list[str]
    prompts: list[str]

    @classmethod
    def everyday_objects(cls) -> ProbeSet:
        """Ten renderings of each everyday object that no shop of clothes shows."""
        from unidiff_cli.sample_catalog import OBJECTS, random_object, render

        classes = list(OBJECTS)
        looks = [
            random_object(random.Random(SEED + RENDERINGS * c + i), type=name)
            for c, name in enumerate(classes)
            for i in range(RENDERINGS)
        ]
        labels = np.repeat(np.arange(len(classes)), RENDERINGS)
        prompts = [load_prompts().of_object(name) for name in classes]
        return cls([render(look, RENDERING_SIDE) for look in looks], labels, classes, prompts)

    @classmethod
    @cache
    def from_catalogue(cls, folder: str) -> ProbeSet:
        """The photos of a catalogue with a `class` column, read once.

        A class's prompt is the caption of its first photo. If there is a split column, only the
        test photos count. Raises UsageError for a catalogue without two classes.
        """
        photos = _class_photos(folder)
        prompts = {str(photo.attributes["class"]): photo.captions[0] for photo in reversed(photos)}
        if len(prompts) < 2:
            raise UsageError(
                f"evaluate.probe {folder} has test photos of {len(prompts)} classes; "
                "it needs two or more.",
                "Give its table the columns image, class and caption.",
            )
        classes = sorted(prompts)
        labels = np.array([classes.index(str(photo.attributes["class"])) for photo in photos])
        return cls(_open_images(photos), labels, classes, [prompts[name] for name in classes])

    @cached_property
    def images_hash(self) -> str:
        """A hash of the images' pixels, 16 hex digits."""
        sha = hashlib.sha256()
        for image in self.images:
            sha.update(f"{image.size}".encode() + image.tobytes())
        return sha.hexdigest()[:16]


def _class_photos(folder: str) -> Sequence[Sample]:
    """The samples of a catalogue that have a class and are for testing."""
    from unidiff_cli.config.prepare import Prepare
    from unidiff_cli.data import readers
    from unidiff_cli.data.locations import locate

    location = locate(folder)
    if not location.exists():
        raise UsageError(
            f"There is no evaluate.probe {folder}.",
            "Name a folder with a table, or leave it out.",
        )
    samples = [item for item in readers.choose(folder, Prepare()) if isinstance(item, Sample)]
    return [s for s in samples if s.attributes.get("class") and s.split in (None, "test")]


def _open_images(photos: Sequence[Sample]) -> list[Image.Image]:
    """The pixels of photos, as they are. Raises UsageError naming one that cannot be decoded."""
    from unidiff_cli.data.decode import decode_pixels

    images = []
    for photo, image in zip(photos, decode_pixels([photo.image for photo in photos]), strict=True):
        if isinstance(image, Reason):
            raise UsageError(f"evaluate.probe: {photo.image} cannot be used: {image.text}.")
        images.append(image)
    return images
