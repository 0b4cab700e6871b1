"""How adaptation holds out images of a catalogue: whole products, or other views of known ones."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from unidiff_cli import Project, load_recipe, prepare
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.sample import Sample
from unidiff_cli.data.shards import Shards

Split = Literal["products", "views"]
# Values of a table's `view` that show a whole product.
FRONT = ("main", "front")
# Of the products seen from other sides, one in so many picks the weights and is not tested on.
VALIDATED = 5
SHARES = "prepare.splits=[0.7, 0.1, 0.2]"


def prepare_split(
    project: Project, catalogue: Path, split: Split, recipe: str, assignments: Sequence[str]
) -> Shards:
    """The project's shards, split as asked.

    A table for `views` is written beside the project.
    """
    settings = load_recipe(recipe, assignments=[SHARES, *assignments])
    if split == "views":
        table = write_view_table(catalogue, settings.prepare, project.root.parent / "catalogue")
        # The table lies beside a link to the catalogue.
        links = [SHARES, *assignments, "prepare.follow_links=true"]
        # Products have images in several splits: that is what is measured.
        prepare(project, load_recipe(recipe, assignments=links), table, yes=True)
    else:
        # A split that the table names is not this one.
        no_column = [*assignments, SHARES, "prepare.columns.split=''"]
        prepare(project, load_recipe(recipe, assignments=no_column), catalogue)
    return Shards.open(project.path("shards"))


def by_view(products: Sequence[str | None], views: Sequence[str]) -> list[str]:
    """train for the front images of every product, test for its others.

    val for the others of one product in VALIDATED. An image without a product, or of one that has
    no front image, is trained on.
    """
    trained = {p for p, view in zip(products, views, strict=True) if p and view in FRONT}

    def split(product: str | None, view: str) -> str:
        if view in FRONT or product not in trained:
            return "train"
        number = int(hashlib.sha256(str(product).encode()).hexdigest(), 16)
        return "test" if number % VALIDATED else "val"

    return [split(product, view) for product, view in zip(products, views, strict=True)]


def write_view_table(catalogue: Path, options: Prepare, folder: Path) -> Path:
    """The catalogue's rows with `by_view` as their `split`: a table beside a link to its images."""
    reader = readers.choose(catalogue, options)
    root = str(reader.root)
    rows = [item for item in reader if isinstance(item, Sample)]
    splits = by_view([r.product for r in rows], [str(r.attributes.get("view", "")) for r in rows])
    if "test" not in splits:
        sys.exit(f"{catalogue} has no product with a view in {FRONT} and another one.")
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "images"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(root).resolve(), target_is_directory=True)
    lines = []
    for row, split in zip(rows, splits, strict=True):
        image = f"images/{os.path.relpath(str(row.image), root)}"
        columns = {"image": image, "caption": list(row.captions), "product": row.product}
        lines.append(row.attributes | columns | {"split": split})
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    table = folder / "captions.jsonl"
    table.write_text(text, encoding="utf-8")
    return table
