"""A recipe: the only thing a person edits, checked whole before anything heavy is imported.

Layers, later wins: the base's own numbers < recipe file < the project's `unidiff.yaml` < environment
(`UNIDIFF_TRAIN__STEPS=500`) < `--set train.steps=500`. Every value remembers the layer it came from, so a
problem is reported with its file and line, all problems at once.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)

from . import plugins
from .errors import RecipeError, UsageError, nearest
from .layers import Layer, dump, environment_layer, merge, parse, read_yaml, set_layer
from .project import FILE

SCHEMA_VERSION = 1


class Section(BaseModel):
    """A part of a recipe: unknown keys are refused and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**62)]


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
    product: str | None = Field(None, description="pictures of one product stay in one split")
    split: str | None = Field(None, description="train, val or test, honoured as given")


class Prepare(Section):
    """How a catalogue becomes shards."""

    reader: str = Field("auto", description="auto, or a reader by name: folder, table, webdataset")
    columns: Columns = Columns()
    caption: str | None = Field(None, description='a template over columns, such as "{name} in {color}"')
    where: dict[str, str] = Field(
        {}, description="keep only rows with these column values, such as view: main"
    )
    max_side: Annotated[int, Field(ge=16, le=8192)] = Field(
        1024, description="pictures are scaled down to this side"
    )
    max_pixels: Positive = Field(100_000_000, description="larger pictures are quarantined undecoded")
    max_bad: Share = Field(0.05, description="the share of bad rows above which prepare fails")
    splits: tuple[Share, Share, Share] = Field(
        (0.8, 0.1, 0.1), description="train, val, test; whole groups only"
    )
    near_duplicates: Annotated[int, Field(ge=0, le=16)] = Field(
        10,
        description="perceptual-hash bits (of 256) within which pictures count as duplicates; 0 turns it off",
    )
    shard_size: Positive = Field(1000, description="samples in one tar")
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that decode; 0 takes every core")
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
    unet: Rate = 1e-5
    heads: Rate = Field(1e-4, description="layers that begin new: an objective's own, DiffDis's stream")


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
    trains: tuple[Literal["vision", "text", "unet", "heads"], ...] = ("vision", "text", "unet", "heads")
    lr: LearningRates = LearningRates()
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup: Annotated[int, Field(ge=0)] = Field(100, description="steps of linear warm-up before the cosine")
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
    processes: Annotated[int, Field(ge=0)] = Field(0, description="0: one a GPU, or one on a machine without")
    workers: Annotated[int, Field(ge=0)] = Field(
        0, description="loader processes; 0 reads in the training process"
    )
    cache_latents: bool = Field(
        True, description="prepare and encode every picture once, into cache/ (0.2 MB a picture at 512 px)"
    )
    checkpoint_every: Positive = 500
    keep_checkpoints: Positive = 2
    validate_every: Positive = 100
    preview_every: Annotated[int, Field(ge=0)] = Field(250, description="0 draws no previews")
    preview_prompts: tuple[str, ...] = Field((), description="empty: four captions of the validation split")
    best_by: Literal["auto", "recall", "denoise", "last"] = Field(
        "auto",
        description="what picks the exported weights; auto: recall with a contrastive or text_diffusion term, else denoise",
    )
    stop_on_collapse: bool = Field(
        False, description="end the run, its checkpoint saved, when a collapse meter trips at a validation"
    )

    @field_validator("denoise_batch")
    @classmethod
    def _some(cls, value: int, info: ValidationInfo) -> int:
        if value > (whole := info.data.get("batch_size", value)):
            raise ValueError(f"{value} of a step's {whole} samples cannot be seen")
        return value


# The keys of `train` that decide no weight.
LOOKED_AT = {
    "workers", "cache_latents", "keep_checkpoints", "checkpoint_every", "preview_every", "preview_prompts", "stop_on_collapse"
}  # fmt: skip


class Generate(Section):
    """How pictures are drawn, by `generate`, previews and `evaluate` alike."""

    steps: Positive = 30
    guidance: Annotated[float, Field(ge=0)] = 7.5
    batch_size: Positive = 8


