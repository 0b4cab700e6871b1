"""What report.json holds: the typed records that evaluation makes and pages read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Better = Literal["higher", "lower"]
Side = Literal["retrieval", "generation", "knowledge"]
Word = Literal["better", "worse", "not distinguishable", "too few images"]
Probe = Literal["catalogue", "everyday objects"]
Role = Literal["base", "tuned", "blend", "encoder"]


class Part(BaseModel):
    """A record of a report: no unknown keys, no number that is not finite."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False, frozen=True, revalidate_instances="always"
    )


# ---------------------------------------------------------------- figures and tests


@dataclass(frozen=True)
class FigureSpec:
    """How a figure is read: its name on paper, what it judges, and which way is better.

    `better` is None for a figure that is shown and not judged. `percent`: the figure is a share,
    shown in %. `headline`: it counts in the verdict. `extractor` names what its features are of.
    With fewer generated images than `verdict_images` the figure is shown without a verdict.
    """

    label: str
    judges: Side
    better: Better | None
    percent: bool = False
    headline: bool = True
    extractor: str = ""
    verdict_images: int = 0


@dataclass(frozen=True)
class Interval:
    """A figure, its 95 % interval where it has one, and what it was taken over."""

    value: float
    low: float | None = None
    high: float | None = None
    items: int | None = None
    groups: int | None = None


@dataclass(frozen=True)
class PairedTest:
    """A figure of two models on the same items, and whether chance explains the difference.

    `low` and `high` are the 95 % interval of `difference` = after − before; None where there are
    too few groups for one. `not_worse` says whether the figure is worse by no more than a margin;
    None where there is no margin and where there are too few groups.
    """

    before: float
    after: float
    difference: float
    low: float | None
    high: float | None
    p: float
    items: int
    groups: int
    verdict: Word
    not_worse: bool | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class FigureTest(PairedTest):
    """A paired test of one figure of `model` against another model, with its sentence.

    `corrected` is p after Holm's correction over all tests of the table, and None where too few
    images give no verdict; `verdict` follows it.
    """

    model: str
    against: str
    figure: str
    sentence: str
    corrected: float | None


@dataclass(frozen=True)
class Flag:
    """A collapse meter of a model and of its base; `raised` where `measure` is past the limit.

    `probe` says what the meter is taken on. `base` and `measure` are None where they are not
    defined; such a meter is raised.
    """

    probe: Probe
    meter: str
    base: float | None
    tuned: float
    measure: float | None
    compares: Literal["rise", "ratio", "least", "most"]
    limit: float
    words: str
    raised: bool

    @property
    def name(self) -> str:
        """The meter in words."""
        meter = self.meter.replace("_", " ")
        return meter if self.probe == "catalogue" else f"{self.probe}: {meter}"

    @property
    def sentence(self) -> str:
        """What a raised flag means, with the meter of both models."""
        base = "not defined" if self.base is None else f"{self.base:.3g}"
        return f"{self.words} ({self.meter} {self.tuned:.3g}, the base's {base})"

    @property
    def limit_used(self) -> float:
        """The share of its limit that the meter uses up; above 1 it is raised."""
        if self.measure is None:
            return 1.0
        if self.compares in ("ratio", "least"):
            return max(0.0, (1 - self.measure) / (1 - self.limit))
        return max(0.0, self.measure / self.limit)


# ---------------------------------------------------------------- details of a metric


class Curve(Part):
    """A line through (x, y). Models whose curves have the same title share a plot."""

    title: str
    caption: str
    x_label: str
    y_label: str
    percent: bool = False
    x: list[float]
    y: list[float]


class Bars(Part):
    """A share for each label. Models whose bars have the same title share a plot.

    `series` names the bars in the legend; empty: the model's own.
    """

    title: str
    caption: str
    x_label: str
    series: str = ""
    values: dict[str, Interval]


class ConfusionMatrix(Part):
    """Counts of items by true class (down) and predicted class (across)."""

    title: str
    caption: str
    labels: list[str]
    counts: list[list[int]]


