"""Adaptation: what a training run brings on one catalogue, and what it costs elsewhere.

    python -m benchmarks.adaptation --catalog DIR --split products|views --recipe fashion
        --seeds 0 1 2 --out DIR [--anchor W] [--alphas 0.5] [--photos DIR] [--steps N]
        [--set KEY=VALUE]

Two questions, each with its own split. `products`: whole products are held out, so that their names
are new and colour, cut and audience must carry a query. `views`: every product is trained on by its
front images and retrieved by its other ones. The test set, the prompts and their seeds are the same
for every model and training seed: the spread is that of training. A run that is finished is taken
as it is when the command is given again.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from transformers.utils import logging

from benchmarks.parts.adaptation_table import markdown, recall_ratio, summarize
from benchmarks.parts.splits import FRONT, Split, prepare_split
from unidiff_cli import Project, export, load_recipe, machine, registry, train
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.models import loading
from unidiff_cli.models.guidance_file import guidance_in_force
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.reports.contact_sheet import contact_sheet

METRICS = ("recall", "kid", "retention")
# Products on a sheet.
SHOWN = 8


@dataclass(frozen=True)
class Options:
    """What is trained and measured."""

    catalog: Path
    split: Split
    out: Path
    recipe: str = "fashion"
    seeds: Sequence[int] = (0,)
    anchor: float = 0.0
    alphas: Sequence[float] = ()
    photos: Path | None = None
    steps: int | None = None
    assignments: Sequence[str] = ()

    @property
    def changes(self) -> list[str]:
        """All assignments that change the recipe."""
        assignments = list(self.assignments)
        if self.steps:
            assignments.append(f"train.steps={self.steps}")
        if self.photos:
            assignments.append(f"evaluate.probe={json.dumps(str(self.photos.absolute()))}")
        return assignments

    @property
    def variants(self) -> dict[str, list[str]]:
        """Assignments of what is trained, by name."""
        variants: dict[str, list[str]] = {"tuned": []}
        if self.anchor:
            variants["anchored"] = [f"objectives.anchor.weight={self.anchor}"]
        return variants

    def as_json(self) -> dict[str, Any]:
        """The options without the folders that paths lie in."""
        return {k: v.name if isinstance(v, Path) else v for k, v in asdict(self).items()}


@dataclass
class Results:
    """By model: the figures of each training seed, and the first export."""

    figures: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)

    def add(self, model: str, source: Any, figures: dict[str, float]) -> None:
        """One more seed of a model."""
        self.figures.setdefault(model, []).append(figures)
        self.sources.setdefault(model, source)


def measure(source: Any, recipe: Recipe, eval_set: EvalSet) -> dict[str, float]:
    """Recall and KID on the catalogue's test set, and accuracy on general knowledge."""
    subject = ModelUnderTest("", source, source, recipe.image_size, "")
    outputs = ModelOutputs(subject, eval_set)
    figures: dict[str, float] = {}
    for name in METRICS:
        figures |= registry.load("metrics", name)().compute(outputs)
    return figures


def train_and_measure(project: Project, shards: Shards, options: Options) -> Results:
    """Every variant with every seed, beside the base, which is measured once."""
    recipe = load_recipe(options.recipe, assignments=options.changes)
    eval_set = EvalSet(shards, shards.rows("test"), recipe.evaluate, recipe.generate)
    results = Results()
    _say("base")
    base = measure(recipe.base, recipe, eval_set)
    results.add("base", recipe.base, base)
    for seed in options.seeds:
        for variant, more in options.variants.items():
            _say(f"{variant}, seed {seed}")
            assignments = [*options.changes, *more, f"train.seed={seed}"]
            tuned = load_recipe(options.recipe, assignments=assignments)
            run, receipt = train(project, tuned, on_step=_say_step)
            for alpha in (1.0, *options.alphas):
                folder = str(project.export(export(project, run, alpha=alpha)[0]))
                model = variant if alpha == 1 else f"{variant}, alpha {alpha:g}"
                figures = measure(folder, recipe, eval_set) | {"minutes": receipt.seconds / 60}
                results.add(model, folder, figures | recall_ratio(figures, base))
    return results


