"""A random Stable Diffusion folder with a CLIP in it, small enough for every test."""

import json
from pathlib import Path


def write_tokenizer(folder: Path, length: int = 24):
    """A CLIPTokenizer of the 512 byte symbols (each with and without </w>) and the two marks."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    words = [*symbols, *(s + "</w>" for s in symbols), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    (folder / "vocab.json").write_text(
        json.dumps({w: i for i, w in enumerate([*words[:-2], "re", "red</w>", *words[-2:]])})
    )
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=length
    )


def write_base(folder: Path, seed: int = 0, prediction: str = "v_prediction") -> Path:
    """A random Stable Diffusion folder with clip/ in it: 32 px, some 200k parameters."""
    import torch
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPImageProcessor

    torch.manual_seed(seed)
    tokenizer = write_tokenizer(folder / "made")
    clip = _clip(tokenizer)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16),
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=1.0,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=clip.text_model,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=_scheduler(prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    clip.save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    side = {"height": 32, "width": 32}
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side)
    processor.save_pretrained(folder / "clip")
    (folder / "base.yaml").write_text(NUMBERS)
    return folder


def _clip(tokenizer):
    """A random CLIPModel for a tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
    }
    vision = {"image_size": 32, "patch_size": 8}
    return CLIPModel(
        CLIPConfig(
            text_config={**size, **text}, vision_config={**size, **vision}, projection_dim=16
        )
    )


def _scheduler(prediction: str):
    """A DDIM scheduler, of zero terminal SNR with v-prediction."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        prediction_type=prediction,
        rescale_betas_zero_snr=prediction == "v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
    )


NUMBERS = """image_size: 32
train: {steps: 6, batch_size: 8, warmup: 2, ema: 0.9, checkpoint_every: 3, validate_every: 3,
  preview_every: 0, lr: {vision: 1.0e-3, text: 1.0e-3, denoiser: 1.0e-3}}
generate: {steps: 3, guidance: 2.0}
evaluate: {images: 8}
"""
