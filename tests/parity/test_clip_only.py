"""Twenty steps of `clip-only` beside open_clip's own model, loss and loop on the same batches."""

import math

import pytest
import torch
from accelerate import Accelerator

from tests.support.base import write_base
from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from unidiff_cli.models.loading import load_base
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.trainer import Trainer

STEPS, RATE, DECAY = 20, 1e-3, 0.2


@pytest.mark.slow
def test_twenty_steps_lose_what_open_clip_loses(tmp_path):
    pytest.importorskip("open_clip")
    folder = write_base(tmp_path / "base")
    recipe = load_recipe(
        folder,
        *(f"train.steps={STEPS}", "train.warmup=0", "train.schedule=constant"),
        *(f"train.lr.vision={RATE}", f"train.lr.text={RATE}", f"train.weight_decay={DECAY}"),
        # open_clip does not bound gradients by default.
        "train.clip_norm=1e9",
        name="clip-only",
    )
    base = load_base(str(folder), 32)
    peer = open_clip_model(base.clip)
    batches = [batch_of(8 + step % 3, step) for step in range(STEPS)]
    ids = [base.token_ids(batch.captions) for batch in batches]
    pixels = [(batch.clip_pixels / 255 - base.clip_mean) / base.clip_std for batch in batches]
    theirs = open_clip_losses(peer, list(zip(pixels, ids, strict=True)), RATE)
    module = TrainingModule(base, recipe.active(), recipe.train.seed)
    trainer = Trainer(Accelerator(cpu=True), module, recipe.train)
    ours = [float(step.parts["contrastive"]) for step in trainer.steps(iter(batches))]
    assert ours == pytest.approx(theirs, rel=1e-4)
    # They learned: the last loss is not what it would be at the start.
    assert ours[-1] < 0.9 * math.log(len(ids[-1]))


def open_clip_model(clip):
    """An open_clip CLIP with the weights of one of transformers."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision, text = clip.config.vision_config, clip.config.text_config
    model = CLIP(
        embed_dim=clip.config.projection_dim,
        vision_cfg=CLIPVisionCfg(
            layers=vision.num_hidden_layers,
            width=vision.hidden_size,
            head_width=vision.hidden_size // vision.num_attention_heads,
            mlp_ratio=vision.intermediate_size / vision.hidden_size,
            patch_size=vision.patch_size,
            image_size=vision.image_size,
        ),
        text_cfg=CLIPTextCfg(
            context_length=text.max_position_embeddings,
            vocab_size=text.vocab_size,
            width=text.hidden_size,
            heads=text.num_attention_heads,
            layers=text.num_hidden_layers,
            mlp_ratio=text.intermediate_size / text.hidden_size,
        ),
        quick_gelu=True,
    )
    own = clip.state_dict()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(_of_transformers(name, own).reshape(parameter.shape))
    return model


# open_clip's names outside its blocks, and those of transformers; "T": transposed.
NAMES = {
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "text_projection": "text_projection.weight T",
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.proj": "visual_projection.weight T",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
}
INSIDE = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def _of_transformers(name, own):
    """The tensor that open_clip calls `name`."""
    if ".resblocks." not in f".{name}":
        start = next(start for start in NAMES if name in (start, *_norm(start)))
        key, _, transposed = (NAMES[start] + name.removeprefix(start)).partition(" ")
        return own[key].T if transposed else own[key]
    tower = "vision_model" if name.startswith("visual.") else "text_model"
    number, _, rest = name.partition("resblocks.")[2].partition(".")
    block = f"{tower}.encoder.layers.{number}."
    if rest.startswith("attn.in_proj_"):
        kind = rest.removeprefix("attn.in_proj_")
        return torch.cat([own[f"{block}self_attn.{part}_proj.{kind}"] for part in "qkv"])
    inside, _, kind = rest.rpartition(".")
    return own[f"{block}{INSIDE[inside]}.{kind}"]


def _norm(start):
    return f"{start}.weight", f"{start}.bias"


def open_clip_losses(model, batches, rate):
    """The losses of open_clip_train's loop in fp32 (main.py, train.py), without clipping.

    With torch's betas and epsilon, which its flags --beta2 and --eps set.
    """
    from open_clip import ClipLoss

    def without_decay(name, p):
        return p.ndim < 2 or "bn" in name or "ln" in name or "bias" in name or "logit_scale" in name

    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in named if without_decay(n, p)], "weight_decay": 0.0},
            {"params": [p for n, p in named if not without_decay(n, p)], "weight_decay": DECAY},
        ],
        lr=rate,
    )
    contrast, losses = ClipLoss(), []
    model.train()
    for images, texts in batches:
        optimizer.zero_grad()
        image, text, scale = model(images, texts)
        loss = contrast(image, text, scale)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses.append(float(loss.detach()))
    return losses
