"""SigLIP and SigLIP 2 of transformers under CLIP's names, as encoders that stand apart.

Their towers end in the embeddings, so the projections are none. An image is scaled to a square
and not cropped. Sources: arXiv 2303.15343, arXiv 2502.14786.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoTokenizer, CLIPConfig, SiglipImageProcessor, SiglipModel

from unidiff_cli.models.places import pretrained
from unidiff_cli.models.reading import broken, read_model, reading

MODEL_TYPE = "siglip"


def is_siglip_folder(folder: str | Path) -> bool:
    """Whether a folder or hub id says that it holds a SigLIP. Raises whatever transformers does."""
    config, _ = pretrained(_Configs, folder)
    return config.get("model_type") == MODEL_TYPE


def is_siglip(model: Any) -> bool:
    """Whether a model is a SigLIP."""
    return isinstance(model, SiglipModel)


def read_siglip(folder: str | Path) -> Any:
    """The SiglipModel of a folder or hub id, fp32, with CLIP's names. Raises as `read_model`."""
    model = read_model(SiglipModel, "The CLIP", folder)
    model.text_projection, model.visual_projection = nn.Identity(), nn.Identity()
    model.config.projection_dim = model.config.text_config.projection_size
    return model


def siglip_tokenizer(folder: str | Path, model: Any) -> Any:
    """Its tokenizer, which fills the whole length; the end of that is what the tower reads.

    Raises the error of `broken` for one that only Python code can read.
    """
    with reading("The CLIP", folder):
        tokenizer = pretrained(AutoTokenizer, folder)
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise broken("The CLIP", folder, "lacks tokenizer.json")
    tokenizer.model_max_length = model.config.text_config.max_position_embeddings
    return tokenizer


def siglip_square(side: int) -> Any:
    """SigLIP's preprocessing at a side."""
    return SiglipImageProcessor(size={"height": side, "width": side})


class _Configs:
    """The config of any model as a mapping, by the name that `pretrained` calls."""

    from_pretrained = CLIPConfig.get_config_dict
