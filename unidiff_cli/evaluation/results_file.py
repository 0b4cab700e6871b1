"""Metric results as files: arrays as safetensors, the rest for a JSON file beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel

from unidiff_cli.evaluation.results import BootstrapSamples, MetricResult, PerItem, Results
from unidiff_cli.project.files import atomic_file


class StoredMetric(BaseModel):
    """A MetricResult without its arrays; `per_item` and `bootstrap` name those, by figure.

    `bootstrap` holds the numbers of items and of groups.
    """

    figures: dict[str, float]
    references: dict[str, dict[str, float]]
    notes: list[str]
    per_item: list[str]
    bootstrap: dict[str, tuple[int, int]]


class StoredResults(BaseModel):
    """Every metric of one model; the arrays hold groups as numbers into `groups`."""

    groups: list[str]
    metrics: dict[str, StoredMetric]


def write_results(file: Path, results: Results) -> StoredResults:
    """Writes the arrays of every metric and gives back the rest. Details are not stored."""
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    numbers: dict[str, int] = {}
    metrics: dict[str, StoredMetric] = {}
    for metric, result in results.items():
        for key, items in result.per_item.items():
            name = f"{metric}/{key}"
            groups = [numbers.setdefault(str(group), len(numbers)) for group in items.groups]
            arrays[f"{name}/values"] = np.asarray(items.values, np.float64)
            arrays[f"{name}/groups"] = np.array(groups, np.int64)
            if items.weights is not None:
                arrays[f"{name}/weights"] = np.asarray(items.weights, np.float64)
        for key, samples in result.bootstrap.items():
            arrays[f"{metric}/{key}/samples"] = np.asarray(samples.values, np.float64)
        metrics[metric] = StoredMetric(
            figures=result.figures,
            references=result.references,
            notes=result.notes,
            per_item=list(result.per_item),
            bootstrap={key: (each.items, each.groups) for key, each in result.bootstrap.items()},
        )
    with atomic_file(file) as beside:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, beside)
    return StoredResults(groups=list(numbers), metrics=metrics)


def read_results(file: Path, stored: StoredResults) -> dict[str, MetricResult]:
    """What `write_results` wrote. Raises KeyError, OSError or ValueError for other arrays."""
    from safetensors.numpy import load_file

    arrays = load_file(file)
    results = {}
    for metric, each in stored.metrics.items():
        per_item = {}
        for key in each.per_item:
            name = f"{metric}/{key}"
            groups = [stored.groups[number] for number in arrays[f"{name}/groups"]]
            per_item[key] = PerItem(arrays[f"{name}/values"], groups, arrays.get(f"{name}/weights"))
        bootstrap = {
            key: BootstrapSamples(arrays[f"{metric}/{key}/samples"], *counts)
            for key, counts in each.bootstrap.items()
        }
        results[metric] = MetricResult(
            each.figures, per_item, bootstrap, references=each.references, notes=each.notes
        )
    return results
