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
PROCESSOR = CLIPImageProcessor(
    size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
)


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
            text_config=text.to_dict(),
            vision_config=vision.to_dict(),
            projection_dim=shape["projection"],
        )
    )


def normalised(pixels: np.ndarray) -> Tensor:
    """uint8 (B, 64, 64, 3) as CLIPImageProcessor gives it: (B, 3, 64, 64)."""
    mean, std = torch.tensor(PROCESSOR.image_mean), torch.tensor(PROCESSOR.image_std)
    return torch.from_numpy(pixels).float().div_(255).sub_(mean).div_(std).permute(0, 3, 1, 2)


class Contrast(nn.Module):
    """CLIP's loss, where captions of the same words are all right answers (many photos share one caption), and beside it

    the words of an image's captions told from the image alone, by a linear layer that is thrown away: SuperClass
    (Huang et al. 2024, arXiv 2411.03313). Contrast needs some knowledge of words and images before it teaches any;
    the words teach the image tower from the first step.
    """

    def __init__(self, clip: CLIPModel):
        super().__init__()
        self.clip = clip
        self.words = nn.Linear(
            clip.config.vision_config.hidden_size, clip.config.text_config.vocab_size
        )
        clip.set_attn_implementation(
            "eager"
        )  # half the time of torch's own attention on a CPU, whose bfloat16 backward is slow

    def lock_text(self) -> "Contrast":
        """Train the image tower only, on the text tower as it is (locked tuning: Zhai et al. 2022, arXiv 2111.07991)."""
        for part in (self.clip.text_model, self.clip.text_projection):
            part.requires_grad_(False)
        return self

    def forward(self, batch: dict) -> dict[str, Tensor]:
        clip = self.clip
        with torch.autocast("cpu", torch.bfloat16):
            seen = clip.vision_model(pixel_values=batch["x"]).pooler_output  # (B, width)
            read = clip.text_model(
                input_ids=batch["ids"], attention_mask=batch["mask"]
            ).pooler_output
            image, text = clip.visual_projection(seen), clip.text_projection(read)
            guess = self.words(seen)  # (B, vocabulary)
        image, text = (nn.functional.normalize(e.float(), dim=-1) for e in (image, text))
        logits = clip.logit_scale.exp() * text @ image.t()  # (B texts, B images)
        same = (batch["ids"][:, None] == batch["ids"][None]).all(-1).float()
        target = same / same.sum(1, keepdim=True)
        contrast = (
            nn.functional.cross_entropy(logits, target)
            + nn.functional.cross_entropy(logits.t(), target)
        ) / 2
        words = nn.functional.cross_entropy(guess.float(), batch["words"])
        hits = same.gather(1, logits.argmax(1, keepdim=True)).mean()
        return {
            "loss": contrast + words,
            "contrast": contrast,
            "words": words,
            "hits": hits,
            "scale": clip.logit_scale.exp(),
        }


def batches(data: Mixture, tokenizer: CLIPTokenizer):
    tokens, rarity = _words(data, tokenizer)

    def batch(rng: np.random.Generator) -> dict:
        picks = data.pick(BATCH, rng)
        # To the longest caption of the batch, not to 40: what follows the end token changes nothing that is pooled.
        ids = tokenizer(
            [p.caption for p in picks],
            padding="longest",
            truncation=True,
            max_length=LENGTH,
            return_tensors="pt",
        )
        words = torch.zeros(BATCH, len(rarity))
        for i, p in enumerate(picks):
            words[i, tokens[p.source][p.row]] = rarity[tokens[p.source][p.row]]
        x = normalised(_exposed(data.pixels(picks), rng))
        return {
            "x": x,
            "ids": ids.input_ids,
            "mask": ids.attention_mask,
            "words": words / words.sum(1, keepdim=True),
        }

    return batch


def _words(data: Mixture, tokenizer: CLIPTokenizer) -> tuple[dict[str, list[list[int]]], Tensor]:
    """The tokens of each image's captions, without start and end, and how rare each token is: ln(images / images with it)."""
    tokens = {
        name: [
            sorted({t for ids in tokenizer(words).input_ids for t in ids[1:-1]})
            for words in source.captions
        ]
        for name, source in data.sources.items()
    }
    found = torch.ones(len(tokenizer))
    for rows in tokens.values():
        for row in rows:
            found[row] += 1
    return tokens, (sum(map(len, tokens.values())) / found).log().clamp(min=0)


def _exposed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and a patch of each image changed a little: no colour changes its name by that."""
    n = len(pixels)
    gain, lift = (
        rng.uniform(a, b, (n, 1, 1, 1)).astype(np.float32) for a, b in ((0.8, 1.2), (-15, 15))
    )
    pixels = np.clip((pixels - 128.0) * gain + 128 + lift, 0, 255)
    for i in np.flatnonzero(rng.random(n) < 0.25):
        h, w = rng.integers(8, 28, 2)
        top, left = rng.integers(0, SIZE - h), rng.integers(0, SIZE - w)
        pixels[i, top : top + h, left : left + w] = rng.uniform(0, 255, 3)
    return pixels.astype(np.float32)
