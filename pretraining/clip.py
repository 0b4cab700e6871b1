"""The two small CLIPs.

Nano's, whose text tower conditions the denoiser, and the scorer, of another seed and shape.
"""

from collections.abc import Callable
from dataclasses import dataclass

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

from pretraining import teacher
from pretraining.data import Mixture, Pick
from pretraining.images import SIZE
from pretraining.tokenizer import LENGTH

BATCH = 128
# Side of the squares that a vision tower reads an image by: 64 of them.
PATCH = 16
# The weight of the teacher's features in the loss. Their error is 1 where nothing is known.
TAUGHT = 3.0


@dataclass(frozen=True)
class Shape:
    """Width, layers and heads of each tower, and the width of the common space."""

    text: tuple[int, int, int]
    vision: tuple[int, int, int]
    projection: int


SHAPES = {
    "clip": Shape(text=(256, 4, 4), vision=(192, 6, 3), projection=128),
    "scorer": Shape(text=(128, 3, 4), vision=(128, 5, 4), projection=96),
}
PROCESSOR = CLIPImageProcessor(
    size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
)


def make_clip(name: str, tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIP of a shape in SHAPES."""
    shape = SHAPES[name]
    width, layers, heads = shape.text
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act="gelu",
        max_position_embeddings=LENGTH,
        projection_dim=shape.projection,
        bos_token_id=tokenizer.bos_token_id,
        # With the default, every caption would be pooled at its first token.
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    width, layers, heads = shape.vision
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act="gelu",
        image_size=SIZE,
        patch_size=PATCH,
        projection_dim=shape.projection,
    )
    config = CLIPConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=shape.projection,
    )
    return CLIPModel(config)


def normalised(pixels: np.ndarray) -> Tensor:
    """uint8 (B, 128, 128, 3) as CLIPImageProcessor gives it: (B, 3, 128, 128)."""
    mean, std = torch.tensor(PROCESSOR.image_mean), torch.tensor(PROCESSOR.image_std)
    # Floats stay as they are: the network of the last stage is asked about the same array.
    return torch.from_numpy(pixels).float().div(255).sub_(mean).div_(std).permute(0, 3, 1, 2)


class Contrast(nn.Module):
    """A CLIP and its loss: contrast, and beside it an image's words and its teacher's features.

    In the contrast, captions of the same words are all right answers: many photos share one. The
    words are predicted from the image alone, by a linear layer that is thrown away: SuperClass
    (Huang et al. 2024, arXiv 2411.03313). Contrast needs some knowledge of words and images before
    it teaches any; the words teach the image tower from the first step. So do the features of an
    ImageNet network, which another such layer predicts (feature distillation; for CLIP: Yang et al.
    2024, arXiv 2307.12732).
    """

    def __init__(self, clip: CLIPModel):
        super().__init__()
        self.clip = clip
        config = clip.config
        width = config.vision_config.hidden_size
        self.words = nn.Linear(width, config.text_config.vocab_size)
        self.taught = nn.Linear(width, teacher.SIZE)
        # Half the time of torch's attention on a CPU, whose bfloat16 backward is slow.
        clip.set_attn_implementation("eager")

    def lock_text(self) -> "Contrast":
        """Trains the image tower only, on the text tower as it is.

        Locked tuning: Zhai et al. 2022, arXiv 2111.07991.
        """
        for part in (self.clip.text_model, self.clip.text_projection):
            part.requires_grad_(False)
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        cross_entropy = nn.functional.cross_entropy
        seen = self.see(batch)
        logits = self.clip.logit_scale.exp() * seen.text @ seen.image.t()  # (B texts, B images)
        same = same_captions(batch)
        target = same / same.sum(1, keepdim=True)
        contrast = (cross_entropy(logits, target) + cross_entropy(logits.t(), target)) / 2
        words = cross_entropy(seen.words, batch["words"])
        taught = mean_where(batch["known"], seen.error(batch["features"]))
        return {
            "loss": contrast + words + TAUGHT * taught,
            "contrast": contrast,
            "words": words,
            "taught": taught,
            "hits": same.gather(1, logits.argmax(1, keepdim=True)).mean(),
            "scale": self.clip.logit_scale.exp(),
        }

    def see(self, batch: dict[str, Tensor]) -> "Seen":
        """What the towers and the two layers make of a batch."""
        clip = self.clip
        with torch.autocast(batch["x"].device.type, torch.bfloat16):
            pooled = clip.vision_model(pixel_values=batch["x"]).pooler_output  # (B, width)
            read = clip.text_model(input_ids=batch["ids"], attention_mask=batch["mask"])
            image = clip.visual_projection(pooled)
            text = clip.text_projection(read.pooler_output)
            words, features = self.words(pooled), self.taught(pooled)
        image, text = (nn.functional.normalize(e.float(), dim=-1) for e in (image, text))
        return Seen(image, text, words.float(), features.float())


@dataclass(frozen=True)
class Seen:
    """Embeddings of length 1, (B, D) each, and of the images the predicted words and features.

    Words are logits, (B, vocabulary), features (B, 1280).
    """

    image: Tensor
    text: Tensor
    words: Tensor
    features: Tensor

    def error(self, features: Tensor) -> Tensor:
        """The squared error of each image's predicted features, (B,)."""
        return (self.features - features).square().mean(1)


def same_captions(batch: dict[str, Tensor]) -> Tensor:
    """1 where two captions of a batch have the same words, (B, B)."""
    return (batch["ids"][:, None] == batch["ids"][None]).all(-1).float()


def mean_where(known: Tensor, values: Tensor) -> Tensor:
    """The mean of the values (B,) where `known` is 1, and 0 where none is."""
    return (known * values).sum() / known.sum().clamp(min=1)


def batches(
    data: Mixture, tokenizer: CLIPTokenizer, features: teacher.Teacher
) -> Callable[[np.random.Generator], dict[str, Tensor]]:
    """A function of a generator to a random batch."""
    captions = Captions(data, tokenizer)

    def batch(rng: np.random.Generator) -> dict[str, Tensor]:
        picks = data.pick(BATCH, rng)
        seen, known = features.of(picks)
        x = normalised(exposed(data.pixels(picks), rng))
        return captions.of(picks) | {"x": x, "features": seen, "known": known}

    return batch


class Captions:
    """The captions of a mixture as a batch has them."""

    def __init__(self, data: Mixture, tokenizer: CLIPTokenizer):
        self.tokenizer = tokenizer
        self.tokens, self.rarity = _words(data, tokenizer)

    def of(self, picks: list[Pick]) -> dict[str, Tensor]:
        """Tokens and mask of each pick's caption, and the words of all its captions."""
        # To the longest caption of the batch, not to 40: what follows the end token changes nothing
        # that is pooled.
        ids = self.tokenizer(
            [p.caption for p in picks],
            padding="longest",
            truncation=True,
            max_length=LENGTH,
            return_tensors="pt",
        )
        words = torch.zeros(len(picks), len(self.rarity))
        for i, p in enumerate(picks):
            tokens = self.tokens[p.source][p.row]
            words[i, tokens] = self.rarity[tokens]
        words /= words.sum(1, keepdim=True)
        return {"ids": ids.input_ids, "mask": ids.attention_mask, "words": words}


def _words(data: Mixture, tokenizer: CLIPTokenizer) -> tuple[dict[str, list[list[int]]], Tensor]:
    """The tokens of each image's captions, without start and end, and how rare each token is.

    Rarity is ln(images / images with it).
    """
    tokens = {
        name: [
            sorted({t for ids in tokenizer(captions).input_ids for t in ids[1:-1]})
            for captions in source.captions
        ]
        for name, source in data.sources.items()
    }
    images = torch.ones(len(tokenizer))
    for rows in tokens.values():
        for row in rows:
            images[row] += 1
    return tokens, (sum(map(len, tokens.values())) / images).log().clamp(min=0)


def exposed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and a patch of each image changed a little.

    No colour changes its name by that.
    """
    n = len(pixels)
    gain = rng.uniform(0.8, 1.2, (n, 1, 1, 1)).astype(np.float32)
    lift = rng.uniform(-15, 15, (n, 1, 1, 1)).astype(np.float32)
    pixels = np.clip((pixels - 128.0) * gain + 128 + lift, 0, 255)
    for i in np.flatnonzero(rng.random(n) < 0.25):
        h, w = rng.integers(SIZE // 8, SIZE * 7 // 16, 2)
        top, left = rng.integers(0, SIZE - h), rng.integers(0, SIZE - w)
        pixels[i, top : top + h, left : left + w] = rng.uniform(0, 255, 3)
    return pixels.astype(np.float32)
