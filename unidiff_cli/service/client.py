"""A client of the service in Python."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from unidiff_cli.errors import EnvironmentProblem, UnidiffError, WorkError


class Client:
    """Speaks with a service that `unidiff serve` runs.

        with Client("http://127.0.0.1:8000") as client:
            hits = client.retrieve("red dress", where="price < 50")

    A refusal raises WorkError with the service's sentence, a service that cannot be reached
    EnvironmentProblem.
    """

    def __init__(self, address: str, token: str = "", seconds: float = 60) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(base_url=address, headers=headers, timeout=seconds)
        self.address = address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def retrieve(
        self,
        text: str | Sequence[str] = (),
        *,
        images: Sequence[str | Path] = (),
        items: Sequence[str] = (),
        minus: Sequence[str] = (),
        where: str = "",
        group_by: str = "product",
        k: int = 10,
    ) -> list[dict[str, Any]]:
        """The hits of a query, best first, as `POST /v1/retrieve` answers them."""
        texts = [text] if isinstance(text, str) else list(text)
        data: dict[str, Any] = {"text": texts, "item": list(items), "minus_text": list(minus)}
        data |= {"where": where, "group_by": group_by, "k": str(k)}
        with ExitStack() as stack:
            files = [
                ("image", (Path(file).name, stack.enter_context(open(file, "rb"))))
                for file in images
            ]
            answer = self._asked("POST", "/v1/retrieve", data=data, files=files or None)
        return answer.json()["hits"]

    def item(self, name: str) -> dict[str, Any]:
        """An image of the catalogue by its id, as `GET /v1/items/{id}` answers it."""
        return self._asked("GET", f"/v1/items/{quote(name, safe='')}").json()

    def generate(self, prompt: str, **options: Any) -> Iterator[dict[str, Any]]:
        """Asks for images of a prompt: the generation each time that it gets further.

        The last one is done, cancelled or failed. Closing the iterator before cancels it.
        """
        job = self._asked("POST", "/v1/generate", json={"prompt": prompt, **options}).json()
        place = f"/v1/generate/{job['id']}"
        ended = False
        try:
            with self._http.stream("GET", f"{place}/events", timeout=None) as stream:
                for line in stream.iter_lines():
                    if line.startswith("data:"):
                        job = json.loads(line.removeprefix("data:"))
                        ended = job["state"] not in ("waiting", "running")
                        yield job
        finally:
            if not ended:
                # Where nobody is there any more, nothing is generated either.
                with suppress(UnidiffError):
                    self._asked("DELETE", place)

    def image(self, address: str) -> bytes:
        """The bytes of an image, by the address that an answer gives."""
        return self._asked("GET", address).content

    def _asked(self, method: str, place: str, **options: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, place, **options)
        except httpx2.TransportError as problem:
            raise EnvironmentProblem(
                f"The service at {self.address} cannot be reached: {problem}.",
                "Start it with: unidiff serve",
            ) from problem
        if answer.is_error:
            try:
                sentence = str(answer.json()["detail"])
            except (ValueError, KeyError, TypeError):
                sentence = f"The service answered {answer.status_code}."
            raise WorkError(sentence)
        return answer
