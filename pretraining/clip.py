"""The two small CLIPs: nano's own (its text tower conditions the denoiser) and the scorer, of another seed and shape."""

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from pretraining.data import SIZE, Mixture
from pretraining.tokenizer import LENGTH

BATCH = 128
SHAPES = {  # width, layers, heads of the text and of the vision tower; width of the common space
    "clip": {"text": (256, 4, 4), "vision": (192, 6, 3), "projection": 128},
    "scorer": {"text": (128, 3, 4), "vision": (128, 5, 4), "projection": 96},
}
PROCESSOR = CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})


def make_clip(name: str, tokenizer: CLIPTokenizer) -> CLIPModel:
    shape = SHAPES[name]
    width, layers, heads = shape["text"]
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act="gelu",
        max_position_embeddings=LENGTH,
        projection_dim=shape["projection"],
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,  # the real one: with the default, every caption is pooled at its first token
        pad_token_id=tokenizer.pad_token_id,
    )
    width, layers, heads = shape["vision"]
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act="gelu",
        image_size=SIZE,
        patch_size=8,
        projection_dim=shape["projection"],
    )
    return CLIPModel(
        CLIPConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=shape["projection"]
        )
    )


def normalised(pixels: np.ndarray) -> Tensor:
    """uint8 (B, 64, 64, 3) as CLIPImageProcessor gives it: (B, 3, 64, 64)."""
    mean, std = torch.tensor(PROCESSOR.image_mean), torch.tensor(PROCESSOR.image_std)
    return torch.from_numpy(pixels).float().div_(255).sub_(mean).div_(std).permute(0, 3, 1, 2)


class Contrast(nn.Module):
    """CLIP's loss, where captions of the same words are all right answers (many photos share one caption)."""

    def __init__(self, clip: CLIPModel):
        super().__init__()
        self.clip = clip
        clip.set_attn_implementation(
            "eager"
        )  # half the time of torch's own attention on a CPU, whose bfloat16 backward is slow

    def forward(self, batch: dict) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            out = self.clip(input_ids=batch["ids"], attention_mask=batch["mask"], pixel_values=batch["x"])
        logits = out.logits_per_text.float()  # (B text, B images)
        same = (batch["ids"][:, None] == batch["ids"][None]).all(-1).float()
        target = same / same.sum(1, keepdim=True)
        loss = (
            nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.t(), target)
        ) / 2
        hits = same.gather(1, logits.argmax(1, keepdim=True)).mean()
        return {"loss": loss, "hits": hits, "scale": self.clip.logit_scale.exp()}


def batches(data: Mixture, tokenizer: CLIPTokenizer):
    def batch(rng: np.random.Generator) -> dict:
        picks = data.pick(BATCH, rng)
        # To the longest caption of the batch, not to 40: what follows the end token changes nothing that is pooled.
        words = tokenizer(
            [p[-1] for p in picks], padding="longest", truncation=True, max_length=LENGTH, return_tensors="pt"
        )
        return {"x": normalised(data.pixels(picks)), "ids": words.input_ids, "mask": words.attention_mask}

    return batch


@torch.no_grad()
def embed_images(clip: CLIPModel, pixels: np.ndarray) -> Tensor:
    """Unit vectors (N, D)."""
    parts = [
        clip.get_image_features(pixel_values=normalised(pixels[i : i + 128].copy())).pooler_output
        for i in range(0, len(pixels), 128)
    ]
    return nn.functional.normalize(torch.cat(parts), dim=-1)


@torch.no_grad()
def embed_texts(clip: CLIPModel, tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Unit vectors (N, D)."""
    words = tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    return nn.functional.normalize(clip.get_text_features(**words).pooler_output, dim=-1)
