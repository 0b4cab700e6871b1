"""Stable Diffusion 1.5 and XL with CLIP ViT-L/14 at their real size: random weights, or configs."""

from functools import partial

import torch

from benchmarks.parts.tokenizer import write_tokenizer

# Of CLIP's text towers.
LARGE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
BIGG = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
}
NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def write_full_size(folder, kind="sd15", half=False):
    """`sd15` or `sdxl` in `sd` and CLIP in `clip`, with weights; how many parameters they have.

    `half` writes them in float16. `sd15-narrow` has half of the channels of `sd15` in its denoiser
    and its autoencoder, so that the two keep their shares of a step.
    """
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16 if half else before)
    try:
        tokenizer, clip = _clip(folder)
        pipeline = PIPELINES[kind](tokenizer, clip)
    finally:
        torch.set_default_dtype(before)
    pipeline.save_pretrained(folder / "sd")
    clip.save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    modules = [m for m in pipeline.components.values() if isinstance(m, torch.nn.Module)]
    once = {id(p): p for module in (clip, *modules) for p in module.parameters()}
    return sum(p.numel() for p in once.values())


def write_configs(folder, kind="sd15"):
    """The same folders without weights, of `sd15` or `sdxl`; the value of a recipe's `base`."""
    with torch.device("meta"):
        tokenizer, clip = _clip(folder)
        pipeline = PIPELINES[kind](tokenizer, clip)
    pipeline.save_config(folder / "sd")
    for name, part in pipeline.components.items():
        place = folder / "sd" / name
        if name.startswith("text_encoder"):
            part.config.save_pretrained(place)
        elif name in ("unet", "vae"):
            part.save_config(place)
        elif part is not None:
            part.save_pretrained(place)
    clip.config.save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    return f"base={{diffusion: {folder / 'sd'}, clip: {folder / 'clip'}}}"


def _clip(folder):
    from transformers import CLIPConfig, CLIPModel

    tokenizer = write_tokenizer(folder / "made", length=77)
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    }
    config = CLIPConfig(
        text_config={**LARGE, **_words(tokenizer), "projection_dim": 768},
        vision_config={**vision, "image_size": 224, "patch_size": 14, "projection_dim": 768},
        projection_dim=768,
    )
    return tokenizer, CLIPModel(config)


def _words(tokenizer):
    marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    return {**marks, "pad_token_id": 1, "vocab_size": 49408}


def _vae(scaling_factor, width=128):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
        layers_per_block=2,
        scaling_factor=scaling_factor,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def _sd15(tokenizer, clip, width=320):
    from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
        cross_attention_dim=768,
        attention_head_dim=8,
    )
    with torch.device("cpu"):
        scheduler = PNDMScheduler(**NOISE, skip_prk_steps=True, steps_offset=1)
    return StableDiffusionPipeline(
        vae=_vae(0.18215, width * 2 // 5),
        text_encoder=clip.text_model,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl(tokenizer, clip):
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    config = CLIPTextConfig(**BIGG, **_words(tokenizer), projection_dim=1280)
    with torch.device("cpu"):
        scheduler = EulerDiscreteScheduler(**NOISE, timestep_spacing="leading", steps_offset=1)
    return StableDiffusionXLPipeline(
        vae=_vae(0.13025),
        text_encoder=clip.text_model,
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=scheduler,
        add_watermarker=False,
    )


PIPELINES = {"sd15": _sd15, "sd15-narrow": partial(_sd15, width=160), "sdxl": _sdxl}
