"""The files of report/: sample images, report.json, report.md and report.html."""

from __future__ import annotations

from itertools import groupby, islice
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from unidiff_cli.data.batch import open_image
from unidiff_cli.evaluation.measure import Measurement
from unidiff_cli.evaluation.outputs import TOP, Output
from unidiff_cli.project.files import write_json
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.reports.evaluation import (
    CopyExample,
    Examples,
    GeneratedExample,
    QueryExample,
    markdown,
    page,
)
from unidiff_cli.reports.schema import Report

# Retrieval examples of a page, answers of each, and near copies of each model by each judge.
QUERIES, ANSWERS, COPIES = 6, min(5, TOP), 4


def write_report(folder: Path, report: Report, measurement: Measurement, receipt: Receipt) -> None:
    """Writes the folder's files, the page last, and puts the figures into its receipt.

    The images are those of `measurement`; of several folds it is the last.
    """
    examples = Examples(
        _queries(measurement), _generated(measurement), _near_copies(report, measurement)
    )
    (folder / "samples").mkdir()
    _write_samples(folder / "samples", measurement, len(examples.generated))
    write_json(folder / "report.json", report.model_dump(mode="json"))
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
    (folder / "report.html").write_text(page(report, examples), encoding="utf-8")
    receipt.counts = report.counts.model_dump(exclude_none=True)
    receipt.figures = {
        model: {key: figure.value for key, figure in figures.items()}
        for model, figures in report.figures.items()
    }


def _write_samples(folder: Path, measurement: Measurement, count: int) -> None:
    """The first generated images of each model, with prompt, seed and model hash inside."""
    eval_set = measurement.eval_set
    for name, outputs in measurement.outputs.items():
        for i in range(count):
            info = PngInfo()
            info.add_itxt("prompt", eval_set.prompts[i])
            info.add_text("seed", str(eval_set.seeds[i]))
            info.add_text("model", outputs.subject.model_hash)
            file = folder / f"{name.replace(' ', '-')}-{i:03d}.png"
            Image.fromarray(outputs.generated_images[i]).save(file, pnginfo=info)


def _generated(measurement: Measurement) -> list[GeneratedExample]:
    """The first prompts with their images, where images were generated."""
    eval_set, models = measurement.eval_set, measurement.outputs
    if not any(Output.GENERATED_IMAGES in outputs.computed for outputs in models.values()):
        return []
    rows, prompts = eval_set.generated_rows, eval_set.prompts
    return [
        GeneratedExample(
            prompts[i],
            open_image(eval_set.shards, rows[i]),
            {name: Image.fromarray(each.generated_images[i]) for name, each in models.items()},
        )
        for i in range(min(eval_set.evaluate.examples, len(prompts)))
    ]


def _queries(measurement: Measurement) -> list[QueryExample]:
    """Captions picked by the seed, not by how well they did, and the answers of each model."""
    eval_set, models = measurement.eval_set, measurement.outputs
    if not all(Output.RANKINGS in outputs.computed for outputs in models.values()):
        return []
    order = np.random.default_rng(eval_set.evaluate.seed).permutation(len(eval_set.captions))
    right = {tuple(pair) for pair in eval_set.pairs.tolist()}
    return [
        QueryExample(
            eval_set.captions[caption],
            {
                name: [
                    (open_image(eval_set.shards, eval_set.rows[row]), (caption, row) in right)
                    for row in outputs.rankings["t2i"].top[caption, :ANSWERS].tolist()
                ]
                for name, outputs in models.items()
            },
        )
        for caption in order[:QUERIES].tolist()
    ]


def _near_copies(report: Report, measurement: Measurement) -> list[CopyExample]:
    """The closest pairs of a generated image and a training image."""
    eval_set = measurement.eval_set
    examples = []
    for name, outputs in measurement.outputs.items():
        copies = [copy for each in report.details[name].values() for copy in each.near_copies]
        by_judge = groupby(copies, key=lambda copy: copy.extractor)
        for copy in (copy for _, group in by_judge for copy in islice(group, COPIES)):
            row = eval_set.training_sample[copy.training]
            examples.append(
                CopyExample(
                    name,
                    eval_set.prompts[copy.generated],
                    copy.cosine,
                    Image.fromarray(outputs.generated_images[copy.generated]),
                    open_image(eval_set.shards, row),
                    copy.extractor,
                )
            )
    return examples
