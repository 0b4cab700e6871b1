"""Writes a pipeline as one file in the layout of Stable Diffusion's own code, which sites offer.

The names are those of CompVis's and Stability's code, of a UNet and an autoencoder of any depth.
"""

from pathlib import Path

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding": "token_embedding",
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "fc1": "c_fc",
    "fc2": "c_proj",
}


def write_single_file(pipeline, file: Path) -> Path:
    """All weights of a pipeline of SD 1.x, SD 2.x or SDXL in one safetensors file."""
    from safetensors.torch import save_file

    tensors = {f"model.diffusion_model.{k}": w for k, w in _unet(pipeline.unet).items()}
    tensors |= {f"first_stage_model.{k}": w for k, w in _vae(pipeline.vae).items()}
    first = pipeline.text_encoder.state_dict()
    if second := getattr(pipeline, "text_encoder_2", None):
        prefix = "conditioner.embedders"
        tensors |= {f"{prefix}.0.transformer.text_model.{k}": w for k, w in first.items()}
        tensors |= {f"{prefix}.1.model.{k}": w for k, w in _open_clip(second).items()}
    elif pipeline.text_encoder.config.hidden_act == "gelu":
        named = _open_clip(pipeline.text_encoder)
        tensors |= {f"cond_stage_model.model.{k}": w for k, w in named.items()}
    else:
        tensors |= {f"cond_stage_model.transformer.text_model.{k}": w for k, w in first.items()}
    save_file({name: weight.clone().contiguous() for name, weight in tensors.items()}, file)
    return file


def _replaced(name: str, words: dict[str, str]) -> str:
    for ours, theirs in words.items():
        name = name.replace(ours, theirs)
    return name


def _unet(unet) -> dict:
    layers, levels = unet.config.layers_per_block, len(unet.down_blocks)
    places = {"mid_block.attentions.0.": "middle_block.1."}
    places |= {f"mid_block.resnets.{j}.": f"middle_block.{2 * j}." for j in range(2)}
    for i in range(levels):
        first, start = (layers + 1) * i + 1, (layers + 1) * i
        for j in range(layers):
            places[f"down_blocks.{i}.resnets.{j}."] = f"input_blocks.{first + j}.0."
            places[f"down_blocks.{i}.attentions.{j}."] = f"input_blocks.{first + j}.1."
        places[f"down_blocks.{i}.downsamplers.0.conv."] = f"input_blocks.{first + layers}.0.op."
        for j in range(layers + 1):
            places[f"up_blocks.{i}.resnets.{j}."] = f"output_blocks.{start + j}.0."
            places[f"up_blocks.{i}.attentions.{j}."] = f"output_blocks.{start + j}.1."
        above = 2 if getattr(unet.up_blocks[i], "has_cross_attention", False) else 1
        places[f"up_blocks.{i}.upsamplers.0."] = f"output_blocks.{start + layers}.{above}."
    named = {}
    for name, weight in unet.state_dict().items():
        words = {**places, **(RESNET if ".resnets." in name else {})}
        if "block" not in name:
            words = UNET
        named[_replaced(name, words)] = weight
    return named


def _vae(vae) -> dict:
    levels = len(vae.config.block_out_channels)
    words = {"conv_shortcut": "nin_shortcut", "conv_norm_out": "norm_out"}
    for i in range(levels):
        words |= {
            f"encoder.down_blocks.{i}.resnets.": f"encoder.down.{i}.block.",
            f"encoder.down_blocks.{i}.downsamplers.0.": f"encoder.down.{i}.downsample.",
            f"decoder.up_blocks.{i}.resnets.": f"decoder.up.{levels - 1 - i}.block.",
            f"decoder.up_blocks.{i}.upsamplers.0.": f"decoder.up.{levels - 1 - i}.upsample.",
        }
    words |= {f"mid_block.resnets.{j}.": f"mid.block_{j + 1}." for j in range(2)}
    return {_replaced(name, words): weight for name, weight in vae.state_dict().items()}


def _open_clip(encoder) -> dict:
    import torch

    state = {k.removeprefix("text_model."): w for k, w in encoder.state_dict().items()}
    named = {}
    for name, weight in state.items():
        if name == "text_projection.weight":
            named["text_projection"] = weight.T
        elif ".q_proj." in name:
            parts = [state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            key = _replaced(name, OPEN_CLIP).replace("self_attn.q_proj.", "attn.in_proj_")
            named[key] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            named[_replaced(name, OPEN_CLIP)] = weight
    return named
