"""A CLIP folder as its user opens it: embeddings of images and of texts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import CLIPModel, CLIPProcessor


class Encoder:
    """A CLIP and its processor."""

    def __init__(self, folder: Path):
        self.clip: CLIPModel = CLIPModel.from_pretrained(folder).eval()
        self.processor: CLIPProcessor = CLIPProcessor.from_pretrained(folder)

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Pooled features (N, d) of uint8 images (N, S, S, 3)."""
        return self._encode(pixels)[0]

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """Unit embeddings (N, D) of uint8 images (N, S, S, 3)."""
        return self._encode(pixels)[1]

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """Unit embeddings (N, D) of texts."""
        tokens = self.processor.tokenizer(
            list(captions), padding=True, truncation=True, return_tensors="pt"
        )
        return normalize(self.clip.get_text_features(**tokens).pooler_output, dim=-1).numpy()

    @torch.no_grad()
    def _encode(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Fitted already as the processor fits; what is left is its scale.
        preprocessing = self.processor.image_processor
        mean, std = np.float32(preprocessing.image_mean), np.float32(preprocessing.image_std)
        features, embeds = [], []
        for i in range(0, len(pixels), 128):
            x = torch.from_numpy((pixels[i : i + 128] / np.float32(255) - mean) / std)
            pooled = self.clip.vision_model(pixel_values=x.permute(0, 3, 1, 2)).pooler_output
            features.append(pooled)
            embeds.append(normalize(self.clip.visual_projection(pooled), dim=-1))
        return torch.cat(features).numpy(), torch.cat(embeds).numpy()
