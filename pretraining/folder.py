"""Nano as folders that diffusers and transformers open.

Weights are float16 on disk, float32 when opened plainly.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pretraining.clip import PROCESSOR
from pretraining.denoiser import make_scheduler
from pretraining.tokenizer import LENGTH, save_tokenizer


def write_pipeline(
    folder: Path,
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
) -> None:
    """A StableDiffusionPipeline folder and, in clip/, the CLIP whose text tower it shares."""
    text = text_tower(clip)
    pipeline = make_pipeline(unet, vae, text, tokenizer)
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "clip"):
        shutil.rmtree(folder / part, ignore_errors=True)
    pipeline.save_pretrained(folder)
    save_tokenizer(tokenizer, folder / "tokenizer")
    _write_half(folder / "unet" / "diffusion_pytorch_model.safetensors", unet.state_dict())
    _write_half(folder / "vae" / "diffusion_pytorch_model.safetensors", vae.state_dict())
    text_weights = folder / "text_encoder" / "model.safetensors"
    _write_half(text_weights, text.state_dict(), prefix="text_model.")
    for part in ("unet", "vae", "text_encoder"):
        _tidy(folder / part / "config.json")
    write_clip(folder / "clip", clip, tokenizer)


def make_pipeline(
    unet: UNet2DConditionModel, vae: AutoencoderKL, text: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """The parts as a pipeline with nano's noise schedule."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def write_clip(folder: Path, clip: CLIPModel, tokenizer: CLIPTokenizer) -> None:
    """A CLIPModel folder with its processor."""
    clip.save_pretrained(folder)
    CLIPProcessor(image_processor=PROCESSOR, tokenizer=tokenizer).save_pretrained(folder)
    # preprocessor_config.json, which transformers 4 looks for.
    PROCESSOR.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    _write_half(folder / "model.safetensors", clip.state_dict())
    _tidy(folder / "config.json")


def text_tower(clip: CLIPModel) -> CLIPTextModel:
    """The text encoder of the pipeline: the same weights as the text tower of `clip`."""
    text = CLIPTextModel(CLIPTextConfig(**clip.config.text_config.to_dict())).eval()
    weights = {k.removeprefix("text_model."): v for k, v in clip.text_model.state_dict().items()}
    prefix = "text_model." if next(iter(text.state_dict())).startswith("text_model.") else ""
    text.load_state_dict({prefix + k: v for k, v in weights.items()})
    return text


@torch.no_grad()
def rounded(model: torch.nn.Module) -> torch.nn.Module:
    """`model` with its weights rounded to what float16 can hold.

    What is trained on top of it then learns from the weights that are shipped.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    return model


def _write_half(path: Path, state: dict[str, Tensor], prefix: str = "") -> None:
    """Writes weights in float16, with `prefix` before every name that does not begin with it.

    transformers 5 drops `text_model.` from CLIPTextModel's keys and reads both; transformers 4 and
    ComfyUI need it.
    """
    halves = {}
    for key, value in state.items():
        if not key.endswith("position_ids"):
            name = key if key.startswith(prefix) else prefix + key
            half = value.half() if value.is_floating_point() else value
            halves[name] = half.contiguous()
    save_file(halves, path, metadata={"format": "pt"})
    # safetensors writes for the owner only.
    path.chmod(0o644)


def _tidy(path: Path) -> None:
    """Makes a config say float32, and drops the path that the weights came from.

    transformers opens the dtype that the config names; diffusers opens float32 by itself.
    """
    config = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    if "architectures" in config:
        for part in (config, config.get("text_config", {}), config.get("vision_config", {})):
            if part:
                part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a folder, with nano's text length."""
    return CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH)
