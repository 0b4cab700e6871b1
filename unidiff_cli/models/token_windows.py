"""The tokenizer of a base, read from its files: how much of a caption it reads. No torch."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.places import cached_file, fetch_file
from unidiff_cli.models.reading import reading
from unidiff_cli.models.sources import Source, resolve_base

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONFIG, WHOLE = "tokenizer_config.json", "tokenizer.json"
# CLIP's, where a folder does not say; transformers writes 10^30 where it does not know.
USUAL_LENGTH, LARGEST_LENGTH = 77, 100_000
# SigLIP's, which configs leave out.
SIGLIP_LENGTH = 64


def token_window(base: Any, fetch: bool = False) -> TokenWindow:
    """What a base's text tower reads, by the tokenizer that its denoiser and CLIP share.

    That of a CLIP that stands apart is the CLIP's.

    With `fetch` the tokenizer of a hub id may come from the hub, as its weights may. Raises
    UsageError for a base that is not there, EnvironmentProblem for one whose tokenizer is not on
    this machine or cannot be read.
    """
    value, source = resolve_base(base)
    folder = _folder(source, fetch)
    with reading("The tokenizer", folder):
        return TokenWindow(_tokenizer(folder), _length(folder), _name(value, source))


def _folder(source: Source, fetch: bool) -> Path:
    """The folder that holds the base's tokenizer."""
    places = [(source.description, "tokenizer/"), (source.clip, "")]
    if source.text == "apart":
        places.reverse()
    for place, below in places:
        if fetch and not Path(place).exists():
            _fetch(place, below)
        for file in (WHOLE, "merges.txt"):
            if path := cached_file(place, f"{below}{file}"):
                return path.parent
    raise EnvironmentProblem(
        f"The tokenizer of {source.diffusion} is not on this machine.",
        f"Fetch it: unidiff base fetch {source.diffusion}; or name another one in the recipe.",
    )


def _fetch(repository: str, below: str) -> None:
    """Brings a tokenizer's files into the hub cache, those that there are."""
    from huggingface_hub.errors import EntryNotFoundError

    for file in (CONFIG, WHOLE, "vocab.json", "merges.txt"):
        with reading("The tokenizer", repository), suppress(EntryNotFoundError):
            fetch_file(repository, f"{below}{file}")


def _tokenizer(folder: Path) -> Tokenizer:
    if (folder / WHOLE).is_file():
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(folder / WHOLE))
    # transformers knows how words and merges make one; it takes seconds to load.
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer


def _length(folder: Path) -> int:
    """The tokens of a caption that are read, the marks among them."""
    length = _config(folder / CONFIG).get("model_max_length", 0)
    if not 2 < length < LARGEST_LENGTH:
        model = _config(folder / "config.json")
        usual = SIGLIP_LENGTH if model.get("model_type") == "siglip" else USUAL_LENGTH
        length = model.get("text_config", {}).get("max_position_embeddings", usual)
    return int(length)


def _config(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _name(value: Any, source: Source) -> str:
    """What a person calls the base."""
    return value if isinstance(value, str) and "/" not in value else source.diffusion
