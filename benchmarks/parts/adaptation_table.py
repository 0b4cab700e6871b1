"""Figures of models over training seeds: their mean and deviation, and a Markdown table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Summary = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, and how a figure is written in it."""

    title: str
    digits: int = 3
    unit: str = ""
    scale: float = 1

    def cell(self, value: Mapping[str, float | None] | None) -> str:
        """Mean ± deviation; the deviation is left out where there is none."""
        if value is None:
            return ""
        mean, deviation = value["mean"] or 0.0, value["sd"]
        around = "" if deviation is None else f" ± {self.scale * deviation:.{self.digits}f}"
        return f"{self.scale * mean:.{self.digits}f}{around}{self.unit}"


def _share(title: str) -> Column:
    return Column(title, digits=1, unit=" %", scale=100)


COLUMNS = {
    "r1_t2i": _share("R@1 t→i"),
    "r5_t2i": _share("R@5 t→i"),
    "r10_t2i": _share("R@10 t→i"),
    "r1_i2t": _share("R@1 i→t"),
    "r5_i2t": _share("R@5 i→t"),
    "r10_i2t": _share("R@10 i→t"),
    "r5_ratio": Column("R@5 × base", digits=2, unit=" ×"),
    "kid": Column("KID"),
    "photo_accuracy": _share("photos"),
    "photo_balanced": _share("photos, by class"),
    "probe_accuracy": _share("objects"),
    "minutes": Column("training, min", digits=1),
}


def summarize(seeds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean and sample deviation over the seeds of every figure; of one seed the latter is None."""
    values = {key: [figures[key] for figures in seeds] for key in seeds[0]}
    return {
        key: {"mean": statistics.fmean(v), "sd": statistics.stdev(v) if len(v) > 1 else None}
        for key, v in values.items()
    }


def markdown(models: Mapping[str, Summary]) -> str:
    """One row a model; a figure that no model has is no column."""
    columns = {k: c for k, c in COLUMNS.items() if any(k in figures for figures in models.values())}
    titles = [column.title for column in columns.values()]
    rows = [["model", *titles], ["---", *("--:" for _ in columns)]]
    for name, figures in models.items():
        rows.append([name, *(column.cell(figures.get(key)) for key, column in columns.items())])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def recall_ratio(figures: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    """R@5 of both directions together, as a multiple of the base's.

    Nothing where the base retrieves nothing.
    """
    tuned, before = (values["r5_t2i"] + values["r5_i2t"] for values in (figures, base))
    return {"r5_ratio": tuned / before} if before else {}
