"""Random folders of each model family with a CLIP in them, small enough for every test."""

from pathlib import Path

from benchmarks.parts.tokenizer import write_tokenizer


def write_base(folder: Path, seed: int = 0, prediction: str = "v_prediction") -> Path:
    """A random Stable Diffusion 1.x folder with clip/ in it: 32 px, some 200k parameters."""
    import torch
    from diffusers import StableDiffusionPipeline

    torch.manual_seed(seed)
    tokenizer = write_tokenizer(folder / "made")
    clip, unet, vae = _clip(tokenizer), _unet(), _vae()
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
    return _written(folder, pipeline, clip, tokenizer)


def write_base_2(folder: Path, seed: int = 0) -> Path:
    """A random Stable Diffusion 2.x folder: a text encoder with one layer less than its CLIP."""
    import torch
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel

    torch.manual_seed(seed)
    tokenizer = write_tokenizer(folder / "made", pad="!")
    clip = _clip(tokenizer, layers=3, hidden_act="gelu")
    text_encoder = CLIPTextModel(_shorter(clip.config.text_config))
    text_encoder.load_state_dict(clip.text_model.state_dict(), strict=False)
    pipeline = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=_unet(use_linear_projection=True),
        scheduler=_scheduler("v_prediction"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _written(folder, pipeline, clip, tokenizer)


def write_base_xl(folder: Path, seed: int = 0, shared: int = 1) -> Path:
    """A random SDXL folder whose clip/ has the first or the second (`shared`) text tower."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModelWithProjection

    torch.manual_seed(seed)
    tokenizers = [write_tokenizer(folder / "made"), write_tokenizer(folder / "made", pad="!")]
    clips = [
        _clip(tokenizers[0], layers=2),
        _clip(tokenizers[1], width=48, layers=3, projection=24, hidden_act="gelu"),
    ]
    config = clips[1].config.text_config
    config.projection_dim = 24
    second = CLIPTextModelWithProjection(config)
    second.text_model, second.text_projection = clips[1].text_model, clips[1].text_projection
    pipeline = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=clips[0].text_model,
        text_encoder_2=second,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=_unet(
            use_linear_projection=True,
            cross_attention_dim=80,
            transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24 + 6 * 8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=EulerDiscreteScheduler(
            timestep_spacing="leading",
            steps_offset=1,
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
        ),
        add_watermarker=False,
    )
    return _written(folder, pipeline, clips[shared - 1], tokenizers[shared - 1])


# A folder of each family and of what is special in one, by a name. Short tests take QUICK of them.
QUICK = ("sd1", "sdxl second")
BASES = {
    "sd1": write_base,
    "sd2": write_base_2,
    "sdxl first": lambda folder: write_base_xl(folder, shared=1),
    "sdxl second": lambda folder: write_base_xl(folder, shared=2),
    "sd1 apart": lambda folder: apart(write_base(folder)),
    "sdxl apart": lambda folder: apart(write_base_xl(folder)),
}


def apart(folder: Path) -> Path:
    """A base's folder with a random SigLIP in the place of its CLIP."""
    import shutil

    shutil.rmtree(folder / "clip")
    write_siglip(folder / "clip")
    (folder / "clip-apart.txt").write_text("apart")
    return folder


def write_siglip(folder: Path, seed: int = 0) -> Path:
    """A random SigLIP folder of 32 px, whose tokenizer falls back on bytes."""
    import torch
    from transformers import Siglip2Tokenizer, SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(seed)
    size = {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2}
    text = {"vocab_size": 640, "max_position_embeddings": 16, "num_hidden_layers": 2}
    vision = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 2}
    model = SiglipModel(SiglipConfig(text_config=size | text, vision_config=size | vision))
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *map(chr, range(97, 123))]
    words += [f"<0x{byte:02X}>" for byte in range(256)]
    words += [f"<unused{number}>" for number in range(640 - len(words))]
    tokenizer = Siglip2Tokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])
    for part in (model, tokenizer, SiglipImageProcessor(size={"height": 32, "width": 32})):
        part.save_pretrained(folder)
    return folder


def bases(*quick: str):
    """Parameters of a test: all of BASES, of which all but `quick` (QUICK) are slow."""
    import pytest

    quick = quick or QUICK
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in BASES]


def _unet(**options):
    from diffusers import UNet2DConditionModel

    kinds = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 32,
    }
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=8,
        **kinds | options,
    )


def _vae():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16),
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=1.0,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )


def _written(folder: Path, pipeline, clip, tokenizer) -> Path:
    """The folder with the pipeline, its clip/ and its numbers in it."""
    from transformers import CLIPImageProcessor

    pipeline.save_pretrained(folder)
    clip.save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    side = {"height": 32, "width": 32}
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side)
    processor.save_pretrained(folder / "clip")
    (folder / "base.yaml").write_text(NUMBERS)
    return folder


def _shorter(config):
    """The config of a text tower without its last layer."""
    return type(config)(**{**config.to_dict(), "num_hidden_layers": config.num_hidden_layers - 1})


def _clip(tokenizer, *, width=32, layers=2, projection=16, **text):
    """A random CLIPModel for a tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    size = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    text_config = {
        **size,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        **text,
    }
    vision = {**size, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8}
    return CLIPModel(
        CLIPConfig(text_config=text_config, vision_config=vision, projection_dim=projection)
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
