"""Bases on the Hugging Face Hub: what of a repository a base reads, its licence, and fetching it.

No torch. Weights come as safetensors, each model's once, and never as a pickle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unidiff_cli import machine
from unidiff_cli.errors import EnvironmentProblem, UnidiffError, UsageError
from unidiff_cli.models.hub_cache import INDEX, pipeline_parts
from unidiff_cli.models.places import cached_file, fetch_file, hub_id
from unidiff_cli.system import FULL, first_line, system_error

# Models' weights as diffusers and transformers name them: whole or in shards, full or half.
_WEIGHTS = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model)(?P<half>\.fp16)?(-\d{5}-of-\d{5})?\.safetensors"
)
# Configs, tokenizers, and the indexes of shards. A licence may come as a text.
_SMALL = re.compile(r".*\.(json|txt)|LICEN[CS]E[^/]*|README\.md", re.IGNORECASE)


# The packages whose errors are about what the hub answers.
CLIENTS = ("http", "huggingface_hub")


@dataclass(frozen=True)
class Repository:
    """A repository of the hub as it stands: its commit, licence, and what a base reads of it.

    `id` may name a revision, as in a recipe.
    """

    id: str
    commit: str
    licence: str
    # Bytes by file.
    files: dict[str, int]

    @property
    def bytes(self) -> int:
        return sum(self.files.values())

    def missing(self) -> dict[str, int]:
        """What of it is not in the hub cache yet, bytes by file."""
        return {file: size for file, size in self.files.items() if not cached_file(self.id, file)}


def look_up(repository: str) -> Repository:
    """A repository by its id, asked of the hub.

    Raises UsageError where it is not there, EnvironmentProblem without a network or a permission.
    """
    from huggingface_hub import HfApi

    repo, revision = hub_id(repository)
    with asking(repository):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        sizes = {each.rfilename: each.size or 0 for each in info.siblings or ()}
        index = fetch_file(repository, INDEX) if INDEX in sizes else None
    parts = pipeline_parts(index) if index else None
    card = info.card_data.to_dict() if info.card_data else {}
    files = {file: sizes[file] for file in files_read(sizes, parts)}
    if not any(map(is_weights, files)):
        raise UsageError(
            f"{repository} holds no weights as safetensors that unidiff reads.",
            "Name a diffusers pipeline or a transformers CLIP.",
        )
    return Repository(repository, str(info.sha), licence_of(card), files)


def fetch(repository: Repository, on_bytes: Callable[[int, int], None] | None = None) -> None:
    """Brings what is missing of a repository into the hub cache, and goes on where it stopped.

    `on_bytes` gets the bytes that are there and those of all. Raises EnvironmentProblem where the
    disk is too small, the hub does not answer, or a file is not given out.
    """
    from huggingface_hub import constants, hf_hub_download

    missing, cache = repository.missing(), Path(constants.HF_HUB_CACHE)
    refuse_small_disk(cache, sum(missing.values()), repository.id)
    large = sorted((file for file in missing if is_weights(file)), key=lambda f: missing[f])
    meter = _meter(repository, missing, on_bytes)
    fetch_configs(repository)
    repo, _ = hub_id(repository.id)
    with asking(repository.id):
        for file in large:
            hf_hub_download(repo, file, revision=repository.commit, tqdm_class=meter)


def fetch_configs(repository: Repository) -> None:
    """Brings all but a repository's weights into the hub cache: a few MB. Raises as `fetch`."""
    from huggingface_hub import snapshot_download

    small = [file for file in repository.files if not is_weights(file)]
    repo, revision = hub_id(repository.id)
    with asking(repository.id):
        # By the name of the branch, which the cache then knows; the weights come by the commit.
        options = {"allow_patterns": small, "tqdm_class": _silent()}
        snapshot_download(repo, revision=revision, **options)


def small_file(repository: str, file: str) -> Path:
    """A config of a repository, brought into the hub cache. Raises as `look_up`."""
    with asking(repository):
        return fetch_file(repository, file)