class Evaluate(Section):
    """What is measured, base against tuned."""

    split: Literal["train", "val", "test"] = "test"
    images: Positive = Field(500, description="pictures drawn for what judges drawing")
    examples: Positive = Field(12, description="pictures shown in the report")
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
        known = plugins.names("metrics")
        for name in value:
            if name not in known:
                raise ValueError(f"there is no metric named '{name}'.{nearest(name, known)}")
        return value


class Recipe(Section):
    """What is trained on what, and how. Objectives are parts: their keys come from their own classes."""

    schema_version: Literal[1] = 1
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
        return {**found, "train": {k: v for k, v in found["train"].items() if k not in LOOKED_AT}}

    def active(self) -> dict[str, Any]:
        """The objectives in force, name to part, in the order the model lists them."""
        return {
            k: v for k in type(self.objectives).model_fields if (v := getattr(self.objectives, k)) is not None
        }

    def yaml(self) -> str:
        """The whole recipe as YAML that loads again."""
        names = set(type(self).model_fields)
        return dump(self.section(*names))


def model() -> type[Recipe]:
    """Recipe with its objectives typed by the parts installed here."""
    fields: dict[str, Any] = {
        n: (plugins.load("objectives", n) | None, None) for n in plugins.names("objectives")
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


def schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, for editors."""
    return model().model_json_schema()


# ---------------------------------------------------------------- loading


def shipped() -> Path:
    """The folder of the recipes that come with unidiff, in a wheel and in a checkout alike."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def recipes() -> dict[str, Path]:
    """The shipped recipes, name to file."""
    return {p.stem: p for p in sorted(shipped().glob("*.yaml"))}


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or os.sep in name


def locate(name: str, beside: Path | None = None) -> Path:
    """The file a recipe's name or path means. Raises UsageError with the nearest name."""
    if _is_path(name):
        for folder in (Path.cwd(), beside or Path.cwd()):
            if (path := folder / os.path.expanduser(name)).is_file():
                return path
        raise UsageError(
            f"There is no recipe file {name}.", "List the shipped ones with: unidiff recipes list"
        )
    known = recipes()
    if name not in known:
        raise UsageError(
            f"There is no recipe named '{name}'.{nearest(name, known)}",
            f"Shipped: {', '.join(known)}; or give a path.",
        )
    return known[name]


def copy(name: str, to: Path | None = None, force: bool = False) -> Path:
    """Copies a recipe to a file or into a folder and returns the file. Raises UsageError where one is there."""
    source = locate(name)
    target = to or Path(source.name)
    if target.is_dir():
        target = target / source.name
    if target.exists() and not force:
        raise UsageError(f"{target} is there already.", "Name another file, or pass --force to replace it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return target


def keep_name(file: Path, name: str) -> None:
    """Writes the recipe's name into a project's unidiff.yaml, leaving the rest and its comments as they are."""
    if _is_path(name):
        name = str(locate(name, file.parent).absolute())
    before = read_yaml(file, FILE).data
    if before.get("recipe") == name:
        return
    text = file.read_bytes().decode("utf-8-sig")
    plain = re.fullmatch(r"[A-Za-z][\w-]*", name) and parse(name, FILE) == name  # null is no name unquoted
    line = f"recipe: {name if plain else json.dumps(name, ensure_ascii=False)}"
    after, found = re.subn(r"(?m)^recipe[ \t]*:[^#\r\n]*?(?=[ \t]*(#|\r|$))", lambda _: line, text, count=1)
    if not found:
        after = f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n"
    beside = file.with_name(f".{file.name}.new")
    beside.write_bytes(after.encode())
    if _data(beside) != {**before, "recipe": name}:  # a file of an unusual shape: written by the parser
        tree = parse(text, FILE)
        tree["recipe"] = name
        beside.write_text(dump(tree), encoding="utf-8")
    os.replace(beside, file)


def _data(file: Path) -> Any:
    """What a YAML file says; None where it says nothing that a recipe could."""
    try:
        return read_yaml(file).data
    except RecipeError:
        return None


Defaults = Callable[[Any], tuple[Any, Mapping[str, Any]]]


def load(
    name: str | os.PathLike[str] | None = None,
    *,
    project_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    assignments: Iterable[str] = (),
    defaults: Defaults | None = None,
) -> Recipe:
    """The recipe in force, all layers merged and checked.

    `name` replaces the name that `unidiff.yaml` gives. `defaults(base)` returns the base that is meant
    (auto resolved) and its own numbers, the lowest layer. Raises RecipeError with every problem.
    """
    mine = Layer(FILE, {})
    if project_file and project_file.is_file():
        mine = read_yaml(project_file, FILE)
    chosen = str(name or mine.data.pop("recipe", None) or "fashion")
    mine.data.pop("recipe", None)
    path = locate(chosen, project_file.parent if project_file else None)
    label = f"recipes/{path.name}" if path.parent == shipped() else str(path)
    layers = [
        read_yaml(path, label),
        mine,
        environment_layer(environ or {}, Recipe.model_fields),
        set_layer(assignments),
    ]
    merged: Any = {"name": path.stem}
    for layer in layers:
        merged = merge(merged, layer.data)
    if defaults:
        try:
            base, numbers = defaults(merged.get("base", "auto"))
        except (UsageError, TypeError, ValueError, RuntimeError, OSError) as problem:
            _check(merged, layers)  # a wrong key is the more likely cause, and is said with its line
            if isinstance(problem, UsageError):
                raise
            raise UsageError(f"The base {merged.get('base')!r} cannot be read: {problem}.") from problem
        layers.insert(0, Layer("base defaults", numbers))
        merged = {**merge(numbers, merged), "base": base}
    return _check(merged, layers)


def _check(merged: Mapping[str, Any], layers: list[Layer]) -> Recipe:
    kind = model()
    try:
        return kind.model_validate(merged)
    except ValidationError as found:
        problems = [_sentence(kind, error, layers) for error in found.errors()]
        raise RecipeError(sorted(set(problems), key=_by_line)) from found


def _by_line(problem: str) -> tuple[str, int]:
    place, line = problem.split(": ")[0].rpartition(":")[::2]
    return (place, int(line)) if line.isdigit() else (problem, 0)


def _sentence(kind: type[BaseModel], error: Any, layers: list[Layer]) -> str:
    keys = tuple(str(k) for k in error["loc"])
    keys = tuple(k for k in keys if not k.endswith("]") and k not in ("str", "BaseFolders"))
    place = next(
        (p for n in (keys, keys[:-1]) for layer in reversed(layers) if n and (p := layer.place(n))), "recipe"
    )
    dotted, parent = ".".join(keys), keys[:-1]
    if error["type"] == "extra_forbidden":
        known = _fields(kind, parent)
        room = (
            parent[-1].removesuffix("s")
            if parent == ("objectives",)
            else f"key in {'.'.join(parent) or 'a recipe'}"
        )
        return f"{place}: no {room} named '{keys[-1]}'.{nearest(keys[-1], known)}"
    if error["type"] == "missing":
        return f"{place}: {dotted} is missing."
    if keys == ("schema_version",):
        return f"{place}: schema_version is {error['input']!r}; this unidiff reads {SCHEMA_VERSION}."
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if error["type"] == "value_error":
        return f"{place}: {dotted}: {message}{'' if message.endswith(('.', '?')) else '.'}"
    return f"{place}: {dotted} is {error['input']!r}; {message}."


def _fields(kind: type[BaseModel], keys: tuple[str, ...]) -> list[str]:
    """The keys known at a place of the recipe."""
    for key in keys:
        field = kind.model_fields.get(key)
        options = getattr(field.annotation, "__args__", (field.annotation,)) if field else ()
        inner = [t for t in options if isinstance(t, type) and issubclass(t, BaseModel)]
        if not inner:
            return []
        kind = inner[0]
    return list(kind.model_fields)