def shown_products(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Up to SHOWN trained products, spread over the catalogue.

    Each is a front image and "Name type in colour".
    """
    fronts = [
        row
        for row in rows
        if row.attributes.get("view", FRONT[0]) in FRONT
        and {"name", "color"} <= row.attributes.keys()
    ]
    first = list({row.group: row for row in reversed(fronts)}.values())[::-1]
    chosen = first[:: max(1, len(first) // SHOWN)][:SHOWN]
    return [(row, f"{row.attributes['name']} in {row.attributes['color']}") for row in chosen]


def save_sheet(shards: Shards, sources: Mapping[str, Any], recipe: Recipe, file: Path) -> None:
    """A row a product: its photo, and what each model generates for its name, from one seed."""
    products = shown_products(shards.rows("train"))
    if not products:
        _say("No trained row has a name and a colour: there is no sheet.")
        return
    prompts, options = [prompt for _, prompt in products], recipe.generate
    columns = {"real": [open_image(shards, row) for row, _ in products]}
    for name, source in sources.items():
        base = loading.load_base(source, recipe.image_size).eval().to(machine.device())
        columns[name] = list(
            generate_images(
                base,
                prompts,
                range(len(prompts)),
                steps=options.steps,
                guidance=guidance_in_force(options, base.source)[0],
                batch_size=options.batch_size,
            )
        )
    images = [columns[name][i] for i in range(len(products)) for name in columns]
    labels = [prompt if name == "real" else name for prompt in prompts for name in columns]
    contact_sheet(images, labels, columns=len(columns), side=192).save(file)


def run(options: Options) -> None:
    """Trains and measures; writes figures.json and sheet.png, and prints the table."""
    # A bar for every model that is loaded tells nothing.
    logging.disable_progress_bar()
    options.out.mkdir(parents=True, exist_ok=True)
    project = Project(options.out / "project")
    shards = prepare_split(project, options.catalog, options.split, options.recipe, options.changes)
    results = train_and_measure(project, shards, options)
    models = {name: summarize(seeds) for name, seeds in results.figures.items()}
    counts = {split: len(shards.rows(split)) for split in ("train", "val", "test")}
    captions = len({caption for row in shards.rows("test") for caption in row.captions})
    report = {
        "asked": options.as_json(),
        "images": counts,
        "test_captions": captions,
        "models": models,
        "seeds": results.figures,
    }
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (options.out / "figures.json").write_text(text, encoding="utf-8")
    recipe = load_recipe(options.recipe, assignments=options.changes)
    save_sheet(shards, results.sources, recipe, options.out / "sheet.png")
    sizes = f"{counts['train']} / {counts['val']} / {counts['test']} images"
    print(f"{options.split}: {sizes}, {captions} test captions\n")
    print(markdown(models))


def _say(text: str, end: str = "\n") -> None:
    print(text, file=sys.stderr, end=end, flush=True)


def _say_step(line: Mapping[str, Any]) -> None:
    _say(f"  step {line['step']}", end="\r")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptation", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--catalog", type=Path, required=True, help="what `unidiff prepare` reads")
    add("--split", choices=("products", "views"), required=True, help="what is held out")
    add("--out", type=Path, required=True, help="the project, figures.json and sheet.png")
    add("--recipe", default="fashion")
    add("--seeds", type=int, nargs="+", default=[0], help="of training")
    add("--anchor", type=float, default=0.0, help="train a second time with this anchor weight")
    add("--alphas", type=float, nargs="*", default=[], help="blends with the base to measure too")
    add("--photos", type=Path, help="photos of known classes: measures general knowledge")
    add("--steps", type=int, help="of training, in place of the recipe's")
    add(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="changes the recipe",
    )
    run(Options(**vars(parser.parse_args(argv))))


if __name__ == "__main__":
    main()
