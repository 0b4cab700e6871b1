"""The schema of a recipe: every key with its type, default and meaning, checked without torch.

A recipe is what a person edits; `load.py` reads it from all its sources. Objectives are parts:
their keys come from their own classes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    create_model,
    field_validator,
)

from unidiff_cli import registry
from unidiff_cli.config.limits import MAX_COUNT, MAX_SAMPLER_STEPS, MAX_SEED
from unidiff_cli.config.sources import dump
from unidiff_cli.errors import nearest

SCHEMA_VERSION = 2
# The key of a recipe file that names the recipe it changes. A recipe in force has none.
EXTENDS = "extends"
# Characters that separate the columns of a table, by their names.
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
# Marks a key of `train` that does not change the trained weights.
NOT_WEIGHTS: dict[str, Any] = {"changes_weights": False}


class Section(BaseModel):
    """A part of a recipe: unknown keys are refused and values do not change once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


Positive = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
SamplerSteps = Annotated[int, Field(ge=1, le=MAX_SAMPLER_STEPS)]
GuidanceScale = Annotated[float, Field(ge=0)]
SplitName = Literal["train", "val", "test"]
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]
ExtractorName = Literal["nano_scorer", "inception", "efficientnet_lite0"]
# Kinds of layers, or ends of their names.
Targets = Annotated[tuple[str, ...], Field(min_length=1)]


class BaseFolders(Section):
    """A base in two parts: a Stable Diffusion and a CLIP, each a folder or a hub id.

    A hub id may name its revision: owner/name@revision. Without `text`, two text towers that differ
    are refused. With `text: apart` the denoiser keeps its own, and any CLIP or SigLIP will do.
    """

    diffusion: str = Field(
        description="folder, hub id or single .safetensors file of the Stable Diffusion pipeline"
    )
    clip: str = Field(description="folder or hub id of the CLIP (of a SigLIP: text: apart)")
    text: Literal["diffusion", "clip", "apart"] | None = Field(
        None,
        description="whose text tower counts; apart: each its own, held together by consistency "
        "and prior only",
    )
    config: str | None = Field(
        None,
        description="folder or hub id that describes a single file's pipeline; null: that of "
        "SD 1.5 or SDXL",
    )


class Columns(Section):
    """The columns of a table catalogue; null: chosen by name and content."""

    image: str | tuple[str, ...] | None = Field(
        None, description="the column of image paths, or several: [front, back]"
    )
    caption: str | tuple[str, ...] | None = Field(
        None, description="the column of captions, or several: [title, description]"
    )
    id: str | None = Field(None, description="the column of sample ids")
    product: str | None = Field(None, description="images of one product stay in one split")
    split: str | None = Field(None, description="train, val or test, used as given")

    def names(self, role: str) -> tuple[str, ...]:
        """The columns that are mapped to a role; none where it is not mapped, or to ''."""
        columns = getattr(self, role) or ()
        return (columns,) if isinstance(columns, str) else tuple(columns)


class Limits(Section):
    """What one item of a catalogue may cost; the catalogue of a shop stays far below."""

    image_bytes: Positive = Field(400 << 20, description="bytes of one image")
    image_scans: Positive = Field(100, description="scans of one JPEG; a progressive one has 10")
    image_seconds: Positive = Field(
        20, description="processor seconds to decode one image, whose process is ended then"
    )
    image_memory: Positive = Field(1536, description="MiB of memory to decode one image")
    text_bytes: Positive = Field(
        1 << 20, description="bytes of a caption file, and of a text or a .json in a tar"
    )
    captions: Positive = Field(1000, description="captions of one image")
    images: Positive = Field(1000, description="images of one row of a table")
    columns: Positive = Field(2000, description="columns of a table")
    row: Positive = Field(1 << 24, description="characters of one row of a table")
    depth: Annotated[int, Field(ge=1, le=100)] = Field(
        32, description="lists and objects inside one another in a cell"
    )
    json_bytes: Positive = Field(1 << 28, description="bytes of a .json table, read whole")
    inflation: Positive = Field(
        100, description="times its own size that a packed tar or a parquet may grow to"
    )
    caption: Positive = Field(20_000, description="characters of a caption, its markup read")
    url_seconds: Positive = Field(60, description="seconds to download one image")


