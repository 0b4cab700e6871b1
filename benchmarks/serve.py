"""What the service bears: many clients at once, killed and restarted under load.

    python -m benchmarks.serve PROJECT --out DIR [--clients 64] [--seconds 60] [--rows 100000]

Each client searches by text, by image and with a filter, and fetches thumbnails, one request after
another over the loopback address. Reported are requests a second, times, statuses and memory. Then
the service is killed under load, started again, and must answer as before. Last, what the page
needs of a catalogue of so many rows is timed: its facets, its first products, a filtered search.
Writes OUT/serve.json.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import psutil
from PIL import Image

from benchmarks.measurement import machine_facts, seconds
from unidiff_cli.data.attributes import infer
from unidiff_cli.data.shards import Row
from unidiff_cli.retrieval.composition import Part
from unidiff_cli.retrieval.indexes.flat import Flat
from unidiff_cli.retrieval.items import Items, write_items
from unidiff_cli.retrieval.opened import OpenedIndex
from unidiff_cli.retrieval.retriever import Retriever
from unidiff_cli.retrieval.words import Words, write_words
from unidiff_cli.service.catalogue import Catalogue, Filter

TEXTS = ("red dress", "black jacket", "blue shirt with long sleeves", "shoes", "a bag")
# Seconds between two looks at the memory.
EVERY = 2.0


def started(project: Path) -> tuple[subprocess.Popen[str], str]:
    """A service of its own and its address."""
    command = [sys.executable, "-m", "unidiff_cli.cli", "-C", str(project), "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, process.stdout.readline().strip()


def image() -> bytes:
    """A query image of the size of a photo from a phone's browser."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((1024, 1024)).save(stream, "JPEG")
    return stream.getvalue()


class Load:
    """Clients that ask until they are stopped."""

    def __init__(self, address: str, clients: int, where: str) -> None:
        self.address, self.where, self.photo = address, where, image()
        self.statuses: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {
            "text": [],
            "image": [],
            "filter": [],
            "thumbnail": [],
        }
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        with httpx2.Client(base_url=self.address, timeout=60) as http:
            turn = number
            while not self._stopped.is_set():
                turn += 1
                try:
                    self._once(http, turn)
                except httpx2.TransportError as problem:
                    self.statuses[type(problem).__name__] += 1
                    time.sleep(0.1)

    def _once(self, http: httpx2.Client, turn: int) -> None:
        text = TEXTS[turn % len(TEXTS)]
        kinds: dict[str, dict[str, Any]] = {
            "text": {"data": {"text": text}},
            "filter": {"data": {"text": text, "where": self.where}},
            "image": {"files": {"image": ("x.jpg", self.photo)}, "data": {"text": text}},
        }
        kind = ("text", "filter", "text", "image")[turn % 4]
        answer = self._timed(kind, lambda: http.post("/v1/retrieve", **kinds[kind]))
        if answer.status_code == 200 and (hits := answer.json()["hits"]):
            place = hits[turn % len(hits)]["thumbnail"]
            self._timed("thumbnail", lambda: http.get(place))

    def _timed(self, kind: str, ask: Any) -> httpx2.Response:
        begun = time.perf_counter()
        answer: httpx2.Response = ask()
        self.times[kind].append(time.perf_counter() - begun)
        self.statuses[str(answer.status_code)] += 1
        return answer


def measure(project: Path, clients: int, length: float, where: str) -> dict[str, Any]:
    """Times, statuses and memory under load, and what a kill under load leaves."""
    process, address = started(project)
    memory = []
    try:
        before = httpx2.post(f"{address}/v1/retrieve", data={"text": TEXTS[0]}).json()
        load, begun = Load(address, clients, where), time.monotonic()
        while time.monotonic() - begun < length:
            time.sleep(EVERY)
            memory.append(psutil.Process(process.pid).memory_info().rss / 1e6)
        load.stop()
        took = time.monotonic() - begun
        # Memory of the second half beside the first: what grows is seen there.
        half = len(memory) // 2
        figures: dict[str, Any] = {
            "clients": clients,
            "seconds": round(took, 1),
            "requests_per_second": round(sum(load.statuses.values()) / took, 1),
            "statuses": dict(load.statuses),
            "memory_mb": [round(value) for value in (memory[0], memory[half], memory[-1])],
        }
        for kind, values in load.times.items():
            p50, p99 = np.percentile(values, [50, 99]) * 1e3
            figures[f"{kind}_ms"] = {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}
        load = Load(address, clients, where)
        time.sleep(2)
        process.kill()
        process.wait()
        load.stop()
        process, address = started(project)
        after = httpx2.post(f"{address}/v1/retrieve", data={"text": TEXTS[0]}).json()
        figures["same_after_kill"] = before == after
    finally:
        process.kill()
        process.wait()
    return figures


def measure_page(count: int) -> dict[str, float]:
    """Milliseconds of what a page needs of a catalogue of so many rows, as made up here."""
    rng = np.random.default_rng(0)
    colors, kinds = rng.integers(0, 12, count), rng.integers(0, 60, count)
    prices, embeddings = rng.gamma(2, 20, count), rng.standard_normal((count, 512))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype("f4")
    rows = []
    for n in range(count):
        cells = {"color": f"c{colors[n]}", "kind": f"k{kinds[n]}", "price": f"{prices[n]:.2f}"}
        rows.append(Row(f"{n:09d}", f"{n:09d}", "train", f"p{n // 5}", ("a product",), cells))
    # Neither a model nor images take part.
    encoder = SimpleNamespace(embed_captions=lambda texts: [], embed_images=lambda images: [])
    shards = SimpleNamespace(image_address=lambda row: "")
    with TemporaryDirectory() as folder:
        write_items(Path(folder), rows, infer([row.attributes for row in rows]))
        index = Flat()
        index.build(embeddings)
        write_words(Path(folder), rows)
        opened = OpenedIndex(index, Items.open(Path(folder)), Words.open(Path(folder)))
        retriever = Retriever(shards, opened, encoder, "")  # type: ignore[arg-type]
        opened, catalogue = seconds(lambda: Catalogue(retriever))
        filtered = Filter({"color": ["c1"], "price": ["20..40"]}, "kind != 'k3'")
        query = [Part(embeddings[0])]
        work = {
            "facets": lambda: catalogue.facets(filtered),
            "facets_again": lambda: catalogue.facets(filtered),
            "first": lambda: catalogue.first(24, Filter({})),
            "search": lambda: catalogue.search(query, 24, Filter({})),
            "filtered_search": lambda: catalogue.search(query, 24, filtered),
        }
        figures = {"open": opened} | {name: seconds(each)[0] for name, each in work.items()}
    return {name: round(1e3 * value, 1) for name, value in figures.items()}


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("project", type=Path)
    given.add_argument("--out", type=Path, required=True)
    given.add_argument("--clients", type=int, default=64)
    given.add_argument("--seconds", type=float, default=60)
    given.add_argument("--rows", type=int, default=100_000)
    given.add_argument("--where", default="color = 'red'")
    options = given.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    figures = machine_facts() | measure(
        options.project, options.clients, options.seconds, options.where
    )
    figures["page_ms"] = measure_page(options.rows)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "serve.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
