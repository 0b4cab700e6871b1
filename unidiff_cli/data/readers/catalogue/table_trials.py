"""Tables that are tried: what their first rows name, and where the folder of their images is.

A table is opened with the recipe's columns. Image paths may start in the table's own folder, in the
catalogue's, or in one that has the table's name, whichever holds more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from unidiff_cli.data.locations import InMemory, Location
from unidiff_cli.data.readers.catalogue import img2dataset, table_names
from unidiff_cli.data.readers.catalogue.survey import Sources
from unidiff_cli.data.readers.columns.table_columns import WithoutCaptions
from unidiff_cli.data.rooted import Overlay, Rooted
from unidiff_cli.data.sample import Rejected, Sample
from unidiff_cli.errors import UnidiffError

# Rows that are looked at of a table, and of two that may be the same.
ROWS, SAME_ROWS = 50, 10_000
# Folders that are tried for a table's images.
FOLDERS = 8

Items = Iterable[Sample | Rejected]
Opener = Callable[[Location], Items]


@dataclass
class Trial:
    """A table that was tried: images that its first rows name, or why it cannot be read."""

    table: Location
    rows: int = 0
    # Images that are there.
    images: int = 0
    # Different captions of these rows.
    captions: int = 0
    problem: UnidiffError | None = None
    # Whether its images are web addresses.
    has_addresses: bool = False
    # Whether a table without captions names images that are there.
    names_images: bool = False


def try_table(table: Location, sources: Sources, opener: Opener) -> Trial:
    """The table with the folder that holds most of its images."""
    trials = []
    for base in islice(_bases(table, sources), FOLDERS):
        place = table if base == table.parent else Rooted(table, base)
        trials.append(_count(place, opener))
        if trials[-1].images and trials[-1].images == trials[-1].rows:
            break
    best = max(trials, key=lambda trial: trial.images)
    if best.images:
        return best
    # None is there. What looks for them looks from the catalogue's own folder.
    best = next((t for t in trials if t.table.parent == sources.root and not t.problem), best)
    best.names_images = any(trial.names_images for trial in trials)
    return best


def _bases(table: Location, sources: Sources) -> Iterator[Location]:
    """The folders that a table's paths may start in, likeliest first."""
    name = table_names.stem(table.name).lower()
    named = [folder for folder in sources.folders if len(folder.name) > 2]
    folders = [
        table.parent,
        sources.root,
        # 00000.parquet of img2dataset and 00000/, captions_val2017.json of COCO and val2017/.
        *(folder for folder in named if name.endswith(folder.name.lower())),
    ]
    for folder in dict.fromkeys(folders):
        yield Overlay(folder, tuple(sources.zips)) if sources.zips else folder


def _count(table: Location, opener: Opener) -> Trial:
    """How many images the first rows of a table name that are there."""
    try:
        items = list(islice(opener(table), ROWS))
    except UnidiffError as error:
        names_images = isinstance(error, WithoutCaptions) and error.names_images
        return Trial(table, problem=error, names_images=names_images)
    samples = [item for item in items if isinstance(item, Sample)]
    count = sum(_is_there(sample.image) for sample in samples)
    captions = len({sample.captions for sample in samples})
    return Trial(table, len(items), count, captions, has_addresses=img2dataset.are_addresses(items))


def _is_there(image: Location) -> bool:
    """Whether an image is there; a link that leads out is one that is refused."""
    return isinstance(image, InMemory) or image.kind() in ("file", "outside")


def rows_of(items: Items) -> set[tuple[str, tuple[str, ...]]]:
    """What two tables with the same rows have in common."""
    samples = (item for item in islice(items, SAME_ROWS) if isinstance(item, Sample))
    return {(str(sample.image), sample.captions) for sample in samples}
