"""Adaptation: what a training run brings on one catalogue, and what it costs elsewhere.

    python -m benchmarks.adaptation --catalog DIR --split products|views --recipe fashion --seeds 0 1 2 --out DIR
        [--anchor W] [--alphas 0.5] [--photos DIR] [--steps N] [--set KEY=VALUE]

Two questions, each with its own split. `products`: whole products are held out, so that their names are new and
colour, cut and audience must carry a query. `views`: every product is trained on by its front images and looked
for among its other ones. The test set, the prompts and their seeds are the same for every model and training seed:
the spread is that of training. A run that is finished is taken as it is when the command is given again.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging

from unidiff_cli import Project, export, load_recipe, machine, prepare, registry, train
from unidiff_cli.config.schema import Prepare, Recipe
from unidiff_cli.data import readers
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.sample import Sample
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.models import loading
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.reports.contact_sheet import contact_sheet

FRONT = ("main", "front")  # values of a table's `view` that show a whole product
VALIDATED = 5  # of the products seen from other sides, one in so many picks the weights and is not tested on
SHOWN = 8  # products on a sheet
COLUMNS = {
    "r1_t2i": "R@1 t→p", "r5_t2i": "R@5 t→p", "r10_t2i": "R@10 t→p",
    "r1_i2t": "R@1 p→t", "r5_i2t": "R@5 p→t", "r10_i2t": "R@10 p→t",
    "r5_ratio": "R@5 × base", "kid": "KID", "photo_accuracy": "photos", "photo_balanced": "photos, by class",
    "probe_accuracy": "objects", "minutes": "training, min",
}  # fmt: skip
SHARES = (
    "r1_",
    "r5_t",
    "r5_i",
    "r10_",
    "photo_a",
    "photo_b",
    "probe_accuracy",
)  # figures shown in %


# ---------------------------------------------------------------- the two splits


def by_view(products: Sequence[str | None], views: Sequence[str]) -> list[str]:
    """train for the front images of every product, test for its others; val for those of one product in VALIDATED.

    An image without a product, or of one that has no front image, is trained on.
    """
    trained = {p for p, view in zip(products, views, strict=True) if p and view in FRONT}

    def split(product: str | None, view: str) -> str:
        if view in FRONT or product not in trained:
            return "train"
        return (
            "test"
            if int(hashlib.sha256(str(product).encode()).hexdigest(), 16) % VALIDATED
            else "val"
        )

    return [split(product, view) for product, view in zip(products, views, strict=True)]


def viewed(catalogue: Path, options: Prepare, folder: Path) -> Path:
    """The catalogue's rows with `by_view` as their `split`, as a table in `folder` beside a link to its images."""
    reader = readers.choose(catalogue, options)
    rows = [item for item in reader if isinstance(item, Sample)]
    splits = by_view([r.product for r in rows], [str(r.attributes.get("view", "")) for r in rows])
    if "test" not in splits:
        sys.exit(f"{catalogue} has no product with a view in {FRONT} and another one.")
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "images"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(reader.root).resolve(), target_is_directory=True)
    lines = [
        row.attributes
        | {
            "image": f"images/{os.path.relpath(str(row.image), reader.root)}",
            "caption": list(row.captions),
        }
        | {"product": row.product, "split": split}
        for row, split in zip(rows, splits, strict=True)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "captions.jsonl").write_text(text, encoding="utf-8")
    return folder


def divided(project: Project, given: argparse.Namespace) -> Shards:
    """The project's shards, split as asked."""
    asked = load_recipe(
        given.recipe, assignments=["prepare.splits=[0.7, 0.1, 0.2]", *given.assignments]
    )
    if given.split == "views":
        prepare(project, asked, viewed(given.catalog, asked.prepare, given.out / "catalogue"))
    else:  # a split that the table names is not this one
        own = [*given.assignments, "prepare.splits=[0.7, 0.1, 0.2]", "prepare.columns.split=''"]
        prepare(project, load_recipe(given.recipe, assignments=own), given.catalog)
    return Shards.open(project.path("shards"))


# ---------------------------------------------------------------- what is measured of one model


def measure(source: Any, recipe: Recipe, held: EvalSet) -> dict[str, float]:
    """Recall and KID on the catalogue's test set, and the share of right answers on what was known before."""
    evidence, found = (
        ModelOutputs(ModelUnderTest("", source, source, recipe.image_size, ""), held),
        {},
    )
    for name in ("recall", "kid", "retention"):
        found |= registry.load("metrics", name)().compute(evidence)
    return found


# ---------------------------------------------------------------- what is trained


def tuned(
    project: Project, recipe: Recipe, alphas: Sequence[float]
) -> tuple[dict[float, Path], float]:
    """A run's exports by α, 1 first, and the minutes its training took."""
    run, receipt = train(
        project, recipe, on_step=lambda line: _say(f"  step {line['step']}", end="\r")
    )
    exports = {
        alpha: project.export(export(project, run, alpha=alpha)[0]) for alpha in (1.0, *alphas)
    }
    return exports, receipt.seconds / 60


