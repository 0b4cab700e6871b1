"""Reads a diffusers folder and a CLIP folder as the halves of one base with one text tower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.models import skeleton
from unidiff_cli.models.clip import read_clip, refuse_other_words
from unidiff_cli.models.hub_cache import INDEX, cached_file
from unidiff_cli.models.reading import read_model, reading
from unidiff_cli.models.sources import TEXT_TOLERANCE, Source

# The models of a pipeline, by their folders.
PARTS = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}


def read_halves(source: Source) -> tuple[Any, Any]:
    """The pipeline and the CLIPModel of a source, fp32, with one text tower between them.

    Raises EnvironmentProblem (not here, or not whole), Damaged for an export, or UsageError (text
    towers that differ).
    """
    # Five files are no long work.
    logging.disable_progress_bar()
    try:
        pipeline = _pipeline(source.diffusion)
        clip = read_clip(source.clip)
    finally:
        logging.enable_progress_bar()
    pipeline.set_progress_bar_config(disable=True)
    refuse_other_words("The base", source.diffusion, pipeline.tokenizer, clip)
    _share_text_tower(pipeline, clip, source)
    return pipeline, clip


def _pipeline(source: str) -> Any:
    """The pipeline in fp32, from files in full precision or, where there are none, in half."""
    try:
        return _whole_pipeline(source, None)
    except (EnvironmentProblem, OSError, ValueError):
        if Path(source).is_dir():
            raise
        try:
            return _whole_pipeline(source, "fp16")
        except (EnvironmentProblem, OSError, ValueError):
            # The first reason is the one to report.
            pass
        raise


def _whole_pipeline(source: str, variant: str | None) -> Any:
    """The pipeline with each model read by itself, so that a partial one is refused."""
    options: dict[str, Any] = {
        "safety_checker": None,
        "requires_safety_checker": False,
        "feature_extractor": None,
        "use_safetensors": True,
    }
    with reading("The base", source):
        folder = Path(source)
        if skeleton.wanted():
            folder = _configs(source)
        elif not folder.is_dir():
            download = StableDiffusionPipeline.download
            folder = Path(download(source, variant=variant, **options))
    models = {name: _part(kind, folder / name) for name, kind in PARTS.items()}
    with reading("The base", source):
        return StableDiffusionPipeline.from_pretrained(
            folder, dtype=torch.float32, **models, **options
        )


def _configs(source: str) -> Path:
    """The folder of a pipeline's configs, as far as they are here; nothing is downloaded."""
    if (index := cached_file(source, INDEX)) is None:
        raise EnvironmentProblem(
            f"The configs of {source} are not on this machine.",
            f"Fetch them, and no weights: unidiff base show {source}",
        )
    return index.parent


def _part(kind: Any, folder: Path) -> Any:
    """One model of a pipeline, from its only precision or from full precision."""
    halves = not any(path for path in folder.glob("*.safetensors") if ".fp16." not in path.name)
    variant = {"variant": "fp16"} if halves and any(folder.glob("*.fp16.*")) else {}
    return read_model(kind, "The base's", folder, **variant)


def _share_text_tower(pipeline: Any, clip: Any, source: Source) -> None:
    """Makes both halves use one text tower. Raises UsageError where the two copies differ."""
    of_clip, of_pipeline = clip.text_model.state_dict(), pipeline.text_encoder.state_dict()
    of_pipeline = {k.removeprefix("text_model."): v for k, v in of_pipeline.items()}
    shapes = {k: tuple(v.shape) for k, v in of_clip.items() if v.is_floating_point()}
    if shapes != {k: tuple(v.shape) for k, v in of_pipeline.items() if v.is_floating_point()}:
        raise UsageError(
            f"The text tower of {source.clip} has another shape than the one "
            f"{source.diffusion} was trained with.",
            "SD 1.x needs openai/clip-vit-large-patch14, or the CLIP folder that came with it.",
        )
    if skeleton.wanted():
        pipeline.text_encoder = clip.text_model
        return
    gap = max(float((of_clip[k] - of_pipeline[k]).abs().max()) for k in shapes)
    if gap > TEXT_TOLERANCE and source.text is None:
        raise UsageError(
            f"The text weights of {source.diffusion} and {source.clip} differ by up to {gap:.3g} "
            f"(tolerance {TEXT_TOLERANCE}).",
            "Say which one wins: base: {diffusion: …, clip: …, text: diffusion} (or text: clip).",
        )
    if source.text != "clip":
        clip.text_model.load_state_dict(of_pipeline, strict=False)
    pipeline.text_encoder = clip.text_model


def prefix_text_keys(file: Path) -> None:
    """Writes the keys as transformers 4 and ComfyUI read them.

    transformers 5 saves them without the prefix and reads both.
    """
    tensors = load_file(file)
    if not any(k.startswith("text_model.") for k in tensors):
        prefixed = {f"text_model.{k}": v for k, v in tensors.items()}
        save_file(prefixed, file, metadata={"format": "pt"})
