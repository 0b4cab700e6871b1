"""A collection of Qdrant: its address, its client, and whether the index may go there."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from unidiff_cli.addresses import WEB, without_secrets
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.system import first_line

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger("unidiff")

# Our mark in a collection's metadata.
OURS = "unidiff"
# The first server whose collections have metadata.
OLDEST = (1, 16)
# Seconds for one request.
PATIENCE = 60
AGAIN = "Run it again: it goes on where it was."
_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,255}")


@dataclass(frozen=True)
class Address:
    """A collection `name` of the server at `place`."""

    place: str
    name: str

    @classmethod
    def of(cls, text: str) -> Self:
        """The address http://host:6333/collection. Raises UsageError for any other."""
        try:
            parts = urlsplit(text)
            named = parts.scheme in WEB and parts.hostname and parts.port != 0
        except ValueError:
            named = False
        path, _, name = parts.path.rpartition("/") if named else ("", "", "")
        login_or_more = named and ("@" in parts.netloc or parts.query or parts.fragment)
        if login_or_more or not _NAME.fullmatch(name):
            raise UsageError(
                f"'{without_secrets(text)}' is no address of a collection.",
                "Write it as http://localhost:6333/shop. A key goes into QDRANT_API_KEY.",
            )
        return cls(f"{parts.scheme}://{parts.netloc}{path}", name)

    def __str__(self) -> str:
        return f"{self.place}/{self.name}"


def connect(place: str, key: str) -> QdrantClient:
    """A client of the server at an address. Nothing is asked yet."""
    from qdrant_client import QdrantClient

    parts = urlsplit(place)
    if key and parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        logger.warning("The key goes to %s unencrypted, where others may read it.", place)
    with warnings.catch_warnings():
        # It says so of this machine too.
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
        return QdrantClient(place, api_key=key or None, timeout=PATIENCE, check_compatibility=False)


@contextmanager
def answering(place: str) -> Iterator[None]:
    """Within it what a server or its client raises is said in our words."""
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    try:
        yield
    except ResponseHandlingException as problem:
        raise EnvironmentProblem(
            f"The Qdrant at {place} does not answer: {first_line(problem.source)}.", AGAIN
        ) from problem
    except ResourceExhaustedResponse as problem:
        raise WorkError(f"The Qdrant at {place} has too much to do: {problem}.", AGAIN) from problem
    except UnexpectedResponse as problem:
        if problem.status_code in (401, 403):
            raise EnvironmentProblem(
                f"The Qdrant at {place} does not accept the key.", "Set QDRANT_API_KEY to its key."
            ) from problem
        raise WorkError(
            f"The Qdrant at {place} answered {problem.status_code}: {_reason(problem)}.", AGAIN
        ) from problem


def _reason(problem: Any) -> str:
    """What a refusal says."""
    try:
        return str(problem.structured()["status"]["error"]).strip().rstrip(".")
    except (ValueError, KeyError, TypeError):
        return problem.reason_phrase or "it gives no reason"


def open_collection(
    client: QdrantClient,
    address: Address,
    model: Mapping[str, str],
    sizes: Mapping[str, int],
    fields: Mapping[str, Any],
) -> None:
    """Makes the collection of an address where there is none.

    `model` has the `export` and the `fingerprint` of what made the vectors, `sizes` the length of
    each by its name, `fields` the types of what filters may ask for. Raises UsageError for a
    collection that is there and is of another model, or that unidiff did not make.
    """
    from qdrant_client.models import Distance, PayloadSchemaType, VectorParams

    if not client.collection_exists(address.name):
        _refuse_old(client, address)
        vectors = {n: VectorParams(size=s, distance=Distance.COSINE) for n, s in sizes.items()}
        client.create_collection(address.name, vectors, metadata={OURS: dict(model)})
    there = client.get_collection(address.name)
    _check(address, there.config, model, sizes)
    for field, kind in fields.items():
        if field not in there.payload_schema:
            client.create_payload_index(address.name, field, PayloadSchemaType(kind))


def _refuse_old(client: QdrantClient, address: Address) -> None:
    version = client.info().version
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        raise EnvironmentProblem(
            f"The Qdrant at {address.place} is {version}, whose collections have no metadata.",
            f"Update it to {'.'.join(map(str, OLDEST))} or later.",
        )


def _check(
    address: Address, config: Any, model: Mapping[str, str], sizes: Mapping[str, int]
) -> None:
    """Raises UsageError for a collection that the index may not go to."""
    mark = (config.metadata or {}).get(OURS)
    if not isinstance(mark, dict):
        raise UsageError(f"The collection {address} was not made by unidiff.", "Name another one.")
    if mark.get("fingerprint") != model["fingerprint"]:
        raise UsageError(
            f"The collection {address} holds embeddings of another model, {mark.get('export')}, "
            f"and the index those of {model['export']}.",
            "Name another one, and send queries there once it is filled.",
        )
    vectors = config.params.vectors
    there = {n: each.size for n, each in vectors.items()} if isinstance(vectors, dict) else {}
    if there != dict(sizes):
        raise UsageError(
            f"The collection {address} has vectors of {_listed(there)}, "
            f"and the index of {_listed(sizes)}.",
            "Name another one.",
        )


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{size} ({name})" for name, size in sizes.items()) or "another kind"
