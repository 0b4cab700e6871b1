"""What a section of a recipe is, and the kinds of values that several sections have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from unidiff_cli.config.limits import MAX_COUNT, MAX_SAMPLER_STEPS, MAX_SEED


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