class NearCopy(Part):
    """A generated image and the training image nearest to it, by their numbers."""

    generated: int
    training: int
    cosine: float
    extractor: str = Field("", description="whose features; empty: the scorer's embeddings")


class Details(Part):
    """What a metric shows beside its figures."""

    curves: list[Curve] = []
    bars: list[Bars] = []
    confusions: list[ConfusionMatrix] = []
    near_copies: list[NearCopy] = []


# ---------------------------------------------------------------- report.json


class Model(Part):
    """A model that was measured."""

    role: Role = Field(
        description="base; tuned: an export; blend: an export blended with its base; "
        "encoder: an export measured by another image encoder than CLIP"
    )
    source: str
    weights: str = Field(description="a hash that changes with the weights")
    alpha: float = Field(description="the export's share in CLIP's towers of a blend; else 1")


class Counts(Part):
    """What the figures were taken over."""

    rows: int = Field(description="images with captions")
    groups: int = Field(description="products or groups of duplicates")
    captions: int = Field(description="distinct captions")
    generated: int = Field(description="images generated by each model")
    folds: int | None = None


class References(Part):
    """What figures are compared with, each figure -> value."""

    chance: dict[str, float] = Field({}, description="a random answer's")
    real: dict[str, float] = Field({}, description="that of real images in place of generated ones")
    null_level: dict[str, float] = Field(
        {}, description="the typical size of a figure whose true value is 0"
    )


class Scorer(Part):
    """The frozen network that judges generated images."""

    name: str
    weights: str
    millions: float = Field(description="parameters")


class Generation(Part):
    """How images were generated and judged."""

    prompts: list[str]
    seeds: list[int]
    image_size: int = Field(description="the side of the models' squares, in pixels")
    size: str = Field("", description="width x height of the images; empty in older reports")
    steps: int
    guidance: dict[str, str] = Field(description="model -> how its images are guided, and why")
    scorer: Scorer
    extractor: str


class Tradeoff(Part):
    """Two figures of some models, base first, against each other: y over each series of x."""

    title: str
    caption: str
    x_label: str
    y_label: str
    models: list[str]
    x: dict[str, list[float]] = Field(description="series -> each model's x")
    y: list[float]


class Losses(Part):
    """What a training run logged of its terms: of each a value at each step, or None."""

    step: list[int]
    terms: dict[str, list[float | None]]


class Report(Part):
    """report.json. `docs/reference/report.schema.json` is made from this class."""

    schema_version: Literal[4] = 4
    title: str
    verdict: str
    split: str
    counts: Counts
    models: dict[str, Model] = Field(description="the first is the base of the others")
    figures: dict[str, dict[str, Interval]] = Field(description="model -> figure")
    specs: dict[str, FigureSpec] = Field(description="figure -> how it is read")
    references: References
    tests: list[FigureTest] = Field(description="one table: their p values are corrected together")
    margin: float | None = Field(
        None, description="points by which a share may be worse and count as not worse"
    )
    tradeoff: Tradeoff | None = Field(None, description="null: no blends were measured")
    flags: dict[str, list[Flag]] = Field(description="model -> its collapse meters")
    details: dict[str, dict[str, Details]] = Field(description="model -> metric")
    notes: dict[str, list[str]] = Field(description="metric -> warnings about its figures")
    warnings: list[str]
    left_out: dict[str, str] = Field(description="metric -> why it was not computed")
    losses: dict[str, Losses] = Field(description="model -> its training run's")
    gradients: dict[str, Losses] = Field(
        {}, description="model -> its run's gradients where terms share a tower"
    )
    generation: Generation | None = Field(description="null: no images were generated")
    versions: dict[str, str]
    seconds: float

    @property
    def base(self) -> str:
        """The name of the base."""
        return next(iter(self.models))

    def tests_of(self, model: str, against: str) -> dict[str, FigureTest]:
        """The paired tests of a model against another, by figure."""
        return {t.figure: t for t in self.tests if (t.model, t.against) == (model, against)}
