"""Where a base's weights are: which CLIP and which Stable Diffusion a recipe adapts. No torch.

A base is one folder (a diffusers pipeline with a transformers `clip/` in it: the embedded ones, and
every export) or two sources, `{diffusion: …, clip: …}`, each a folder or a hub id; `places.py` says
how they are written. A `base.yaml` in the diffusion folder holds the numbers that suit the base:
the lowest layer of every recipe.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unidiff_cli import machine, registry
from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.schema import BaseFolders, Generate, Recipe
from unidiff_cli.config.sources import ConfigSource, read_yaml
from unidiff_cli.errors import EnvironmentProblem, UnidiffError, UsageError, nearest
from unidiff_cli.models import places
from unidiff_cli.models.hub_cache import missing_of_model, missing_of_pipeline
from unidiff_cli.models.reading import broken, reading
from unidiff_cli.project.files import digest, file_digest
from unidiff_cli.project.project import Project

logger = logging.getLogger("unidiff")
EMBEDDED = Path(__file__).parent / "embedded"
# The folder of the frozen CLIP that scores generated images.
SCORER = EMBEDDED / "nano_scorer"
SD15 = BaseFolders(
    diffusion="stable-diffusion-v1-5/stable-diffusion-v1-5", clip="openai/clip-vit-large-patch14"
)
# The endings of the files that decide what a base computes.
READ = (".safetensors", ".json", ".txt")
# The file of the numbers that suit a base.
NUMBERS = "base.yaml"
# The file that says of a base's folder that its CLIP stands apart, and what it holds.
APART = "clip-apart.txt"
APART_NOTE = "The CLIP in clip/ shares no text tower with the pipeline: unidiff, base.text: apart."
# The folder of a base's DiffDis layers, beside its diffusers parts.
DUAL_STREAM = "dual_stream"


@dataclass(frozen=True)
class Source:
    """Where a base's two halves are, which text tower wins, and why this base was chosen."""

    diffusion: str
    clip: str
    text: str | None = None
    why: str = ""
    # Where the pipeline of a single file is described.
    config: str | None = None

    @property
    def description(self) -> str:
        """The place that holds the pipeline's configs and tokenizers.

        Raises UsageError for a single file that unidiff does not read, or not without its config.
        """
        if not places.is_single_file(self.diffusion):
            return self.diffusion
        place = self.config or self._single_file().config
        if not place:
            raise UsageError(
                f"{self.diffusion} is an SD 2.x, and does not say whether it predicts the noise "
                "(512 px) or v (768 px).",
                "Give the folder or hub id of its configs: base: {diffusion: …, config: …, …}",
            )
        return place

    def family(self) -> str:
        """The part that reads this base. Raises UsageError for a pipeline class no part reads.

        Raises EnvironmentProblem where a hub id is neither in the cache nor can be asked.
        """
        file = "model_index.json"
        if not Path(self.diffusion).exists() and not places.cached_file(self.diffusion, file):
            with reading("The base", self.diffusion):
                places.fetch_file(self.diffusion, file)
        pipeline = self.pipeline_class()
        # A family is named as the pipeline it reads: StableDiffusionPipeline, stable_diffusion.
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", pipeline.removesuffix("Pipeline"))
        family = "_".join(words).lower()
        if family not in (known := registry.names("models")):
            raise UsageError(
                f"{self.diffusion} is a {pipeline}; unidiff reads: {', '.join(known)}.",
                "Name another base in the recipe.",
            )
        return family

    def pipeline_class(self) -> str:
        """The class of pipelines that the base's files on this machine are of."""
        if places.is_single_file(self.diffusion):
            return self._single_file().pipeline
        index = _config(self.diffusion, "model_index.json")
        return str(index.get("_class_name", "StableDiffusionPipeline"))

    def _single_file(self) -> places.Kind:
        with reading("The base", self.diffusion):
            kind = places.kind_of(self.diffusion)
        if kind is None:
            raise UsageError(
                f"{self.diffusion} is no single file of SD 1.x, SD 2.x or SDXL with its text "
                "encoder in it.",
                "Name another file, or a folder in the layout of diffusers.",
            )
        return kind


def embedded_bases() -> dict[str, Path]:
    """The bases that come in the wheel, name to folder."""
    return {p.parent.name: p.parent for p in sorted(EMBEDDED.glob("*/model_index.json"))}


def resolve_base(base: Any) -> tuple[Any, Source]:
    """What a recipe's `base` means on this machine: the value without `auto`, and its source.

    Raises UsageError for a name or folder that is not there.
    """
    if isinstance(base, BaseFolders | Mapping):
        folders = BaseFolders.model_validate(base if isinstance(base, Mapping) else dict(base))
        named = {k: getattr(folders, k) for k in ("diffusion", "clip", "config")}
        halves = {k: place and _absolute(place) for k, place in named.items()}
        value = folders.model_copy(update=halves).model_dump()
        return value, Source(**value, why="two sources, as the recipe says")
    if base == "auto":
        if not machine.has_gpu():
            value, source = resolve_base("nano")
            reason = "the embedded one, since there is no GPU (base: auto)"
            return value, replace(source, why=reason)
        if missing := missing_for_sd15():
            raise EnvironmentProblem(
                f"With a GPU the base is {SD15.diffusion}, and {missing} (base: auto).",
                f"Fetch it: unidiff base fetch {SD15.diffusion}; or name the embedded one of 64 "
                "px: unidiff train --base nano",
            )
        reason = "a GPU and these weights are here (base: auto)"
        return SD15.model_dump(), Source(SD15.diffusion, SD15.clip, None, reason)
    inside = embedded_bases()
    if base in inside:
        folder = inside[base]
        return base, Source(str(folder), str(folder / "clip"), None, "embedded in the package")
    folder = Path(os.path.expanduser(str(base)))
    if places.is_single_file(folder):
        raise UsageError(
            f"{folder} is a diffusion model without the image tower of a CLIP.",
            f"Give both: base: {{diffusion: {folder}, clip: FOLDER}}",
        )
    if (folder / "model_index.json").is_file():
        if not (folder / "clip" / "config.json").is_file():
            raise UsageError(
                f"{folder} is a diffusion pipeline without a clip/ folder.",
                "Give both: base: {diffusion: FOLDER, clip: FOLDER}",
            )
        folder = folder.absolute()
        text = "apart" if (folder / APART).is_file() else None
        return str(folder), Source(str(folder), str(folder / "clip"), text, "a folder")
    raise UsageError(
        f"There is no base '{base}'.{nearest(str(base), inside)}",
        f"Give auto, {', '.join(inside)}, a folder with model_index.json and clip/, "
        "or {diffusion: ID, clip: ID}.",
    )


