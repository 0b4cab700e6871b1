"""The images and captions that nano learns from: renderings and CC0 photos, as arrays made once."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pretraining.fashion_mnist import dyed
from pretraining.images import Images, fit_image
from pretraining.photos import CROPS, VIEWS, crop, enlarged, photo_rows, photographed
from pretraining.renderings import SCORER_FIRST_SEED, UNSEEN, UNSEEN_SEED, cut_out, rendered


def prepare(folder: Path, photos: Path, fashion_mnist: Path, renders: int) -> None:
    """Writes the sets of `folder`; one that is there already is left as it is.

    The base learns from `renders`, `photos`, `dyed` and `white`; the scorer from `scorer-renders`
    and `scorer-dyed`, of other seeds, and from the photos, since there are no others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    third = renders // 3
    others = range(renders, renders + third)
    scorers = range(SCORER_FIRST_SEED, SCORER_FIRST_SEED + third)
    sets = {
        "dyed": lambda: dyed(fashion_mnist, range(renders)),
        "scorer-dyed": lambda: dyed(fashion_mnist, others),
        "white": lambda: on_white(third),
        "renders": lambda: _rendered_set(range(renders)),
        "scorer-renders": lambda: _rendered_set(scorers),
        "renders-unseen": lambda: _rendered_set(range(UNSEEN_SEED, UNSEEN_SEED + UNSEEN)),
        "photos": lambda: _photo_set(photos, "train", VIEWS + CROPS),
        "photos-large": lambda: _large_set(photos),
        "photos-test": lambda: _photo_set(photos, "test", 1),
    }
    for name, make in sets.items():
        if not (folder / f"{name}.json").exists():
            make().save(folder / name)


def _rendered_set(seeds: range) -> Images:
    with ProcessPoolExecutor(2) as pool:
        pairs = list(pool.map(rendered, seeds, chunksize=64))
    return Images(np.stack([p for p, _ in pairs])[:, None], [c for _, c in pairs], [])


def _photo_set(folder: Path, split: str, views: int) -> Images:
    rows = photo_rows(folder, split)
    jobs = [(folder / row["image"], row["caption"], views, i) for i, row in enumerate(rows)]
    with ProcessPoolExecutor(2) as pool:
        pairs = list(pool.map(photographed, jobs, chunksize=64))
    pixels, captions = np.stack([p for p, _ in pairs]), [c for _, c in pairs]
    return Images(pixels, captions, [row["class"] for row in rows])


def _large_set(folder: Path) -> Images:
    """The same photos at twice the side, to take crops of."""
    files = [folder / row["image"] for row in photo_rows(folder, "train")]
    with ProcessPoolExecutor(2) as pool:
        pixels = list(pool.map(enlarged, files, chunksize=64))
    return Images(np.stack(pixels)[:, None], [[]] * len(files), [])


def on_white(count: int) -> Images:
    """`count` rendered garments on pure white, as shops cut them out: no other source has that."""
    with ProcessPoolExecutor(2) as pool:
        renderings = list(pool.map(cut_out, range(count), chunksize=64))
    return Images(np.stack(renderings)[:, None], [[""]] * len(renderings), [])


@dataclass
class Pick:
    """One image of one source as a training example."""

    source: str
    row: int
    view: int
    mirrored: bool
    caption: str


class Mixture:
    """Random picks from several sources.

    `shares` are the sources' parts of a batch; `views` is how many views of an image may come.
    """

    def __init__(self, folder: Path, shares: dict[str, float], views: int = VIEWS):
        self.sources = {name: Images.load(folder / name) for name in shares}
        self.shares, self.views = np.cumsum(list(shares.values())), views

    def captions(self) -> list[str]:
        """Every caption of every source."""
        return [c for source in self.sources.values() for texts in source.captions for c in texts]

    def pick(self, n: int, rng: np.random.Generator) -> list[Pick]:
        """`n` random examples."""
        names, picks = list(self.sources), []
        for point in rng.random(n) * self.shares[-1]:
            name = names[int(np.searchsorted(self.shares, point, side="right"))]
            source = self.sources[name]
            row = int(rng.integers(len(source)))
            view = int(rng.integers(min(self.views, source.pixels.shape[1])))
            captions, mirrored = source.captions[row], bool(rng.random() < 0.5)
            caption = captions[rng.integers(len(captions))]
            picks.append(Pick(name, row, view, mirrored, caption))
        return picks

    def pixels(self, picks: list[Pick]) -> np.ndarray:
        """The images of picks, (B, 128, 128, 3) uint8."""
        rows = (
            self.sources[p.source].pixels[p.row, p.view][:, :: -1 if p.mirrored else 1]
            for p in picks
        )
        return np.stack(list(rows))


class NewCrops:
    """The images of picks, each photo in a hard crop that nobody saw before."""

    def __init__(self, folder: Path, data: Mixture):
        self.data, self.large = data, Images.load(folder / "photos-large")

    def pixels(self, picks: list[Pick], rng: np.random.Generator) -> np.ndarray:
        """(B, 128, 128, 3) uint8."""
        pixels = self.data.pixels(picks)
        for i, p in enumerate(picks):
            if p.source == "photos":
                image = Image.fromarray(self.large.pixels[p.row, 0])
                view = fit_image(crop(image, rng, hard=True))
                pixels[i] = view[:, :: -1 if p.mirrored else 1]
        return pixels
