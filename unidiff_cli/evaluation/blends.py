"""What blends of a tuned model with its base give and take: retrieval against retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.reports.schema import FigureSpec, Tradeoff

# Whose mean is retrieval, and what retention is measured on.
RETRIEVAL = ("map_t2i", "map_i2t")
RETENTION = {"everyday objects": "retention", "photos": "photo_retention"}


def retrieval_and_retention(
    models: Sequence[ModelUnderTest],
    figures: Mapping[str, Mapping[str, float]],
    specs: Mapping[str, FigureSpec],
) -> Tradeoff | None:
    """Mean average precision, the mean of both ways, against ρ: base, blends by α, and the export.

    `figures` are by model. None without a blend, and where either side is not measured.
    """
    if not any(model.role == "blend" for model in models) or not set(RETRIEVAL) <= set(specs):
        return None
    shares = {m.name: 0.0 if m.role == "base" else m.alpha for m in models if m.role != "encoder"}
    names = sorted(shares, key=shares.__getitem__)
    retention = {
        label: [figures[name][key] for name in names]
        for label, key in RETENTION.items()
        if all(key in figures[name] for name in names)
    }
    if not retention:
        return None
    return Tradeoff(
        title="Retrieval against general knowledge",
        caption="Each point is a share α of the tuned CLIP; up and to the right is better.",
        x_label="General-knowledge retention ρ",
        y_label="Mean average precision, mean of both ways",
        models=names,
        x=retention,
        y=[sum(figures[name][key] for key in RETRIEVAL) / len(RETRIEVAL) for name in names],
    )
