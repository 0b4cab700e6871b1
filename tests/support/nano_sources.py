"""Small folders shaped like what nano is made of."""

import gzip
import json
import random
from pathlib import Path

import numpy as np

from unidiff_cli.sample_catalog import random_look, render


def write_sources(root: Path) -> Path:
    """Renderings stand in for the photos, discs for Fashion-MNIST."""
    _write_photos(root / "photos")
    _write_discs(root / "mnist")
    return root


def _write_photos(folder: Path) -> None:
    """Dresses, hats and shorts; every fourth is of the test split."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(40):
        type_ = ("dress", "hat", "shorts")[i % 3]
        name = f"images/{i}.jpg"
        render(random_look(random.Random(i), type=type_, view="front"), 96).save(folder / name)
        thing = "shorts" if type_ == "shorts" else f"a {type_}"
        row = {"image": name, "caption": f"a photo of {thing}", "class": type_}
        rows.append(row | {"split": "test" if i % 4 == 3 else "train"})
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))


def _write_discs(folder: Path) -> None:
    """Discs of ten sizes and lights, one for each class."""
    folder.mkdir()
    y, x = np.mgrid[:28, :28] - 13.5
    discs = [np.where(x**2 + y**2 < 60 + 8 * k, 60 + 15 * k, 0) for k in range(10)] * 12
    for name, values in (
        ("train-images-idx3", np.stack(discs)),
        ("train-labels-idx1", np.arange(120) % 10),
    ):
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(_idx(values)))


def _idx(values: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes, as MNIST's are."""
    head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return head + values.astype(np.uint8).tobytes()