def read_head(repository: str, file: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, of which only the head is asked for."""
    from huggingface_hub import HfApi

    repo, revision = hub_id(repository)
    with asking(repository):
        head = HfApi().parse_safetensors_file_metadata(repo, file, revision=revision)
    return {name: tuple(tensor.shape) for name, tensor in head.tensors.items()}


def offline() -> bool:
    """Whether the environment forbids to ask the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def refuse_small_disk(folder: Path, needed: int, what: str) -> None:
    """Raises EnvironmentProblem where so many bytes do not fit beside what is there."""
    if needed > (free := machine.free_bytes(folder)):
        raise EnvironmentProblem(
            f"{what} takes {needed / 1e9:.2f} GB more, and {free / 1e9:.2f} GB are free for "
            f"{folder}.",
            "Free some space, or name another folder for the cache: HF_HOME=FOLDER",
        )


# ---------------------------------------------------------------- what is read of a repository


def is_weights(file: str) -> bool:
    """Whether a file of a repository holds a model's weights."""
    return bool(_WEIGHTS.fullmatch(file.rpartition("/")[2]))


def files_read(files: Iterable[str], parts: Collection[str] | None) -> list[str]:
    """Of a repository's files those that a base reads.

    `parts` are the folders of a pipeline; None: the repository is one model. Weights in half
    precision are taken only where there are none in full.
    """
    chosen, weights = [], dict[str, list[str]]()
    for file in sorted(files):
        folder, _, name = file.rpartition("/")
        if folder and (parts is None or folder not in parts):
            continue
        if match := _WEIGHTS.fullmatch(name):
            # At the root of a pipeline lies all of it in one file, once more.
            if folder or parts is None:
                weights.setdefault(f"{folder}|{match['half'] or ''}", []).append(file)
        elif _SMALL.fullmatch(name):
            chosen.append(file)
    for key, shards in weights.items():
        if key.endswith("|") or f"{key.partition('|')[0]}|" not in weights:
            chosen += shards
    return chosen


def licence_of(card: dict[str, Any]) -> str:
    """The licence that a model card's head names, with where it stands; empty where none does."""
    name = str(card.get("license_name") or card.get("license") or "")
    link = str(card.get("license_link") or "")
    return f"{name} ({link})" if name and link else name or link


# ---------------------------------------------------------------- the hub's answers


@contextmanager
def asking(repository: str) -> Iterator[None]:
    """Within it what the hub answers in the place of a file is a sentence."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/{hub_id(repository).repo}"
    try:
        yield
    except UnidiffError:
        raise
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as problem:
        why = "HF_HUB_OFFLINE is set" if offline() else "the hub does not answer"
        raise EnvironmentProblem(
            f"{repository} is not whole on this machine, and {why}.",
            f"Where there is a network: unidiff base fetch {repository}",
        ) from problem
    except errors.GatedRepoError as problem:
        raise EnvironmentProblem(
            f"{repository} is gated: its owner wants its terms accepted first.",
            f"Accept them at {page}, then: hf auth login",
        ) from problem
    except errors.RepositoryNotFoundError as problem:
        raise UsageError(
            f"The hub has no {repository}, or does not show it to you.",
            f"Look at {page}; if it is private: hf auth login",
        ) from problem
    except Exception as problem:
        error = system_error(problem)
        if error and error.errno in FULL:
            raise
        known = isinstance(problem, OSError) or type(problem).__module__.startswith(CLIENTS)
        if not known:
            raise
        raise EnvironmentProblem(
            f"The hub did not give {repository}: {first_line(problem)}.",
            "Run it again: what is here already stays, and a part of a file goes on where it was.",
        ) from problem


def _silent() -> Any:
    """A progress bar that shows nothing."""
    from tqdm import tqdm

    class Silent(tqdm):
        def __init__(self, *_: Any, **options: Any) -> None:
            super().__init__(total=options.get("total"), disable=True)

    return Silent


def _meter(
    repository: Repository,
    missing: dict[str, int],
    on_bytes: Callable[[int, int], None] | None,
) -> Any:
    """The class of a silent bar that passes its bytes on."""
    done, total = repository.bytes - sum(missing.values()), repository.bytes

    class Meter(_silent()):  # type: ignore[misc]
        def __init__(self, *_: Any, **options: Any) -> None:
            super().__init__(**options)
            self.update(options.get("initial", 0))

        def update(self, n: float | None = 1) -> None:
            nonlocal done
            done += int(n or 0)
            if on_bytes:
                on_bytes(min(done, total), total)

    return Meter
