"""One `unidiff retrieve` in a catalogue of a million rows, beside the load of its model.

    python -m benchmarks.one_shot PROJECT --out FILE [--rows 1000000]

PROJECT has an export and an index. A copy of it gets an index of so many made-up rows, by the same
writers. Then these processes take turns, each from the start of Python to its end:

- `model`: loads the export's CLIP and embeds the text; the limit
- `retrieve`: the command, with the text
- `image`: the command, with an image of the catalogue
- `filtered`: the command, with the text and a filter that leaves a tenth of the rows
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measurement import machine_facts
from unidiff_cli.data.attributes import infer
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.models.encoders import CLIP
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval.choice import choose_kind
from unidiff_cli.retrieval.exact import nearest_rows
from unidiff_cli.retrieval.indexes.flat import Flat
from unidiff_cli.retrieval.indexes.ivf import Ivf
from unidiff_cli.retrieval.items import write_items
from unidiff_cli.retrieval.opened import OpenedIndex
from unidiff_cli.retrieval.recall import Questions
from unidiff_cli.retrieval.synonyms import learn, write_synonyms
from unidiff_cli.retrieval.thresholds import Threshold, write_threshold
from unidiff_cli.retrieval.words import write_words

TEXT = "red dress"
COLOURS = "red orange yellow green blue purple pink brown black white".split()
MODEL = """
import sys
from pathlib import Path
from unidiff_cli.models import encoders
from unidiff_cli.project.project import Project
project = Project(Path(sys.argv[1]))
encoder = encoders.load_encoder(project, project.export(None), "clip")
assert encoder.embed_captions([sys.argv[2]]).shape[0] == 1
"""


def made_up(count: int) -> list[Row]:
    """Rows of products of five images, with a caption and three attributes each."""
    rng = np.random.default_rng(0)
    colours, kinds = rng.integers(0, len(COLOURS), count), rng.integers(0, 60, count)
    prices = rng.gamma(2, 20, count)
    return [
        Row(
            f"{n:09d}",
            f"{n:09d}",
            "train",
            f"p{n // 5}",
            (f"a {COLOURS[colours[n]]} thing of kind {kinds[n]}",),
            {"color": COLOURS[colours[n]], "kind": f"k{kinds[n]}", "price": f"{prices[n]:.2f}"},
        )
        for n in range(count)
    ]


def around(project: Project, count: int) -> np.ndarray:
    """Unit embeddings (count, D), each near one of the project's own."""
    kind = project.receipt("index").settings["kind"]
    index = OpenedIndex.open(project.path("index"), kind, CLIP).index
    rng = np.random.default_rng(1)
    own = index.embeddings(np.arange(project.receipt("index").counts["images"]))
    made = own[rng.integers(0, len(own), count)]
    # Half as long as the embedding itself.
    made += rng.standard_normal(made.shape, np.float32) * np.float32(0.5 / np.sqrt(own.shape[1]))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def write_index(project: Project, count: int) -> dict[str, float]:
    """An index of made-up rows in a project; seconds of its parts."""
    old = Receipt.read(project.path("index"))
    assert old is not None
    rows, spent = made_up(count), {}
    embeddings = around(project, count)
    kind, _ = choose_kind("auto", count)
    built = Ivf() if kind == "ivf" else Flat()
    settings = old.settings | {"kind": kind}
    receipt = Receipt("index", settings, old.inputs, counts={"images": count, "embedded": 0})
    with project.lock(existing=True), project.writing("index", receipt=receipt) as folder:
        known = infer([row.attributes for row in rows])
        (folder / "clip").mkdir()

        def build() -> None:
            built.build(embeddings)
            if not built.exact:
                asked = np.arange(0, count, count // 256)
                search = lambda q, k: nearest_rows(embeddings, q, k)  # noqa: E731
                built.calibrate([Questions.ask(search, embeddings[asked], asked)])
            built.save(folder / "clip")

        for name, work in {
            "items": lambda: write_items(folder, rows, known),
            "words": lambda: write_words(folder, rows),
            "synonyms": lambda: write_synonyms(folder, learn(rows, known)),
            "index": build,
        }.items():
            begun = time.perf_counter()
            work()
            spent[f"write_{name}_s"] = round(time.perf_counter() - begun, 1)
        write_threshold(folder / "clip", Threshold(0.5, 1000))
    return spent


def measure(project: Project, image: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of every process, in turns."""
    command = [sys.executable, "-m", "unidiff_cli.cli", "-C", str(project.root), "retrieve"]
    processes: dict[str, list[str]] = {
        "model": [sys.executable, "-c", MODEL, str(project.root), TEXT],
        "retrieve": [*command, TEXT],
        "image": [*command, "--image", str(image)],
        "filtered": [*command, TEXT, "--where", f"color = '{COLOURS[0]}'"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    # The first round brings the files into memory, and is not counted.
    for turn in range(rounds + 1):
        for name, words in processes.items():
            begun = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True)
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("project", type=Path)
    given.add_argument("--out", type=Path, required=True)
    given.add_argument("--rows", type=int, default=1_000_000)
    given.add_argument("--rounds", type=int, default=5)
    options = given.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    figures = machine_facts() | {"rows": options.rows}
    with TemporaryDirectory(dir=options.out.parent) as folder:
        copy = Path(folder) / "project"
        shutil.copytree(options.project, copy)
        project = Project(copy)
        shards = Shards.open(project.path("shards"))
        image = Path(shards.image_address(shards.rows()[0]))
        figures |= write_index(project, options.rows)
        seconds = measure(project, image, options.rounds)
    figures |= {f"{name}_s": round(float(np.median(s)), 2) for name, s in seconds.items()}
    model = figures["model_s"]
    figures |= {f"{n}_ratio": round(figures[f"{n}_s"] / model, 2) for n in list(seconds)[1:]}
    options.out.write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
