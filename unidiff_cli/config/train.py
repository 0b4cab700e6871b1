"""The keys of `train`: what learns, how fast, how long, in which memory."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from unidiff_cli.config.lora import Lora
from unidiff_cli.config.values import (
    Count,
    Positive,
    Rate,
    Section,
    Seed,
    Share,
    Tracker,
)

# Marks a key of `train` that does not change the trained weights.
NOT_WEIGHTS: dict[str, Any] = {"changes_weights": False}


class LearningRates(Section):
    """The learning rate of each tower; 0 freezes it."""

    vision: Rate = Field(1e-5, description="CLIP's vision tower")
    text: Rate = Field(2e-6, description="the text tower, shared by CLIP and Stable Diffusion")
    denoiser: Rate = Field(1e-5, description="the denoiser, in Stable Diffusion 1.x a UNet")
    new_layers: Rate = Field(
        1e-4, description="layers that start from random: projection heads, DiffDis's layers"
    )


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
        description="auto: bf16 where GPU or processor have it, else fp32; fp16: a scaled loss",
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
