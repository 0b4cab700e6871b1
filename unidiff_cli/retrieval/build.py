"""The stage `index`: the embeddings of the catalogue's images under an export, in `index/`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from unidiff_cli import machine, registry
from unidiff_cli.config.schema import IndexSettings
from unidiff_cli.data import attributes
from unidiff_cli.data.executors import Engine
from unidiff_cli.data.parts import Part
from unidiff_cli.data.row import Row
from unidiff_cli.data.shards import Shards
from unidiff_cli.models import encoders
from unidiff_cli.models.encoders import ImageEncoder
from unidiff_cli.progress import Progress, labelled
from unidiff_cli.project.files import digest
from unidiff_cli.project.folders import PREVIOUS_INDEX
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval.blocks import BLOCK, Blocks
from unidiff_cli.retrieval.choice import choose_kind
from unidiff_cli.retrieval.earlier import Earlier
from unidiff_cli.retrieval.embed_work import EmbedBlock, EmbedWork, embed_over_ray
from unidiff_cli.retrieval.embedding_file import new_embeddings
from unidiff_cli.retrieval.exact import nearest_rows
from unidiff_cli.retrieval.index import Index
from unidiff_cli.retrieval.items import write_items
from unidiff_cli.retrieval.provenance import SCHEMA, index_inputs
from unidiff_cli.retrieval.recall import K, Questions
from unidiff_cli.retrieval.synonyms import learn, write_synonyms
from unidiff_cli.retrieval.thresholds import calibrate, write_threshold
from unidiff_cli.retrieval.words import write_words

logger = logging.getLogger("unidiff")

# Images, and captions, that the recall of an approximate index is measured with.
QUERIES = 512


def index(
    project: Project,
    *,
    export: str | None = None,
    kind: str | None = None,
    force: bool = False,
    engine: Engine = "local",
    address: str = "",
    on_progress: Progress | None = None,
) -> Receipt:
    """Embeds every image of the catalogue, all splits, with each image encoder of an export.

    Images that an index of the same export holds already keep their embeddings, but with `force`.
    Work that was stopped goes on from its last block. `engine` "ray" spreads it over the cluster at
    `address`, whose nodes see the project's folder. `kind` is the kind of index, by default that
    of a recipe that names none. `index/` holds one index for each encoder, in a folder of its name,
    and is bound to the export and the shards by their hashes. The index that it replaces is in
    `previous-index/`. An approximate one has its recall in the receipt's figures. Raises NotReady,
    UsageError, and EnvironmentProblem where no cluster answers.
    """
    with project.lock(existing=True):
        folder, inputs = index_inputs(project, export, hashed=None)
        images = int(project.receipt("shards").counts["samples"])
        kind, sentence = choose_kind(kind or IndexSettings().kind, images)
        settings = {"export": folder.name, "kind": kind, "schema": SCHEMA}
        finished = project.finished("index", settings=settings, inputs=inputs)
        if finished and not force:
            return finished
        logger.info("%s", sentence)
        shards = Shards.of(project)
        rows = shards.rows()
        earlier = None if force else Earlier.of(project, folder.name, inputs)
        unknown = earlier.unknown(rows) if earlier else np.arange(len(rows))
        counts = {"images": len(rows), "embedded": len(unknown)}
        receipt = Receipt("index", settings, inputs, counts=counts)
        blocks = Blocks(project, inputs[f"exports/{folder.name}"])
        progress = labelled(on_progress, "indexing")
        if engine == "ray" and len(unknown):
            state, count = digest(inputs), -(-len(unknown) // BLOCK)
            block = EmbedBlock(project.root, folder.name, state, force, count)
            embed_over_ray(address, block, len(unknown), progress)
        old = Receipt.read(project.path("index"))
        # The same work once more is no step that one could want to take back.
        again = old is not None and old.same_work(settings, inputs)
        previous = None if again else PREVIOUS_INDEX
        with project.writing("index", receipt=receipt, previous=previous, at_once=True) as fresh:
            known = attributes.from_figures(shards.receipt.figures)
            write_items(fresh, rows, known)
            write_words(fresh, rows)
            write_synonyms(fresh, learn(rows, known))
            for name, encoder in encoders.load_encoders(project, folder).items():
                encoder.to(machine.device())
                (fresh / name).mkdir()
                # Not in the folder of the index: its kind may store them otherwise.
                file = fresh / f"{name}.embeddings"
                embeddings = new_embeddings(file, len(rows), encoder.dimension)
                if earlier:
                    earlier.fill(encoder, rows, embeddings)
                blocks.embed(encoder, shards, rows, unknown, embeddings, progress)
                if recall := _write(fresh / name, kind, embeddings, encoder, rows):
                    receipt.figures[name] = {f"recall@{K}": recall}
                file.unlink()
        blocks.delete()
        return receipt


def index_part(
    project: Project,
    part: Part,
    *,
    export: str | None = None,
    on_progress: Progress | None = None,
) -> int:
    """Embeds a part of the images for the `index` that comes once all are done; how many.

    Several processes, on several machines that see the project's folder, may do one part each at a
    time. Raises as `index` does.
    """
    return EmbedWork.of(project, export).fill(part, labelled(on_progress, "indexing"))


def _write(
    folder: Path, kind: str, embeddings: np.ndarray, encoder: ImageEncoder, rows: Sequence[Row]
) -> dict[str, float]:
    """Writes the index of one encoder; gives its recall by the kind of query where it is not 1."""
    built: Index = registry.load("indexes", kind)()
    built.build(embeddings)
    recall = {}
    if not built.exact:
        questions = [_questions(encoder, embeddings, rows, seed) for seed in (0, 1)]
        built.calibrate(list(questions[0].values()))
        recall = {name: round(each.recall(built.search), 4) for name, each in questions[1].items()}
    built.save(folder)
    write_threshold(folder, calibrate(rows, embeddings))
    return recall


def _questions(
    encoder: ImageEncoder, embeddings: np.ndarray, rows: Sequence[Row], seed: int
) -> dict[str, Questions]:
    """Images and captions of the catalogue as queries, others for seed 0 than for seed 1."""
    numbers = np.random.default_rng(0).permutation(len(rows))[seed::2][:QUERIES]
    captions = encoder.embed_captions([rows[number].captions[0] for number in numbers])
    search = partial(nearest_rows, embeddings)
    return {
        "images": Questions.ask(search, embeddings[numbers], numbers),
        "captions": Questions.ask(search, captions),
    }
