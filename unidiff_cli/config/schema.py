"""The schema of a recipe: every key with its type, default and meaning, checked without torch.

A recipe is what a person edits; `load.py` reads it from all its sources. Two of its sections have
files of their own. Objectives are parts: their keys come from their own classes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    create_model,
    field_validator,
)

from unidiff_cli import registry
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.config.sources import dump
from unidiff_cli.config.train import NOT_WEIGHTS, Train
from unidiff_cli.config.values import (
    ExtractorName,
    GuidanceScale,
    Positive,
    SamplerSteps,
    Section,
    Seed,
    SplitName,
)
from unidiff_cli.errors import nearest

SCHEMA_VERSION = 2
# The key of a recipe file that names the recipe it changes. A recipe in force has none.
EXTENDS = "extends"


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
