"""What a base consists of, before it is loaded: parts, sizes, licence, and its two text towers.

Reads the heads of safetensors files, of a folder, of the hub cache, or of the hub. No torch.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unidiff_cli.errors import UsageError
from unidiff_cli.models import hub
from unidiff_cli.models.hub_cache import (
    INDEX,
    OPTIONAL,
    missing_of_model,
    missing_of_pipeline,
    pipeline_parts,
)
from unidiff_cli.models.places import cached_file, is_single_file
from unidiff_cli.models.reading import broken
from unidiff_cli.models.sources import SD15, Source, resolve_base

# The CLIP that reads captions for a denoiser, by the width of its first text tower: of SD 1.x and
# SDXL, and of SD 2.x.
USUAL_CLIP = {768: SD15.clip, 1024: "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"}
# Bytes of the head of a safetensors file that are believed.
MOST_HEAD = 100 << 20

# What the tensors of a CLIP's vision tower begin with.
VISION = ("vision_model.", "visual_projection.")

# Tensors by name: their shapes.
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Part:
    """One model of a base: its name, class, parameters and bytes of its files."""

    name: str
    kind: str
    parameters: int
    bytes: int


def source_named(name: str, clip: str | None) -> Source:
    """The source that a name on the command line means: a base of this machine, or a hub id.

    `clip` is the CLIP of a diffusers pipeline. Raises UsageError for a hub id whose CLIP is not
    known, and for a single file, which holds a pipeline and has no configs.
    """
    if is_single_file(name):
        raise UsageError(
            f"{name} is a single file; this command takes folders and hub ids.",
            "Name the folder or hub id that it was made from, or train with it: base: "
            "{diffusion: FILE, clip: …}",
        )
    if name == "auto":
        return Source(SD15.diffusion, clip or SD15.clip)
    if clip is None and (Path(name).exists() or "/" not in name or name.startswith(("~", "."))):
        return resolve_base(name)[1]
    return Source(name, clip or _usual_clip(name))


def _usual_clip(pipeline: str) -> str:
    """The CLIP that a pipeline was trained with, by the width of its text tower."""
    if pipeline == SD15.diffusion:
        return SD15.clip
    config = cached_file(pipeline, "text_encoder/config.json") or hub.small_file(
        pipeline, "text_encoder/config.json"
    )
    width = json.loads(config.read_text(encoding="utf-8")).get("hidden_size")
    if width not in USUAL_CLIP:
        raise UsageError(
            f"The CLIP of {pipeline} is not known: its text tower has a width of {width}.",
            "Name it: --clip ID",
        )
    return USUAL_CLIP[width]


def missing_files(source: Source) -> dict[str, list[str]]:
    """What a base lacks on this machine to be loaded: files by folder or hub id."""
    lacking = {
        source.diffusion: missing_of_pipeline(source.diffusion),
        source.clip: missing_of_model(source.clip),
    }
    return {place: files for place, files in lacking.items() if files}


# ---------------------------------------------------------------- parts and sizes


def parts(source: Source, found: Mapping[str, hub.Repository]) -> list[Part]:
    """The models of a base. What is not on this machine is read from its repository's heads."""
    index = cached_file(source.diffusion, INDEX)
    if index is None:
        raise broken("The base", source.diffusion, f"has no {INDEX}")
    classes = json.loads(index.read_text(encoding="utf-8"))
    listed: list[Part] = []
    for name in pipeline_parts(index):
        if not name.startswith(("scheduler", "tokenizer", "feature_extractor")):
            shapes, size = _weights(source.diffusion, f"{name}/", found)
            if size or name not in OPTIONAL:
                listed.append(Part(name, str(classes[name][1]), _count(shapes), size))
    shapes, size = _weights(source.clip, "", found)
    vision = {k: v for k, v in shapes.items() if k.startswith(VISION)}
    text = {k: v for k, v in shapes.items() if k not in vision}
    share = _count(vision) / max(_count(shapes), 1)
    kind = _class_of_clip(source.clip)
    listed.append(Part("clip, vision tower", kind, _count(vision), round(size * share)))
    listed.append(Part("clip, text tower", kind, _count(text), size - round(size * share)))
    return listed


def _class_of_clip(place: str) -> str:
    """The class that a CLIP's config names."""
    config = cached_file(place, "config.json")
    named = json.loads(config.read_text(encoding="utf-8")).get("architectures") if config else None
    return str(named[0]) if named else "CLIPModel"