def compared(
    project: Project, shards: Shards, given: argparse.Namespace
) -> tuple[dict[str, list[dict[str, float]]], dict[str, Any], Recipe]:
    """Model → figures of each seed, model → its first export, and the recipe. The base is measured once."""
    variants: dict[str, list[str]] = {"tuned": []}
    if given.anchor:
        variants["anchored"] = [f"objectives.anchor.weight={given.anchor}"]
    recipe = load_recipe(given.recipe, assignments=given.assignments)
    held = EvalSet(shards, shards.rows("test"), recipe.evaluate, recipe.generate)
    _say("base")
    base = measure(recipe.base, recipe, held)
    figures: dict[str, list[dict[str, float]]] = {"base": [base]}
    first: dict[str, Any] = {"base": recipe.base}
    for seed in given.seeds:
        for variant, more in variants.items():
            _say(f"{variant}, seed {seed}")
            asked = load_recipe(
                given.recipe, assignments=[*given.assignments, *more, f"train.seed={seed}"]
            )
            exports, minutes = tuned(project, asked, given.alphas)
            for alpha, folder in exports.items():
                name = variant if alpha == 1 else f"{variant}, alpha {alpha:g}"
                found = measure(str(folder), recipe, held) | {"minutes": minutes}
                figures.setdefault(name, []).append(found | against(found, base))
                first.setdefault(name, str(folder))
    return figures, first, recipe


def against(found: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    """R@5 of both ways together, as a multiple of the base's; nothing where the base found nothing."""
    own, before = (f["r5_t2i"] + f["r5_i2t"] for f in (found, base))
    return {"r5_ratio": own / before} if before else {}


# ---------------------------------------------------------------- what is written


def summary(found: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean and sample s.d. over the seeds of every figure; the s.d. of one seed is None."""
    columns = {key: [figures[key] for figures in found] for key in found[0]}
    return {
        key: {"mean": statistics.fmean(v), "sd": statistics.stdev(v) if len(v) > 1 else None}
        for key, v in columns.items()
    }


def markdown(models: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> str:
    """One row a model, mean ± s.d.; a figure nobody has is no column."""
    columns = [key for key in COLUMNS if any(key in found for found in models.values())]
    lines = [["model", *(COLUMNS[key] for key in columns)], ["---", *("--:" for _ in columns)]]
    lines += [
        [name, *(_cell(key, found.get(key)) for key in columns)] for name, found in models.items()
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(key: str, value: Mapping[str, float | None] | None) -> str:
    if value is None:
        return ""
    mean, spread = value["mean"] or 0.0, value["sd"]
    scale, digits, unit = (
        (100, 1, " %") if key.startswith(SHARES) else (1, 1 if key == "minutes" else 3, "")
    )
    if key == "r5_ratio":
        digits, unit = 2, " ×"
    around = "" if spread is None else f" ± {scale * spread:.{digits}f}"
    return f"{scale * mean:.{digits}f}{around}{unit}"


def shown(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Up to SHOWN trained products, spread over the catalogue, each by a front image and "Name type in colour"."""
    fronts = [
        r
        for r in rows
        if r.attributes.get("view", FRONT[0]) in FRONT and {"name", "color"} <= r.attributes.keys()
    ]
    one = list({row.group: row for row in reversed(fronts)}.values())[::-1]
    some = one[:: max(1, len(one) // SHOWN)][:SHOWN]
    return [(row, f"{row.attributes['name']} in {row.attributes['color']}") for row in some]


def draw_sheet(shards: Shards, sources: Mapping[str, Any], recipe: Recipe, file: Path) -> None:
    """A row a product: its photo, and what each model draws when asked for it by name, from the same seed."""
    some = shown(shards.rows("train"))
    if not some:
        return _say("No trained row has a name and a colour: there is no sheet.")
    prompts, options = [prompt for _, prompt in some], recipe.generate
    columns = {"real": [open_image(shards, row) for row, _ in some]}
    for name, source in sources.items():
        base = loading.load_base(source, recipe.image_size).eval()
        base.to(machine.device())
        drawn = generate_images(
            base, prompts, range(len(prompts)), steps=options.steps, guidance=options.guidance, batch_size=options.batch_size
        )  # fmt: skip
        columns[name] = list(drawn)
    images = [columns[name][i] for i in range(len(some)) for name in columns]
    labels = [prompt if name == "real" else name for prompt in prompts for name in columns]
    contact_sheet(images, labels, columns=len(columns), side=192).save(file)


def _say(text: str, end: str = "\n") -> None:
    print(text, file=sys.stderr, end=end, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--catalog", type=Path, required=True, help="what `unidiff prepare` reads")
    parser.add_argument("--split", choices=("products", "views"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="fashion")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--anchor", type=float, default=0.0, help="train a second time with this anchor weight"
    )
    parser.add_argument(
        "--alphas", type=float, nargs="*", default=[], help="blends with the base to measure too"
    )
    parser.add_argument(
        "--photos", type=Path, help="photos of known classes: measures what is kept"
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument(
        "--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE"
    )
    given = parser.parse_args(argv)
    if given.steps:
        given.assignments.append(f"train.steps={given.steps}")
    if given.photos:
        given.assignments.append(f"evaluate.probe={json.dumps(str(given.photos.absolute()))}")
    logging.disable_progress_bar()  # a bar for every model that is loaded says nothing
    given.out.mkdir(parents=True, exist_ok=True)
    project = Project(given.out / "project")
    shards = divided(project, given)
    figures, sources, recipe = compared(project, shards, given)
    models = {name: summary(found) for name, found in figures.items()}
    counts = {split: len(shards.rows(split)) for split in ("train", "val", "test")}
    captions = len({caption for row in shards.rows("test") for caption in row.captions})
    asked = {
        k: v.name if isinstance(v, Path) else v for k, v in vars(given).items()
    }  # where, is nobody's business
    found = {
        "asked": asked,
        "images": counts,
        "test_captions": captions,
        "models": models,
        "seeds": figures,
    }
    (given.out / "figures.json").write_text(
        json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    draw_sheet(shards, sources, recipe, given.out / "sheet.png")
    print(
        f"{given.split}: {counts['train']} / {counts['val']} / {counts['test']} images, {captions} test captions\n"
    )
    print(markdown(models))


if __name__ == "__main__":
    main()
