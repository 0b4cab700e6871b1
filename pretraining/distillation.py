"""The image tower's last stage: it learns to say of photos what an ImageNet network says of them.

There are so few captioned photos that a tower learns them by heart. So it is not told their
captions here: a linear layer on the network's features learns to read those, and the tower learns
what that layer reads, in a new crop of each photo at every step and in blends of two. Both see the
very same pixels (function matching: Beyer et al. 2022, arXiv 2106.05237).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, normalize
from transformers import CLIPTokenizer

from pretraining import clip, teacher
from pretraining.clip import Captions, Contrast, exposed, mean_where, normalised, same_captions
from pretraining.data import Mixture, NewCrops

# The part of the photos that another one is blended into.
BLENDED = 0.5
# The part of the features that the reading layer does without.
DROPOUT = 0.5
# The weight of the network's features in the loss, beside what is read from them.
TAUGHT = 9.0


class Distillation(nn.Module):
    """A CLIP's image tower and its loss, the text tower as it is.

    Of renderings and dyed images it is told the captions and words, as in `Contrast`.
    """

    def __init__(self, contrast: Contrast):
        super().__init__()
        self.contrast = contrast.lock_text()
        self.reading = nn.Linear(teacher.SIZE, contrast.clip.config.projection_dim)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        seen, photo = self.contrast.see(batch), batch["photo"]
        scale = self.contrast.clip.logit_scale.exp()
        logits = scale * seen.image @ seen.text.t()  # (B images, B texts)
        same = same_captions(batch)
        right = batch["shares"] @ same
        right = right / right.sum(1, keepdim=True)
        # The layer learns with fewer features than it reads by.
        learns = self._read(dropout(batch["features"], DROPOUT), seen.text, scale.detach())
        reading = mean_where(photo, cross_entropy(learns, right, reduction="none"))
        with torch.no_grad():
            reads = self._read(batch["features"], seen.text, scale)
            told = torch.where(photo[:, None] > 0, reads.softmax(1), right)
        to_text = cross_entropy(logits, told)
        to_image = cross_entropy(logits.t(), same / same.sum(1, keepdim=True), reduction="none")
        words = cross_entropy(seen.words, batch["words"], reduction="none")
        contrast = (to_text + mean_where(1 - photo, to_image)) / 2
        words = mean_where(1 - photo, words)
        taught = mean_where(photo, seen.error(batch["features"]))
        return {
            "loss": contrast + words + TAUGHT * taught + reading,
            "contrast": contrast,
            "words": words,
            "taught": taught,
            "reading": reading,
            "agreed": mean_where(photo, (logits.argmax(1) == reads.argmax(1)).float()),
            "hits": mean_where(1 - photo, same.gather(1, logits.argmax(1, keepdim=True))[:, 0]),
            "scale": scale,
        }

    def _read(self, features: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        """Logits (B images, B texts) of what is read from the network's features."""
        return scale * normalize(self.reading(features), dim=-1) @ text.t()


def batches(
    data: Mixture, crops: NewCrops, tokenizer: CLIPTokenizer, network: teacher.OnlineTeacher
) -> Callable[[np.random.Generator], dict[str, Tensor]]:
    """A function of a generator to a random batch."""
    captions = Captions(data, tokenizer)

    def batch(rng: np.random.Generator) -> dict[str, Tensor]:
        picks = data.pick(clip.BATCH, rng)
        photo = np.array([p.source == "photos" for p in picks])
        pixels, shares = blended(crops.pixels(picks, rng), np.flatnonzero(photo), rng)
        pixels = exposed(pixels, rng)
        return captions.of(picks) | {
            "x": normalised(pixels),
            "features": network.of(pixels, photo),
            "photo": torch.from_numpy(photo).float(),
            "shares": shares,
        }

    return batch


def blended(
    pixels: np.ndarray, photos: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, Tensor]:
    """Images (B, S, S, 3), into some of the `photos` another one blended, and shares (B, B).

    Shares say how much of each image is of which; the sum of a row is 1 (mixup: Zhang et al. 2018,
    arXiv 1710.09412).
    """
    mixed, shares = pixels.astype(np.float32), torch.eye(len(pixels))
    for i, other in zip(photos, rng.permutation(photos), strict=True):
        if rng.random() >= BLENDED:
            continue
        share = rng.random()
        mixed[i] = (1 - share) * pixels[i] + share * pixels[other]
        shares[i] *= 1 - share
        shares[i, other] += share
    return mixed, shares
