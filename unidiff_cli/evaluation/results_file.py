"""Measured models as files: the arrays that paired tests need as safetensors, the rest as plain JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unidiff_cli.evaluation.results import BootstrapSamples, MetricResult, PerItem
from unidiff_cli.project.files import atomic_file


def write_measured(file: Path, measures: Mapping[str, MetricResult]) -> dict[str, Any]:
    """Writes the items and draws of every metric, and gives back what else there is, for a JSON beside it."""
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    names: dict[str, int] = {}  # of groups
    found: dict[str, Any] = {}
    for metric, each in measures.items():
        for key, items in each.items.items():
            place = f"{metric}/{key}"
            arrays[f"{place}/values"] = np.asarray(items.values, np.float64)
            arrays[f"{place}/groups"] = np.array(
                [names.setdefault(str(g), len(names)) for g in items.groups], np.int64
            )
            if items.weights is not None:
                arrays[f"{place}/weights"] = np.asarray(items.weights, np.float64)
        for key, draws in each.draws.items():
            arrays[f"{metric}/{key}/draws"] = np.asarray(draws.values, np.float64)
        found[metric] = {
            "figures": each.figures, "references": each.references, "notes": each.notes, "items": list(each.items),
            "draws": {key: [d.items, d.groups] for key, d in each.draws.items()},
        }  # fmt: skip
    with atomic_file(file) as beside:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, beside)
    return {"groups": list(names), "metrics": found}


def read_measured(file: Path, about: Mapping[str, Any]) -> dict[str, MetricResult]:
    """What `write_measured` wrote, without `shows`."""
    from safetensors.numpy import load_file

    arrays, names = load_file(file), about["groups"]
    found = {}
    for metric, each in about["metrics"].items():
        items = {
            key: PerItem(
                arrays[f"{metric}/{key}/values"],
                [names[g] for g in arrays[f"{metric}/{key}/groups"]],
                arrays.get(f"{metric}/{key}/weights"),
            )
            for key in each["items"]
        }
        draws = {
            key: BootstrapSamples(arrays[f"{metric}/{key}/draws"], *counts)
            for key, counts in each["draws"].items()
        }
        found[metric] = MetricResult(
            each["figures"], items, draws, {}, each["references"], each["notes"]
        )
    return found
