"""A recipe: the only thing a person edits, checked whole before anything heavy is imported.

Layers, later wins: the base's own numbers < recipe file < the project's `unidiff.yaml` < environment
(`UNIDIFF_TRAIN__STEPS=500`) < `--set train.steps=500`. Every value remembers the layer it came from, so a
problem is reported with its file and line, all problems at once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
)

from unidiff_cli import registry
from unidiff_cli.config.sources import (
    dump,
)
from unidiff_cli.errors import nearest

SCHEMA_VERSION = 2


class Section(BaseModel):
    """A part of a recipe: unknown keys are refused and values do not change once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**62)]
SplitName = Literal["train", "val", "test"]


class BaseFolders(Section):
    """A base given as two sources: a Stable Diffusion folder or hub id, and a CLIP folder or hub id."""

    diffusion: str
    clip: str
    text: Literal["diffusion", "clip"] | None = Field(
        None, description="which text tower wins where the two differ; null refuses to choose"
    )


class Columns(Section):
    """Which column of a table is what; null means: found by its name and content."""

    image: str | None = None
    caption: str | None = None
    id: str | None = None
    product: str | None = Field(None, description="images of one product stay in one split")
    split: str | None = Field(None, description="train, val or test, honoured as given")


class Prepare(Section):
    """How a catalogue becomes shards."""

    reader: str = Field("auto", description="auto, or a reader by name: folder, table, webdataset")
    columns: Columns = Columns()
    caption: str | None = Field(
        None, description='a template over columns, such as "{name} in {color}"'
    )
    where: dict[str, str] = Field(
        {}, description="keep only rows with these column values, such as view: main"
    )
    max_side: Annotated[int, Field(ge=16, le=8192)] = Field(
        1024, description="images are scaled down to this side"
    )
    max_pixels: Positive = Field(100_000_000, description="larger images are quarantined undecoded")
    max_bad: Share = Field(0.05, description="the share of bad rows above which prepare fails")
    splits: tuple[Share, Share, Share] = Field(
        (0.8, 0.1, 0.1), description="train, val, test; whole groups only"
    )
    near_duplicates: Annotated[int, Field(ge=0, le=16)] = Field(
        10,
        description="perceptual-hash bits (of 256) within which images count as duplicates; 0 turns it off",
    )
    shard_size: Positive = Field(1000, description="samples in one tar")
    workers: Annotated[int, Field(ge=0)] = Field(
        0, description="processes that decode; 0 takes every core"
    )
    seed: Seed = 0

    @field_validator("splits")
    @classmethod
    def _whole(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-6:
            raise ValueError(f"the three shares add up to {sum(value):g}, not 1")
        return value


class LearningRates(Section):
    """One learning rate a tower; 0 freezes it."""

    vision: Rate = 1e-5
    text: Rate = 2e-6
    denoiser: Rate = 1e-5
    new_layers: Rate = Field(
        1e-4, description="layers that begin new: an objective's own, DiffDis's stream"
    )


class Train(Section):
    """The schedule of one run."""

    steps: Positive = 2000
    batch_size: Annotated[int, Field(ge=2)] = Field(
        64, description="samples a step, over all processes together: the contrastive batch"
    )
    denoise_batch: Annotated[int, Field(ge=0)] = Field(
        0, description="how many of a step's samples the UNet sees, spread evenly; 0: all"
    )
    chunk: Annotated[int, Field(ge=0)] = Field(
        0,
        description="GradCache: samples of a process that CLIP's towers hold in memory at a time, for a forward more; 0: all",
    )
    pcgrad: bool = Field(
        False,
        description="on the text tower, take out of finding's and drawing's gradients what works against the other",
    )
    gradient_cosine_every: Annotated[int, Field(ge=0)] = Field(
        20,
        description="steps between logged cosines of finding's and drawing's gradients on the text tower; 0: never",
    )
    no_duplicates: bool = Field(
        False,
        description="no two samples of one product, duplicate group or caption in a batch, as far as the catalogue allows",
    )
    trains: tuple[Literal["vision", "text", "denoiser", "new_layers"], ...] = (
        "vision",
        "text",
        "denoiser",
        "new_layers",
    )
    lr: LearningRates = LearningRates()
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup: Annotated[int, Field(ge=0)] = Field(
        100, description="steps of linear warm-up before the cosine"
    )
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    ema: Share = Field(
        0.9999,
        description="decay of the averaged weights, which are validated and exported; 0 averages nothing",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 on a GPU that has it, else fp32"
    )
    gradient_checkpointing: bool = Field(
        False, description="less memory for more time: activations are computed twice"
    )
    seed: Seed = 0
    processes: Annotated[int, Field(ge=0)] = Field(
        0, description="0: one a GPU, or one on a machine without"
    )
    workers: Annotated[int, Field(ge=0)] = Field(
        0, description="loader processes; 0 reads in the training process"
    )
    cache_latents: bool = Field(
        True,
        description="prepare and encode every image once, into cache/ (0.2 MB an image at 512 px)",
    )
    checkpoint_every: Positive = 500
    keep_checkpoints: Positive = 2
    validate_every: Positive = 100
    preview_every: Annotated[int, Field(ge=0)] = Field(250, description="0 draws no previews")
    preview_prompts: tuple[str, ...] = Field(
        (), description="empty: four captions of the validation split"
    )
    best_by: Literal["auto", "recall", "denoise", "last"] = Field(
        "auto",
        description="what picks the exported weights; auto: recall with a contrastive or text_diffusion term, else denoise",
    )
    stop_on_collapse: bool = Field(
        False,
        description="end the run, its checkpoint saved, when a collapse meter trips at a validation",
    )

    @field_validator("denoise_batch")
    @classmethod
    def _some(cls, value: int, info: ValidationInfo) -> int:
        if value > (whole := info.data.get("batch_size", value)):
            raise ValueError(f"{value} of a step's {whole} samples cannot be seen")
        return value


# The keys of `train` that decide no weight.
NOT_WEIGHTS = {
    "workers", "cache_latents", "keep_checkpoints", "checkpoint_every", "preview_every", "preview_prompts", "stop_on_collapse"
}  # fmt: skip


class Generate(Section):
    """How images are drawn, by `generate`, previews and `evaluate` alike."""

    steps: Positive = 30
    guidance: Annotated[float, Field(ge=0)] = 7.5
    batch_size: Positive = 8


class Evaluate(Section):
    """What is measured, base against tuned."""

    split: SplitName = "test"
    images: Positive = Field(500, description="images drawn for what judges drawing")
    examples: Positive = Field(12, description="images shown in the report")
    metrics: tuple[str, ...] = Field(
        (), description="what is measured; empty: all that this catalogue allows"
    )
    batch_size: Positive = 64
    seed: Seed = 0
    probe: str = Field(
        "",
        description="a catalogue of photos of known classes (columns image, class, caption; of a split column only test counts): "
        "what the model should still know",
    )
    inception: str = Field(
        "",
        description="path of inception-2015-12-05.pt, for FID, KID and precision/recall as elsewhere; else the scorer's features",
    )

    @field_validator("metrics")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = registry.names("metrics")
        for name in value:
            if name not in known:
                raise ValueError(f"there is no metric named '{name}'.{nearest(name, known)}")
        return value


class Recipe(Section):
    """What is trained on what, and how. Objectives are parts: their keys come from their own classes."""

    schema_version: Literal[2] = 2
    name: Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,100}$")] = Field(
        "unnamed", description="a part of its runs' names"
    )
    description: str = ""
    base: str | BaseFolders = Field(
        "auto", description="auto, nano, a folder or a hub id, or {diffusion, clip}"
    )
    image_size: Annotated[int, Field(ge=8, multiple_of=8)] = Field(
        512, description="side in pixels of what the diffusion half draws"
    )
    prepare: Prepare = Prepare()
    objectives: Any = None
    train: Train = Train()
    generate: Generate = Generate()
    evaluate: Evaluate = Evaluate()

    def section(self, *names: str) -> dict[str, Any]:
        """Some sections as plain data, as receipts keep them."""
        plain = self.model_dump(mode="json", include=set(names))
        if "objectives" in plain:
            plain["objectives"] = {k: v for k, v in plain["objectives"].items() if v is not None}
        return plain

    def deciding(self) -> dict[str, Any]:
        """What decides the weights of a run, as plain data: not how it is read, looked at and kept."""
        found = self.section("base", "image_size", "objectives", "train")
        return {**found, "train": {k: v for k, v in found["train"].items() if k not in NOT_WEIGHTS}}

    def active(self) -> dict[str, Any]:
        """The objectives in force, name to part, in the order the model lists them."""
        return {
            k: v
            for k in type(self.objectives).model_fields
            if (v := getattr(self.objectives, k)) is not None
        }

    def yaml(self) -> str:
        """The whole recipe as YAML that loads again."""
        names = set(type(self).model_fields)
        return dump(self.section(*names))


def recipe_model() -> type[Recipe]:
    """Recipe with its objectives typed by the parts installed here."""
    fields: dict[str, Any] = {
        n: (registry.load("objectives", n) | None, None) for n in registry.names("objectives")
    }
    objectives = create_model("Objectives", __base__=Section, **fields)

    def _some(cls: type, value: Any) -> Any:
        if all(v is None for v in vars(value).values()):
            raise ValueError("a recipe needs at least one objective")
        return value

    return create_model(
        "Recipe",
        __base__=Recipe,
        __validators__={"some": field_validator("objectives")(_some)},
        objectives=(objectives, Field(..., description="what is optimised, each with its weight")),
    )


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, for editors."""
    return recipe_model().model_json_schema()
