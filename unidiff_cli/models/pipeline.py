"""Reads a diffusers pipeline and a CLIP folder as the halves of one base with one text tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging
from safetensors.torch import load_file, save_file

from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.models import skeleton, text_tower
from unidiff_cli.models.clip import read_clip, refuse_other_words
from unidiff_cli.models.hub_cache import INDEX
from unidiff_cli.models.places import (
    PREDICTS_V,
    cached_file,
    described,
    hub_id,
    is_single_file,
    tensor_names,
)
from unidiff_cli.models.reading import broken, read_part, reading
from unidiff_cli.models.schedule import Prediction
from unidiff_cli.models.sources import Source


@dataclass(frozen=True)
class Layout:
    """A class of pipelines: the text encoders it has, by their folders, and what it goes without.

    `beside` are parts of the latter that are fetched and stay in the folder, for others to read.
    """

    pipeline: Any
    text_encoders: Mapping[str, Any]
    left_out: Mapping[str, Any]
    beside: Sequence[str] = ()

    @property
    def parts(self) -> dict[str, Any]:
        """The models of a pipeline, by their folders."""
        return {"unet": UNet2DConditionModel, "vae": AutoencoderKL, **self.text_encoders}


class Halves(NamedTuple):
    """A base's halves, fp32, and where the pipeline's parts lie.

    `shared` names the pipeline's text encoder that is the CLIP's, None where the CLIP stands apart;
    `folder` is None for a single file.
    """

    pipeline: Any
    clip: Any
    shared: str | None
    folder: Path | None


def read_halves(source: Source, layout: Layout) -> Halves:
    """The pipeline and the CLIPModel of a source, with one text tower between them.

    Raises EnvironmentProblem (not here, or not whole), Damaged for an export, or UsageError (text
    towers that differ, or a pipeline of another kind).
    """
    # Five files are no long work.
    logging.disable_progress_bar()
    try:
        pipeline, folder = _read_pipeline(source, layout)
        clip = read_clip(source.clip)
    finally:
        logging.enable_progress_bar()
    pipeline.set_progress_bar_config(disable=True)
    _refuse_unknown(pipeline, source)
    encoders = {name: getattr(pipeline, name) for name in layout.text_encoders}
    for name, encoder in encoders.items():
        words = tokenizer_of(pipeline, name)
        refuse_other_words("The base", source.diffusion, words, encoder.config)
    return Halves(pipeline, clip, text_tower.share(encoders, clip, source), folder)


def tokenizer_of(pipeline: Any, text_encoder: str) -> Any:
    """The tokenizer of one of a pipeline's text encoders: tokenizer_2 of text_encoder_2."""
    return getattr(pipeline, text_encoder.replace("text_encoder", "tokenizer"))


def _refuse_unknown(pipeline: Any, source: Source) -> None:
    """Raises UsageError for a pipeline whose noise, latents or denoiser work in a way of its own.

    diffusers' classes serve models that read more than ours do, and would run them wrongly.
    """
    scheduler, unet = pipeline.scheduler, pipeline.unet.config
    name, target = type(scheduler).__name__, scheduler.config.get("prediction_type", "epsilon")
    if not hasattr(scheduler, "alphas_cumprod"):
        reason = f"the scheduler {name}, whose noise is not DDPM's"
    elif target not in get_args(Prediction):
        reason = f"a scheduler that predicts '{target}'"
    elif pipeline.vae.config.get("latents_mean") is not None:
        reason = "latents with a mean of their own (latents_mean)"
    elif unet.time_cond_proj_dim is not None:
        reason = "a distilled denoiser, which reads the guidance scale (time_cond_proj_dim)"
    elif unet.in_channels != unet.out_channels:
        reason = f"a denoiser of {unet.in_channels} channels for {unet.out_channels} of latents"
    else:
        return
    raise UsageError(
        f"{source.diffusion} has {reason}; unidiff cannot train it.", "Name another base."
    )


