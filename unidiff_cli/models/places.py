"""A place of weights as a recipe writes it: a folder, a single file, or a hub id. No torch.

A hub id may name its revision, a branch, tag or commit: `owner/name@revision`. A single file is a
`.safetensors` of the layout that Stable Diffusion's own code has, as sites for models offer it.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")
# The header of a safetensors file is shorter, or it is none.
LARGEST_HEADER = 100 * 2**20
# Configs and tokenizers, without weights.
DESCRIPTIONS = ["*.json", "*.txt", "**/*.json", "**/*.txt"]


class HubId(NamedTuple):
    """A repository of the hub; revision None is its main branch."""

    repo: str
    revision: str | None = None


class Kind(NamedTuple):
    """What a single file holds: the class of its pipeline, and where such a one is described.

    `config` is "" of models that come with ε and with v, which a file does not tell.
    """

    pipeline: str
    config: str


# By the start of a tensor's name that only such a file has; the first that fits.
SINGLE_FILES = {
    "conditioner.embedders.1.model.": Kind(
        "StableDiffusionXLPipeline", "stabilityai/stable-diffusion-xl-base-1.0"
    ),
    "cond_stage_model.model.": Kind("StableDiffusionPipeline", ""),
    "cond_stage_model.transformer.": Kind(
        "StableDiffusionPipeline", "stable-diffusion-v1-5/stable-diffusion-v1-5"
    ),
}


# The mark of an SDXL that predicts v, and that of one with a noise and latents of its own.
PREDICTS_V, OWN_NOISE = "v_pred", "edm_mean"


def hub_id(place: str) -> HubId:
    """The repository and revision of a place that is no path of this machine."""
    named = HUB_ID.fullmatch(place)
    return HubId(named["repo"], named["revision"]) if named else HubId(place)


def is_single_file(place: str | Path) -> bool:
    """Whether a place is a single file with all weights."""
    return Path(place).suffix == ".safetensors" and Path(place).is_file()


def kind_of(file: str | Path) -> Kind | None:
    """What a single file holds, by the names of its tensors; None for what we do not read.

    Raises ValueError where it is no safetensors file.
    """
    names = tensor_names(file)
    if OWN_NOISE in names:
        return None
    for start, kind in SINGLE_FILES.items():
        if any(name.startswith(start) for name in names):
            return kind
    return None


def tensor_names(file: str | Path) -> list[str]:
    """The names in the header of a safetensors file. Raises ValueError where it has none."""
    with Path(file).open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= LARGEST_HEADER:
            raise ValueError("it has no header of a safetensors file")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return [name for name in header if name != "__metadata__"]


def pretrained(kind: Any, place: str | Path, **options: Any) -> Any:
    """`kind.from_pretrained` of a folder or a hub id, at its revision. Raises what that does."""
    if Path(place).is_dir():
        return kind.from_pretrained(place, **options)
    repo, revision = hub_id(str(place))
    pinned = {"revision": revision} if revision else {}
    return kind.from_pretrained(repo, **pinned, **options)


def cached_file(place: str, file: str) -> Path | None:
    """A file of a folder or of the hub cache; None where it is not there."""
    path: Path | None = None
    if Path(place).is_dir():
        path = Path(place) / file
    elif not (Path(place).exists() or Path(place).is_absolute()):
        path = _in_hub_cache(place, file)
    return path if path is not None and path.is_file() else None


def _in_hub_cache(place: str, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    repo, revision = hub_id(place)
    try:
        path = try_to_load_from_cache(repo, file, revision=revision)
    # It is the path of nothing.
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


def fetch_file(place: str, file: str) -> Path:
    """A file of a hub id, from the hub cache or the hub. Raises whatever the hub's client does."""
    from huggingface_hub import hf_hub_download

    repo, revision = hub_id(place)
    return Path(hf_hub_download(repo, file, revision=revision))


def described(place: str) -> Path:
    """The folder with the configs and tokenizers of a folder or hub id; no weights are fetched.

    Raises whatever the hub's client does.
    """
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import snapshot_download

    repo, revision = hub_id(place)
    return Path(snapshot_download(repo, revision=revision, allow_patterns=DESCRIPTIONS))