def _count(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _weights(place: str, folder: str, found: Mapping[str, hub.Repository]) -> tuple[Shapes, int]:
    """The shapes of one model's weights, and the bytes of its files."""
    if place in found:
        files = [f for f in found[place].files if f.rpartition("/")[0] == folder.rstrip("/")]
    else:
        files = _local_weights(place, folder)
    shapes, size = Shapes(), 0
    for file in filter(hub.is_weights, files):
        local = cached_file(place, file)
        shapes |= read_head(local) if local else hub.read_head(place, file)
        size += local.stat().st_size if local else found[place].files[file]
    return shapes, size


def _local_weights(place: str, folder: str) -> list[str]:
    """The weights of a folder or of a snapshot of the cache, each model's once."""
    config = cached_file(place, f"{folder}config.json")
    if config is None:
        return []
    files = [folder + file.name for file in config.parent.iterdir()]
    return hub.files_read(files, [folder.rstrip("/")] if folder else None)


def read_head(file: Path) -> Shapes:
    """The shapes of a safetensors file's tensors, without a weight. Raises as `broken`."""
    try:
        with open(file, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > MOST_HEAD:
                raise ValueError(f"its head would have {length:,} bytes")
            head = json.loads(stream.read(length))
        return {
            name: tuple(entry["shape"]) for name, entry in head.items() if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError, struct.error) as problem:
        raise broken("The weights", file, f"cannot be read: {problem}") from problem


# ---------------------------------------------------------------- licence and text towers


def licence(place: str, found: Mapping[str, hub.Repository]) -> str:
    """The licence that a folder's or repository's model card names; empty where none does."""
    if place in found:
        return found[place].licence
    card = cached_file(place, "README.md")
    return hub.licence_of(_head_of_card(card)) if card else ""


def _head_of_card(card: Path) -> dict[str, Any]:
    """The YAML between the first two lines of dashes of a model card."""
    from unidiff_cli.config.sources import parse_yaml

    text = card.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---\n") or "\n---" not in text[4:]:
        return {}
    try:
        data = parse_yaml(text[4:].partition("\n---")[0], str(card)).data
    except Exception:
        return {}
    return data if isinstance(data, dict) else {}


def text_towers(source: Source) -> str:
    """Whether a CLIP's text tower is one of its pipeline's, as a sentence, by their weights."""
    if source.text == "apart":
        return "two: this CLIP stands apart, and the denoiser keeps its own"
    index = cached_file(source.diffusion, INDEX)
    parts = pipeline_parts(index) if index else {}
    encoders = [f"{name}/" for name in parts if name.startswith("text_encoder")]
    here = not any(missing_of_model(source.diffusion, folder) for folder in encoders)
    if not here or missing_of_model(source.clip):
        return "compared once the weights are here"
    from unidiff_cli.models.text_tower import TOLERANCE

    of_clip = _text_tensors(source.clip, "")
    copies = [_text_tensors(source.diffusion, folder) for folder in encoders]
    gaps = [gap for copy in copies if (gap := _gap(copy, of_clip)) is not None]
    if not gaps:
        return "of another shape: this CLIP can only stand apart, base: {text: apart}"
    if (gap := min(gaps)) <= TOLERANCE:
        return f"the same weights, within {gap:.2g}"
    return f"differ by up to {gap:.3g}: the recipe has to say which one wins, base: {{text: …}}"


def _gap(encoder: Mapping[str, Any], of_clip: Mapping[str, Any]) -> float | None:
    """The largest difference of an encoder's weights from a CLIP's; None where shapes differ.

    An encoder may have fewer layers than the CLIP, as that of SD 2.x has.
    """
    if any(name not in of_clip or of_clip[name].shape != x.shape for name, x in encoder.items()):
        return None
    return max(float((of_clip[name] - x).abs().max()) for name, x in encoder.items())


def _text_tensors(place: str, folder: str) -> dict[str, Any]:
    """The tensors of a text tower in fp32, by their names without a prefix."""
    from safetensors.torch import load_file

    tensors: dict[str, Any] = {}
    for file in filter(hub.is_weights, _local_weights(place, folder)):
        local = cached_file(place, file)
        assert local is not None
        for name, tensor in load_file(local).items():
            short = name.removeprefix("text_model.")
            others = (*VISION, "text_projection", "logit_scale")
            if tensor.is_floating_point() and not short.startswith(others):
                tensors[short] = tensor.float()
    return tensors
