"""What of a base is on this machine, in a folder or in the hub cache, and what it lacks to be read.

Loads no torch and asks no network.
"""

from __future__ import annotations

import json
from pathlib import Path

from unidiff_cli.models.places import cached_file

INDEX = "model_index.json"
# A part of a pipeline that no base reads, and those that a base has or goes without.
UNREAD, OPTIONAL = ("image_encoder",), ("safety_checker", "feature_extractor")


def pipeline_parts(index: Path) -> dict[str, str]:
    """The folders of a diffusers pipeline that a base reads, each with the library of its class."""
    parts = json.loads(index.read_text(encoding="utf-8"))
    return {
        name: str(kind[0])
        for name, kind in parts.items()
        if isinstance(kind, list) and any(kind) and name not in UNREAD
    }


def missing_of_pipeline(place: str) -> list[str]:
    """The files that a diffusers pipeline, a folder or a hub id, lacks here."""
    index = cached_file(place, INDEX)
    if index is None:
        return [INDEX]
    missing: list[str] = []
    for part, library in pipeline_parts(index).items():
        if part in OPTIONAL:
            continue
        if part.startswith("scheduler"):
            wanted = [f"{part}/scheduler_config.json"]
            missing += [file for file in wanted if not cached_file(place, file)]
        elif part.startswith("tokenizer"):
            if not any(cached_file(place, f"{part}/{f}") for f in ("vocab.json", "tokenizer.json")):
                missing.append(f"{part}/vocab.json")
        else:
            stem = "diffusion_pytorch_model" if library == "diffusers" else "model"
            missing += missing_of_model(place, f"{part}/", stem)
    return missing


def missing_of_model(place: str, folder: str = "", stem: str = "model") -> list[str]:
    """The config and the weights that one model lacks here; `folder` is its, with a slash."""
    config = f"{folder}config.json"
    missing = [] if cached_file(place, config) else [config]
    for half in ("", ".fp16"):
        if cached_file(place, f"{folder}{stem}{half}.safetensors"):
            return missing
        if index := cached_file(place, f"{folder}{stem}.safetensors.index{half}.json"):
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            files = [f"{folder}{shard}" for shard in sorted(shards)]
            return [*missing, *(file for file in files if not cached_file(place, file))]
    return [*missing, f"{folder}{stem}.safetensors"]