def base_defaults(base: Any) -> tuple[Any, ConfigSource]:
    """The resolved base and its own numbers, for `read_recipe`."""
    value, source = resolve_base(base)
    logger.info(f"base {value if isinstance(value, str) else source.diffusion}: {source.why}")
    return value, _numbers(source)


def _numbers(source: Source) -> ConfigSource:
    """A base's own numbers: its base.yaml, or what suits Stable Diffusion's size.

    Its guidance is the model's and not the recipe's: see `guidance_file.py`.
    """
    file = Path(source.diffusion) / NUMBERS
    if file.is_file():
        numbers = read_yaml(file)
        if isinstance(generate := numbers.data.get("generate"), Mapping):
            rest = {key: value for key, value in generate.items() if key != "guidance"}
            data = {**numbers.data, "generate": rest}
            numbers = ConfigSource(numbers.label, data, numbers.lines)
        return numbers
    unet = _config(source.description, "unet/config.json")
    vae = _config(source.description, "vae/config.json")
    size = {}
    if "sample_size" in unet and "block_out_channels" in vae:
        # Every level of the autoencoder but the first halves the image.
        size["image_size"] = unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)
    return ConfigSource("base defaults", {**LARGE, **size})


def load_recipe(name: str | None = None, project: Project | None = None, **sources: Any) -> Recipe:
    """The recipe in force in a project, with its base's own numbers as the lowest source.

    `sources` are the `environ` and `assignments` of `read_recipe`.
    """
    project_file = project.file if project else None
    return read_recipe(name, project_file=project_file, defaults=base_defaults, **sources)


def generation_settings(folder: Path, project: Project, **sources: Any) -> Generate:
    """How an export generates images: its own numbers, the project's `generate` above them."""
    numbers = _numbers(resolve_base(str(folder))[1])
    recipe = read_recipe(
        None, project_file=project.file, defaults=lambda base: (str(folder), numbers), **sources
    )
    return recipe.generate


def _absolute(place: str) -> str:
    """A folder or file by its whole path, for a run resumed from elsewhere; a hub id as it is."""
    path = Path(os.path.expanduser(place))
    return str(path.absolute()) if path.exists() else place


def files_hash(base: Any) -> str:
    """A hash over the files that decide what a base computes, and which text tower wins.

    These are its weights, tokenizer, preprocessing and schedule: the files' bytes, or for hub ids
    the names of the snapshots. It reads every file.
    """
    _, source = resolve_base(base)
    parts: list[Any] = [source.text]
    pipeline = ("model_index.json", "*/*")
    read = [(source.diffusion, pipeline), (source.clip, ("*",))]
    if places.is_single_file(source.diffusion):
        parts.append(file_digest(Path(source.diffusion)))
        read[0] = (source.description, pipeline)
    for place, patterns in read:
        folder = Path(place)
        if folder.is_dir():
            files = (path for pattern in patterns for path in folder.glob(pattern))
            parts += [
                (str(path.relative_to(folder)), file_digest(path))
                for path in sorted(path for path in files if path.suffix in READ)
            ]
        else:
            names = ("model_index.json", "config.json")
            indexes = (places.cached_file(place, name) for name in names)
            parts.append((place, str(next((path for path in indexes if path), None))))
    return digest(parts)


# What suits a Stable Diffusion of a billion parameters whose folder says nothing. Its learning
# rates are the recipe's defaults. 256 captions are compared in the memory of a plain batch of 32
# in CLIP's towers and 16 in the denoiser (docs/decisions/2026-11-26-the-batch-of-a-large-base.md).
LARGE = {
    "train": {
        "steps": "auto",
        "batch_size": 256,
        "chunk": 32,
        "denoise_batch": 16,
        "gradient_checkpointing": True,
    }
}


def missing_for_sd15() -> str:
    """What of SD 1.5 and its CLIP is not on this machine; empty where both are."""
    for repo, missing in (
        (SD15.diffusion, missing_of_pipeline(SD15.diffusion)),
        (SD15.clip, missing_of_model(SD15.clip)),
    ):
        if missing:
            return f"{missing[0]} of {repo} is not in the hub cache"
    return ""


def _config(source: str, file: str) -> dict[str, Any]:
    """A JSON file of a folder or of the hub cache; empty where it is not there."""
    path = places.cached_file(source, file)
    if path is None:
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        raise _not_a_config(path) from problem
    if not isinstance(config, dict):
        raise _not_a_config(path)
    return config


def _not_a_config(path: Path) -> UnidiffError:
    return broken("The config", path, "is not a JSON object")
