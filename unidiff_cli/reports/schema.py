"""TODO docstring."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# ---------------------------------------------------------------- report.json


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Model(Part):
    """A model that was measured; the first is the base of the others."""

    source: str
    weights: str = Field(description="a hash that changes with the weights")
    alpha: float = Field(
        description="the export's share, where it is blended with its base; else 1"
    )


class Value(Part):
    """A figure, its 95 % interval where it has one, and what it was taken over."""

    value: float
    low: float | None = None
    high: float | None = None
    items: int | None = None
    groups: int | None = None


class Described(Part):
    """How a figure is read."""

    label: str
    judges: Literal["retrieval", "generation", "knowledge"]
    better: Literal["higher", "lower"]
    percent: bool
    headline: bool


class Test(Part):
    """A paired test of a model against another; `low` and `high` are the interval of the difference, where there is one."""

    model: str
    against: str
    figure: str
    difference: float
    low: float | None
    high: float | None
    p: float
    items: int
    groups: int
    verdict: Literal["better", "worse", "not distinguishable"]
    sentence: str


class Flag(Part):
    """A collapse meter against the base's."""

    meter: str
    base: float | None
    tuned: float
    measure: float | None
    compares: Literal["rise", "ratio", "least", "most"]
    limit: float
    words: str
    raised: bool


class Report(Part):
    """report.json. `docs/report.schema.json` is made from this class."""

    schema_version: Literal[2] = 2
    title: str
    verdict: str
    split: str
    counts: dict[str, int]
    models: dict[str, Model]
    figures: dict[str, dict[str, Value]] = Field(description="model -> figure -> value")
    described: dict[str, Described]
    references: dict[str, dict[str, float]] = Field(
        description="chance, real (images in place of drawn ones), null_level (of a figure whose truth is 0) -> figure -> value"
    )
    tests: list[Test]
    flags: dict[str, list[Flag]]
    shows: dict[str, dict[str, dict[str, Any]]] = Field(
        description="model -> metric -> curves, confusions, near copies"
    )
    notes: dict[str, list[str]] = Field(description="metric -> its own warnings")
    warnings: list[str]
    left_out: dict[str, str] = Field(description="metric -> why it was not computed")
    losses: dict[str, dict[str, list[float | None]]]
    scorer: dict[str, Any] | None
    extractor: str | None
    image_size: int
    generate: dict[str, Any]
    prompts: list[str]
    seeds: list[int]
    versions: dict[str, str]
    seconds: float
