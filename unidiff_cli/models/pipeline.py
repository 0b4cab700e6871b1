"""Reads a diffusers folder and a CLIP folder as the halves of one base with one text tower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.models.clip import first_line
from unidiff_cli.models.sources import Source

# Two copies of one text tower, one of them once stored in half precision.
TOLERANCE = 2e-3


def read_halves(source: Source) -> tuple[Any, Any]:
    """The pipeline and the CLIPModel of a source, fp32, with one text tower between them.

    Raises EnvironmentProblem (not here) or UsageError (text towers that differ).
    """
    # Five files are no long work.
    logging.disable_progress_bar()
    try:
        pipeline = _pipeline(source.diffusion)
        clip = CLIPModel.from_pretrained(source.clip, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, KeyError, SafetensorError) as problem:
        raise EnvironmentProblem(
            f"The base {source.diffusion} + {source.clip} cannot be loaded: {first_line(problem)}",
            "Check the machine with: unidiff doctor",
        ) from problem
    finally:
        logging.enable_progress_bar()
    pipeline.set_progress_bar_config(disable=True)
    _share_text_tower(pipeline, clip, source)
    return pipeline, clip


def _pipeline(source: str) -> Any:
    """The pipeline in fp32, from files in full precision or, where there are none, in half."""
    options: dict[str, Any] = {
        "safety_checker": None,
        "requires_safety_checker": False,
        "feature_extractor": None,
        "dtype": torch.float32,
        "use_safetensors": True,
    }
    try:
        return StableDiffusionPipeline.from_pretrained(source, **options)
    except (OSError, ValueError):
        try:
            return StableDiffusionPipeline.from_pretrained(source, variant="fp16", **options)
        except (OSError, ValueError):
            # The first reason is the one to report.
            pass
        raise


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
    gap = max(float((of_clip[k] - of_pipeline[k]).abs().max()) for k in shapes)
    if gap > TOLERANCE and source.text is None:
        raise UsageError(
            f"The text weights of {source.diffusion} and {source.clip} differ by up to {gap:.3g} "
            f"(tolerance {TOLERANCE}).",
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