def _read_pipeline(source: Source, layout: Layout) -> tuple[Any, Path | None]:
    """The pipeline in fp32, from files in full precision or, where there are none, in half.

    And its folder.
    """
    if skeleton.wanted():
        return _whole_pipeline(source.description, layout, None)
    if is_single_file(source.diffusion):
        return _single_file(source, layout), None
    try:
        return _whole_pipeline(source.diffusion, layout, None)
    except (EnvironmentProblem, OSError, ValueError):
        if Path(source.diffusion).is_dir():
            raise
        try:
            return _whole_pipeline(source.diffusion, layout, "fp16")
        except (EnvironmentProblem, OSError, ValueError):
            # The first reason is the one to report.
            pass
        raise


def _whole_pipeline(place: str, layout: Layout, variant: str | None) -> tuple[Any, Path]:
    """The pipeline with each model read by itself, so that a partial one is refused."""
    options: dict[str, Any] = {**layout.left_out, "use_safetensors": True}
    with reading("The base", place):
        folder = Path(place)
        if skeleton.wanted():
            folder = _configs(place)
        elif not folder.is_dir():
            repo, revision = hub_id(place)
            pinned = {"revision": revision, "variant": variant}
            wanted = {name: value for name, value in options.items() if name not in layout.beside}
            folder = Path(layout.pipeline.download(repo, **pinned, **wanted))
    models = {name: read_part(kind, folder / name) for name, kind in layout.parts.items()}
    with reading("The base", place):
        pipeline = layout.pipeline.from_pretrained(folder, dtype=torch.float32, **models, **options)
    return pipeline, folder


def _configs(place: str) -> Path:
    """The folder of a pipeline's configs, as far as they are here; nothing is downloaded."""
    if (index := cached_file(place, INDEX)) is None:
        raise EnvironmentProblem(
            f"The configs of {place} are not on this machine.",
            f"Fetch them, and no weights: unidiff base show {place}",
        )
    return index.parent


def _single_file(source: Source, layout: Layout) -> Any:
    """The pipeline of a single file, every tensor of it from the file."""
    config = str(_described(source))
    with reading("The base", source.diffusion):
        try:
            pipeline = layout.pipeline.from_single_file(
                source.diffusion, config=config, **layout.left_out
            )
        # Of a tensor that has no value and is to be moved.
        except NotImplementedError as problem:
            reason = "lacks tensors of its denoiser or autoencoder"
            raise broken("The base", source.diffusion, reason) from problem
    for name in layout.parts:
        # diffusers leaves a tensor of a text encoder that the file lacks without a value.
        state = getattr(pipeline, name).state_dict()
        if missing := sorted(key for key, tensor in state.items() if tensor.is_meta):
            reason = f"lacks {len(missing)} of the {len(state)} tensors of {name}: {missing[0]}, …"
            raise broken("The base", source.diffusion, reason)
    target = pipeline.scheduler.config.get("prediction_type", "epsilon")
    if PREDICTS_V in tensor_names(source.diffusion) and target != "v_prediction":
        raise UsageError(
            f"{source.diffusion} predicts v, and the scheduler of {source.description} says "
            f"{target}.",
            "Give a folder whose scheduler says v_prediction: base: {…, config: FOLDER}",
        )
    return pipeline.to(dtype=torch.float32)


def _described(source: Source) -> Path:
    """The folder with the configs and tokenizers of a single file."""
    try:
        with reading("The base", source.description):
            return described(source.description)
    except EnvironmentProblem as problem:
        raise EnvironmentProblem(
            f"{source.diffusion} holds weights and no configs; those of {source.description} are "
            "not on this machine, and the hub does not answer.",
            "Give a folder that holds them: base: {diffusion: …, clip: …, config: FOLDER}",
        ) from problem


def prefix_text_keys(file: Path) -> None:
    """Writes the keys as transformers 4 and ComfyUI read them.

    transformers 5 saves them without the prefix and reads both.
    """
    tensors = load_file(file)
    if not any(k.startswith("text_model.") for k in tensors):
        prefixed = {f"text_model.{k}": v for k, v in tensors.items()}
        save_file(prefixed, file, metadata={"format": "pt"})
