"""The features of captions by a text tower that does not train, computed once, in `cache/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import WorkError
from unidiff_cli.models.stored_text import KEPT, caption_key, kept_features
from unidiff_cli.objectives import needs_of
from unidiff_cli.progress import Progress, labelled
from unidiff_cli.project.project import Project
from unidiff_cli.training.cache_rows import missing_keys, row_folder
from unidiff_cli.training.optimizer import trained_towers
from unidiff_cli.training.precompute import CHUNK, Pack
from unidiff_cli.training.share import WHOLE, Share

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel


def text_stays(recipe: Recipe) -> bool:
    """Whether a step reads the text tower, which does not train."""
    active = recipe.active().values()
    needs = needs_of(active)
    reads = needs.text_embeds or needs.states or needs.empty_caption
    return reads and "text" not in trained_towers(active, recipe.train)


def bytes_of_caption(base: BaseModel, states: bool) -> int:
    """Bytes of what `fill_text` keeps of a caption."""
    with torch.no_grad():
        kept = kept_features(base.encode_text([""]))
    return sum(x.nbytes for name, x in kept.items() if states or name == "embeds")


def fill_text(
    project: Project,
    base: BaseModel,
    captions: Sequence[str],
    states: bool,
    on_progress: Progress | None = None,
    share: Share = WHOLE,
) -> dict[str, Path]:
    """The folders of captions' features by the names of KEPT, computed where they are missing.

    With `states` also what a denoiser reads. The base must still have its own weights. What an
    interrupted call computed is kept, and of several processes each computes its share. Raises
    EnvironmentProblem when the disk is full, WorkError where a state is too large to be kept.
    """
    with torch.no_grad():
        names = kept_features(base.encode_text([""]))
    kept = [name for name in names if states or name == "embeds"]
    folders = {name: row_folder(project, f"text_{name}", [base.text_hash]) for name in kept}
    unlike = {caption_key(caption): caption for caption in captions}
    lacking = [missing_keys(folder, list(unlike), share) for folder in folders.values()]
    left = [key for key in unlike if any(key in keys for keys in lacking)]
    packs = {name: Pack(folder) for name, folder in folders.items()}
    counter = labelled(on_progress, "caching captions")
    for start in range(0, len(left), CHUNK):
        keys = left[start : start + CHUNK]
        with torch.no_grad():
            features = kept_features(base.encode_text([unlike[key] for key in keys]))
        for name, pack in packs.items():
            if not features[name].isfinite().all():
                raise WorkError(
                    f"The text tower's {name} are too large for {KEPT[name]}.",
                    "Do without the cache: --set train.cache_latents=false",
                )
            pack.add(keys, features[name].numpy())
        if counter:
            counter(len(unlike) - len(left) + start + len(keys), len(unlike))
    for pack in packs.values():
        pack.write()
    return folders