class TableFile(Section):
    """How the rows of a table file are written; null: found, and shown."""

    separator: str | None = Field(
        None, description="comma, semicolon, tab, bar or another character between a CSV's columns"
    )
    quoting: Literal["doubled", "backslash", "none"] | None = Field(
        None, description='a quote inside quotes is "" (doubled) or \\"; none: quotes are letters'
    )
    header: bool | None = Field(
        None, description="false: the first line is a row; its columns are column 1, column 2, …"
    )
    sheet: str | None = Field(None, description="the sheet of an Excel file")
    rows: str | None = Field(None, description="where a .json has its rows, such as data.products")

    @field_validator("separator")
    @classmethod
    def _character(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = SEPARATORS.get(value, value)
        if len(value) != 1 or value in '"\\\r\n':
            raise ValueError(f"'{value}' is no character that separates columns")
        return value


class Prepare(Section):
    """Preparing a catalogue: reading, splitting, writing shards."""

    # Which files are the catalogue.
    reader: str = Field("auto", description="a reader's name, such as folder, table, webdataset")
    tables: tuple[str, ...] = Field(
        (), description="the tables of a folder, such as [train/metadata.csv]; empty: found"
    )
    follow_links: bool = Field(
        False, description="read what links name outside the catalogue too; else they are refused"
    )
    allow_urls: bool = Field(
        False, description="download images that a table names by http(s) addresses"
    )
    # How they are written, and what their rows mean.
    encoding: str | None = Field(
        None, description="letters of tables and texts, such as cp1252; null: found, and shown"
    )
    table: TableFile = TableFile()
    columns: Columns = Columns()
    where: dict[str, str] = Field(
        {}, description="keep only rows with these column values, such as {view: main}"
    )
    split_words: dict[str, SplitName] = Field(
        {}, description="words of the split column, such as {holdout: test}"
    )
    caption: str | None = Field(
        None,
        description='a template over columns, such as "{name} in {color?}"; ?: it may be empty',
    )
    captions: Literal["all", "first"] = Field(
        "all", description="of several caption columns, all that are filled or the first"
    )
    # Where the images of a row lie.
    images: Literal["all", "first"] = Field(
        "all", description="of several images in a row of a table, all or the first"
    )
    images_root: str | None = Field(
        None, description="the folder that image paths of a table start from; null: found"
    )
    spelling: Literal["exact", "loose"] | None = Field(
        None,
        description="loose: img_1.jpg in a table may mean IMG_1.JPG; null: asked for where it does",
    )
    # Folders and tars.
    sidecar: Literal["lines", "text"] | None = Field(
        None,
        description="a text beside an image: a caption a line, or one; null: found, else asked for",
    )
    sidecar_ending: Literal["txt", "caption", "tags", "json"] | None = Field(
        None, description="the texts that are captions where an image has several; null: .txt first"
    )
    companions: Literal["leave_out", "keep"] | None = Field(
        None,
        description="masks and thumbnails beside images; null: left out, asked for where in doubt",
    )
    tar_keys: Literal["first", "last"] | None = Field(
        None,
        description="the dot that ends a key in a tar; null: the first, asked for where in doubt",
    )
    folders: Literal["classes", "products"] | None = Field(
        None,
        description="what a folder of images is; null: found by its name, asked for where in doubt",
    )
    # Images.
    max_side: Annotated[int, Field(ge=16, le=8192)] = Field(
        1024, description="larger images are scaled down to this side, in pixels"
    )
    max_pixels: Positive = Field(
        100_000_000, description="images with more pixels are quarantined undecoded"
    )
    background: str = Field(
        "white", description="the colour behind transparent images: a name, or '#rrggbb'"
    )
    min_side: Annotated[int, Field(ge=1, le=8192)] = Field(
        32, description="images whose shorter side has fewer pixels are left out; 1: none"
    )
    max_aspect: Annotated[float, Field(ge=0)] = Field(
        20, description="images whose sides differ by a larger factor are left out; 0: none"
    )
    masks: Literal["leave_out", "keep"] | None = Field(
        None,
        description="images of two greys among coloured ones; null: kept, and asked for where many",
    )
    placeholder: Count = Field(
        5,
        description="rows with unlike captions that make their one image a 'no image' file; "
        "0: none",
    )
    # What goes into the shards.
    max_bad: Share = Field(0.05, description="the share of bad rows above which prepare fails")
    dedupe: Literal["group", "keep", "drop"] = Field(
        "group",
        description="equal and near-equal images: group: in one split, keep: as if unlike, "
        "drop: one stays",
    )
    near_duplicates: Annotated[int, Field(ge=0, le=16)] = Field(
        10, description="perceptual-hash bits of 256 that duplicates may differ in; 0: off"
    )
    splits: tuple[Share, Share, Share] = Field(
        (0.8, 0.1, 0.1), description="shares of train, val and test; groups stay whole"
    )
    seed: Seed = Field(0, description="seed of the splits and of the order in the shards")
    shard_size: Positive = Field(1000, description="samples per tar file")
    # What it may cost.
    workers: Count = Field(0, description="decoding processes; 0: one per core")
    limits: Limits = Limits()

    @field_validator("placeholder")
    @classmethod
    def _several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("every image has one row; 2 is the least, and 0 turns it off")
        return value

    @field_validator("background")
    @classmethod
    def _colour(cls, value: str) -> str:
        # The default needs no Pillow.
        if value != "white":
            from PIL import ImageColor

            if len(ImageColor.getrgb(value)) != 3:
                raise ValueError(f"'{value}' lets light through: give #rrggbb")
        return value

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                "".encode(value)
        except (LookupError, ValueError):
            raise ValueError(f"'{value}' is no encoding that Python knows") from None
        return value

    @field_validator("splits")
    @classmethod
    def _whole(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-6:
            raise ValueError(f"the three shares add up to {sum(value):g}, not 1")
        return value


class LearningRates(Section):
    """The learning rate of each tower; 0 freezes it."""

    vision: Rate = Field(1e-5, description="CLIP's vision tower")
    text: Rate = Field(2e-6, description="the text tower, shared by CLIP and Stable Diffusion")
    denoiser: Rate = Field(1e-5, description="the denoiser, in Stable Diffusion 1.x a UNet")
    new_layers: Rate = Field(
        1e-4, description="layers that start from random: projection heads, DiffDis's layers"
    )


class TowerLora(Section):
    """What one tower's adapter has of its own; null: as `train.lora` says for all."""

    rank: Positive | None = Field(None, description="the tower's own rank")
    targets: Targets | None = Field(None, description="the tower's own targets")


class Lora(Section):
    """Adapters of low rank, through peft: they train, and the weights beside them stay."""

    rank: Positive = Field(
        16, description="the rank r of each adapter; train.lora: null trains the weights instead"
    )
    alpha: Annotated[float, Field(gt=0)] | None = Field(
        None, description="an adapter's product counts alpha / rank; null: as the rank, so once"
    )
    dora: bool = Field(
        False, description="DoRA: the size of each output's weights trains apart from its direction"
    )
    targets: Targets = Field(
        ("linear",),
        description="layers with an adapter: attention, linear, convolutions, or names as in peft",
    )
    lr_factor: Annotated[float, Field(gt=0)] = Field(
        10, description="an adapter trains at so many times its tower's train.lr"
    )
    towers: tuple[Literal["vision", "text", "denoiser"], ...] = Field(
        ("vision", "text", "denoiser"),
        description="the towers that train by adapters; others train their weights",
    )
    vision: TowerLora = TowerLora()
    text: TowerLora = TowerLora()
    denoiser: TowerLora = TowerLora()

    @field_validator("towers")
    @classmethod
    def _one_at_least(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name a tower, or set train.lora to null")
        return value

    @property
    def kind(self) -> str:
        """What people call it."""
        return "DoRA" if self.dora else "LoRA"

    def rank_of(self, tower: str) -> int:
        """The rank of a tower's adapters."""
        return self._own(tower).rank or self.rank

    def targets_of(self, tower: str) -> tuple[str, ...]:
        """The layers of a tower that have one."""
        return self._own(tower).targets or self.targets

    def scale_of(self, tower: str) -> float:
        """α/r, what multiplies an adapter's product."""
        return 1.0 if self.alpha is None else self.alpha / self.rank_of(tower)

    def _own(self, tower: str) -> TowerLora:
        return getattr(self, tower)


class LastLayers(Section):
    """Trains the upper end of CLIP's towers only: their last blocks, and what follows these."""

    vision: Count = Field(0, description="blocks of the vision tower that train; 0: all of it")
    text: Count = Field(0, description="blocks of the text tower that train; 0: all of it")


class Augment(Section):
    """Samples that are changed while training, each kind a share of them; 0: none."""

    captions: Share = Field(
        0, description="captions made of the attributes, without the product's name"
    )
    colours: Share = Field(
        0, description="images that CLIP sees in other colours or grey, captions without colours"
    )
    crops: Share = Field(0, description="images that CLIP sees cropped, half of them mirrored")
    flips: Share = Field(0, description="images that CLIP and the denoiser see mirrored")

    @property
    def on(self) -> bool:
        """Whether anything is changed."""
        return bool(self.captions or self.colours or self.crops or self.flips)


class GradientShares(Section):
    """Balances gradients where terms share a tower, every `measure_gradients_every` steps.

    A share is that of one gradient's norm in the other's; null leaves both as the weights have it.
    """

    text: Annotated[float, Field(ge=0)] | None = Field(
        None, description="on the text tower: generation's gradient as a share of retrieval's"
    )
    denoiser: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="on the denoiser: the gradient through its features as a share of its "
        "prediction's",
    )


class Pace(Section):
    """What `steps: auto` means: passes over the images that fall as 1/√images, within bounds."""

    passes: Annotated[float, Field(gt=0)] = Field(
        12, description="with steps: auto, passes over 1,000 images", json_schema_extra=NOT_WEIGHTS
    )
    least: Positive = Field(
        200, description="with steps: auto, the least steps", json_schema_extra=NOT_WEIGHTS
    )
    most: Positive = Field(
        5000, description="with steps: auto, the most steps", json_schema_extra=NOT_WEIGHTS
    )


class Train(Section):
    """Training one run."""

    steps: Positive | Literal["auto"] = Field(
        2000, description="optimizer steps; auto: by the number of training images, and shown"
    )
    batch_size: Annotated[int, Field(ge=2)] = Field(
        64, description="samples per step over all processes: the contrastive batch"
    )
    denoise_batch: Count = Field(
        0, description="most samples per step that the denoiser sees, spread evenly; 0: all"
    )
    chunk: Count = Field(
        0, description="GradCache: samples that CLIP's towers hold in memory at a time; 0: all"
    )
    pcgrad: bool = Field(
        False, description="remove conflicts between the tasks' gradients on the text tower"
    )
    measure_gradients_every: Count = Field(
        20,
        description="steps between logged gradient norms and cosines on shared towers; 0: never",
    )
    no_duplicates: bool = Field(
        False, description="no two samples of one product, duplicate group or caption in a batch"
    )
    trains: tuple[Literal["vision", "text", "denoiser", "new_layers"], ...] = Field(
        ("vision", "text", "denoiser", "new_layers"), description="the towers that train"
    )
    lr: LearningRates = LearningRates()
    lora: Lora | None = Field(
        None, description="trains adapters of low rank in place of the weights; null: the weights"
    )
    last_layers: LastLayers = LastLayers()
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="a block of CLIP's towers trains at so many times the rate of the one above it",
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        1e-4, description="AdamW's weight decay of matrices"
    )
    schedule: Literal["cosine", "linear", "polynomial", "constant", "constant_with_warmup"] = Field(
        "cosine", description="learning rate over the run, a scheduler of diffusers"
    )
    warmup: Count = Field(100, description="steps of linear warm-up, at most half of the run")
    clip_norm: Annotated[float, Field(gt=0)] = Field(
        1.0, description="largest norm of a tower's gradient"
    )
    ema: Share = Field(
        0.9999, description="decay of the averaged weights, which are exported; 0: no averaging"
    )
    ema_on: Literal["device", "cpu"] = Field(
        "device",
        description="where the averages lie; cpu: beside a GPU, in the machine's own memory",
        json_schema_extra=NOT_WEIGHTS,
    )
    optimizer: Literal["adamw", "adamw8bit", "adafactor"] = Field(
        "adamw",
        description="of two numbers a weight adamw8bit keeps a byte each; adafactor keeps a row "
        "and a column a matrix",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="auto: bf16 on a GPU that supports it, else fp32; fp16: with a scaled loss",
    )
    gradient_checkpointing: bool = Field(
        False, description="less memory for more time: activations are computed twice"
    )
    compile: bool = Field(
        False, description="torch.compile of the towers' blocks, which takes minutes first"
    )
    seed: Seed = Field(0, description="seed of the order, the noise and new layers")
    processes: Count = Field(0, description="0: one per GPU, one without a GPU")
    workers: Count = Field(
        0,
        description="loader processes; 0: the training process loads",
        json_schema_extra=NOT_WEIGHTS,
    )
    cache_latents: bool = Field(
        True,
        description="encode images, and captions of a text tower that stays, once, into cache/",
        json_schema_extra=NOT_WEIGHTS,
    )
    streaming: bool = Field(
        False,
        description="read shards in order, through webdataset; for slow or remote disks",
    )
    checkpoint_every: Positive = Field(
        500, description="steps between checkpoints", json_schema_extra=NOT_WEIGHTS
    )
    keep_checkpoints: Positive = Field(
        2, description="how many of the newest checkpoints to keep", json_schema_extra=NOT_WEIGHTS
    )
    validate_every: Positive = Field(100, description="steps between validations")
    preview_every: Count = Field(
        250, description="steps between preview images; 0: never", json_schema_extra=NOT_WEIGHTS
    )
    preview_prompts: tuple[str, ...] = Field(
        (),
        description="prompts of the previews; empty: four captions of the validation split",
        json_schema_extra=NOT_WEIGHTS,
    )
    best_by: Literal["auto", "recall", "image", "denoise", "last"] = Field(
        "auto",
        description="selects the exported weights; image: by search by photo; auto: by what trains",
    )
    stop_on_collapse: bool = Field(
        False,
        description="end the run with a checkpoint when a collapse meter passes its limit",
        json_schema_extra=NOT_WEIGHTS,
    )
    patience: Count = Field(
        0, description="early stopping: validations without better weights that end a run; 0: never"
    )
    trackers: tuple[Tracker, ...] = Field(
        ("tensorboard",),
        description="where figures go beside log.jsonl: tensorboard, wandb, mlflow, trackio",
        json_schema_extra=NOT_WEIGHTS,
    )
    long_captions: Literal["cut", "split"] = Field(
        "cut",
        description="captions of more tokens than the base reads; split: parts, one at a time",
    )
    alike: Share = Field(
        0,
        description="hard batches: share of a batch that is a block of samples of one colour, or "
        "of near images; 0: none",
    )
    fit: Literal["base", "crop", "pad", "stretch"] = Field(
        "base",
        description="what CLIP sees of images that are not square: the middle; all, padded or "
        "stretched",
    )
    buckets: bool = Field(
        False,
        description="the denoiser learns images near their own aspect ratio; false: their middle",
    )
    augment: Augment = Augment()
    gradient_shares: GradientShares = GradientShares()
    # It decides nothing but the steps, which a run's recipe holds as a number.
    pace: Pace = Field(Pace(), json_schema_extra=NOT_WEIGHTS)

    alpha: Literal["auto"] | Share = Field(
        1.0,
        description="share of the tuned weights in an export's CLIP; auto: chosen by validation",
        json_schema_extra=NOT_WEIGHTS,
    )

    @property
    def total_steps(self) -> int:
        """`steps` as the number that `training.sizing` made of it."""
        assert isinstance(self.steps, int), "steps: auto is no number before `sized`"
        return self.steps

    def by_adapters(self, tower: str) -> bool:
        """Whether a tower trains by adapters of low rank."""
        return self.lora is not None and tower in self.lora.towers

    def rate_of(self, tower: str) -> float:
        """The learning rate of a tower, or of its adapters where it trains by these."""
        rate = getattr(self.lr, tower)
        return rate * self.lora.lr_factor if self.lora and self.by_adapters(tower) else rate

    @field_validator("alike")
    @classmethod
    def _decides_alone(cls, value: float, info: ValidationInfo) -> float:
        for key in ("no_duplicates", "streaming"):
            if value and info.data.get(key):
                raise ValueError(f"it decides the order of samples, as {key} does: turn one off")
        return value

    @field_validator("patience")
    @classmethod
    def _judged(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("best_by") == "last":
            raise ValueError("it waits for better weights, and best_by: last takes the last ones")
        return value

    @field_validator("streaming")
    @classmethod
    def _reads_alone(cls, value: bool, info: ValidationInfo) -> bool:
        for key in ("cache_latents", "no_duplicates"):
            if value and info.data.get(key):
                raise ValueError(f"streaming decides what is read and when: set {key} to false")
        return value

    @field_validator("alpha", mode="wrap")
    @classmethod
    def _auto_or_share(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError(f"{value!r} is neither auto nor a number from 0 to 1") from None

    @field_validator("gradient_shares")
    @classmethod
    def _measured(cls, value: GradientShares, info: ValidationInfo) -> GradientShares:
        if value != GradientShares() and info.data.get("measure_gradients_every") == 0:
            raise ValueError("a share is measured: set train.measure_gradients_every to 20")
        return value


class Generate(Section):
    """Generating images: `generate`, previews and `evaluate` alike."""

    steps: SamplerSteps = Field(30, description="sampler steps")
    guidance: Literal["auto"] | GuidanceScale = Field(
        "auto",
        description="guidance scale; auto: the model's own, which `export` chooses by validation",
    )
    batch_size: Positive = Field(8, description="images generated at a time")

    @field_validator("guidance", mode="wrap")
    @classmethod
    def _auto_or_scale(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError(f"{value!r} is neither auto nor a finite number from 0 on") from None


# The kind of index that the number of images decides.
AUTO_INDEX = "auto"


class IndexSettings(Section):
    """How the embeddings of the catalogue's images are searched."""

    kind: str = Field(
        AUTO_INDEX,
        description="the kind of index; flat: exact, compares with all; ivf: approximate; "
        "auto: by the number of images",
    )

    @field_validator("kind")
    @classmethod
    def _known(cls, value: str) -> str:
        known = (AUTO_INDEX, *registry.names("indexes"))
        if value not in known:
            raise ValueError(f"there is no index named '{value}'.{nearest(value, known)}")
        return value


class Evaluate(Section):
    """Evaluation of the tuned model against its base."""

    split: SplitName = Field("test", description="the split to measure")
    images: Positive = Field(500, description="generated images for the metrics of generation")
    examples: Positive = Field(12, description="example images in the report")
    metrics: tuple[str, ...] = Field(
        (), description="metrics by name; empty: all that this catalogue allows"
    )
    batch_size: Positive = Field(64, description="samples in memory at a time")
    seed: Seed = Field(0, description="seed of generated images, noise and bootstrap")
    probe: str = Field(
        "", description="a catalogue of photos of known classes, for general knowledge"
    )
    inception: str = Field(
        "", description="path of inception-2015-12-05.pt, for FID and KID as published"
    )
    extractor: tuple[Literal["auto", ExtractorName], ...] = Field(
        ("auto",),
        description="extractors of image features, one or several; "
        "auto: inception if its path is given, else nano_scorer",
    )
    scorer: str = Field(
        "",
        description="a CLIP that judges generated images, a folder or hub id; empty: nano_scorer",
    )

    @property
    def extractors(self) -> tuple[ExtractorName, ...]:
        """The extractors by name, without `auto`, each once."""
        automatic: ExtractorName = "inception" if self.inception else "nano_scorer"
        return tuple(dict.fromkeys(automatic if n == "auto" else n for n in self.extractor))

    @field_validator("extractor", mode="before")
    @classmethod
    def _one_is_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("extractor")
    @classmethod
    def _with_its_file(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        given = bool(info.data.get("inception"))
        if not value:
            raise ValueError("name an extractor, or auto")
        if "inception" in value and not given:
            raise ValueError("inception needs its file: set evaluate.inception to its path")
        if given and not {"auto", "inception"} & set(value):
            raise ValueError("evaluate.inception is given and not named here: add inception")
        return value

    @field_validator("metrics")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = registry.names("metrics")
        for name in value:
            if name not in known:
                raise ValueError(f"there is no metric named '{name}'.{nearest(name, known)}")
        return value


class Recipe(Section):
    """What is trained on what, and how."""

    schema_version: Literal[2] = Field(2, description="the version of these keys")
    name: Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]{1,100}$")] = Field(
        "unnamed", description="part of its runs' names; the file's name by default"
    )
    description: str = Field("", description="one line for `unidiff recipes list`")
    base: str | BaseFolders = Field(
        "auto", description="auto, nano, a folder or an export, or {diffusion, clip}"
    )
    image_size: Annotated[int, Field(ge=8, multiple_of=8)] = Field(
        512, description="side of square images that the denoiser learns and generates, in pixels"
    )
    prepare: Prepare = Prepare()
    objectives: Any = None
    train: Train = Train()
    generate: Generate = Generate()
    index: IndexSettings = IndexSettings()
    evaluate: Evaluate = Evaluate()

    def section(self, *names: str) -> dict[str, Any]:
        """Sections as plain data, as receipts keep them."""
        plain = self.model_dump(mode="json", include=set(names))
        if "objectives" in plain:
            plain["objectives"] = {k: v for k, v in plain["objectives"].items() if v is not None}
        return plain

    def training_inputs(self) -> dict[str, Any]:
        """All that changes the weights of a run, as plain data."""
        plain = self.section("base", "image_size", "objectives", "train")
        for key, field in Train.model_fields.items():
            if field.json_schema_extra is NOT_WEIGHTS:
                del plain["train"][key]
        return plain

    def active(self) -> dict[str, Any]:
        """The objectives in force, name to part, in alphabetical order."""
        parts = {
            name: getattr(self.objectives, name) for name in type(self.objectives).model_fields
        }
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def terms(self) -> list[str]:
        """The names of the objectives that count in the loss, in alphabetical order."""
        return [name for name, part in self.active().items() if part.weight]

    def yaml(self) -> str:
        """The whole recipe as YAML that loads again."""
        names = set(type(self).model_fields)
        return dump(self.section(*names))


def recipe_model() -> type[Recipe]:
    """Recipe with its objectives typed by the parts installed here."""
    fields: dict[str, Any] = {
        name: (registry.load("objectives", name) | None, None)
        for name in registry.names("objectives")
    }
    objectives = create_model("Objectives", __base__=Section, **fields)

    def one_at_least(cls: type, value: Any) -> Any:
        if all(getattr(value, name) is None for name in fields):
            raise ValueError("a recipe needs at least one objective")
        return value

    return create_model(
        "Recipe",
        __base__=Recipe,
        __validators__={"one_at_least": field_validator("objectives")(one_at_least)},
        objectives=(
            objectives,
            Field(..., description="the terms of the loss, with their weights"),
        ),
    )


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, for editors."""
    schema = recipe_model().model_json_schema()
    extends = {
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "default": None,
        "description": "the recipe that this file changes, by its name or path",
    }
    schema["properties"] |= {EXTENDS: extends}
    # They may be those of the recipe that it extends.
    schema["required"].remove("objectives")
    return schema
