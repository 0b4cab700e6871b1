"""Captions' features by a text tower that does not train: read from the cache, computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unidiff_cli.models.base import DualEncoder, TextFeatures
from unidiff_cli.project.row_store import RowStore, keys_of

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

# How each of a caption's features is kept. Denoisers read states in half precision anyway.
KEPT = {"states": torch.float16, "embeds": torch.float32, "pooled": torch.float16}


def caption_key(caption: str) -> str:
    """The key of a caption, in hex."""
    return hashlib.sha256(caption.encode()).hexdigest()


def kept_features(features: TextFeatures) -> dict[str, Tensor]:
    """Features as they are kept, by name: (n, …) on the CPU, without those a family has not."""
    named = {name: getattr(features, name) for name in KEPT}
    return {name: x.detach().to("cpu", KEPT[name]) for name, x in named.items() if x is not None}


class StoredText:
    """`encode_text` of a base, whose text tower runs only for captions that nobody stored."""

    def __init__(self, base: BaseModel, folders: Mapping[str, Path]) -> None:
        """`folders` are stores by the names of KEPT; without states these have no length."""
        self.base = base
        self.stores = {name: RowStore(folder, checked=False) for name, folder in folders.items()}

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> TextFeatures:
        """The features of n captions, without gradient."""
        keys = keys_of(map(caption_key, captions))
        places = {name: store.places(keys) for name, store in self.stores.items()}
        known = np.min(list(places.values()), axis=0) >= 0
        lacking = np.flatnonzero(~known).tolist()
        computed = {}
        if lacking:
            computed = kept_features(self.base.encode_text([captions[i] for i in lacking]))
        tensors = {}
        for name, store in self.stores.items():
            if known.any():
                rows = torch.from_numpy(store.take(places[name][known]))
                tensor = rows.new_empty(len(captions), *rows.shape[1:])
                tensor[torch.from_numpy(known)] = rows
                if lacking:
                    tensor[lacking] = computed[name]
            else:
                tensor = computed[name]
            tensors[name] = tensor.to(self.base.device, self.base.dtype)
        nothing = tensors["embeds"].new_empty(len(captions), 0, 0)
        return TextFeatures(**{"states": nothing, **tensors})


TextReader = DualEncoder | StoredText
