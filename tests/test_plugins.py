"""A part of another package: one file, listed, loaded, and used from the command line."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.projects import copy_project
from tests.support.source import run_python
from unidiff_cli.project.receipt import Receipt

OBJECTIVE = '''
"""Triplet loss over a batch."""

from typing import ClassVar

from pydantic import Field

from unidiff_cli.models.encoders import CLIP
from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import Objective


class Triplet(Objective):
    """Keeps an image nearer to its caption than to the hardest other caption of the batch."""

    needs: ClassVar = Needs(image_embeds=True, text_embeds=True)
    trains: ClassVar = frozenset({"vision", "text"})
    encoder: ClassVar = CLIP
    margin: float = Field(0.2, description="least distance of the right caption and the next")

    def loss(self, forward):
        cosines = forward.gather(forward.image_embeds) @ forward.gather(forward.text_embeds).T
        itself = cosines.new_ones(len(cosines)).diag().bool()
        hardest = cosines.masked_fill(itself, -2).max(1).values
        return (self.margin + hardest - cosines.diagonal()).relu().mean(), {}
'''
METRIC = '''
"""How sharp generated images are."""

from collections.abc import Mapping
from typing import ClassVar

from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem


class Sharpness(Metric):
    """The mean absolute gradient of grey levels."""

    needs_generated_images: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "sharpness": FigureSpec("Sharpness", "generation", "higher"),
    }

    def compute(self, outputs):
        return {"sharpness": float(self._values(outputs).mean())}

    def per_item(self, outputs):
        groups = [row.group for row in outputs.eval_set.generated_rows]
        return {"sharpness": PerItem(self._values(outputs), groups)}

    def _values(self, outputs):
        grey = outputs.generated_images.mean(axis=-1)
        return abs(grey[:, :, 1:] - grey[:, :, :-1]).mean(axis=(1, 2))
'''
EXPORTER = '''
"""The text tower's embedding table and nothing else."""

from typing import ClassVar

from safetensors.torch import save_file

from unidiff_cli.exporters import Exporter


class Lexicon(Exporter):
    """One embedding a caption, for a program that only matches texts."""

    description: ClassVar[str] = "a table of caption embeddings"

    def write(self, base, folder):
        embeds = base.encode_text(["red dress", "blue hat"]).embeds.detach().cpu().contiguous()
        file = folder / "lexicon.safetensors"
        save_file({"embeds": embeds}, file)
'''
INDEX = '''
"""Exact search by a loop."""

from typing import ClassVar

import numpy as np
from pydantic import PrivateAttr
from safetensors.numpy import load_file, save_file

from unidiff_cli.retrieval.index import Index, Neighbours


class Loop(Index):
    """Compares the query with one embedding after another."""

    exact: ClassVar[bool] = True
    _embeddings: np.ndarray = PrivateAttr()

    def build(self, embeddings):
        self._embeddings = np.ascontiguousarray(embeddings)

    def save(self, folder):
        save_file({"rows": self._embeddings}, folder / "loop.safetensors")

    def open(self, folder):
        self._embeddings = load_file(folder / "loop.safetensors")["rows"]

    def embeddings(self, rows):
        return self._embeddings[rows]

    def search(self, queries, k, allowed=None):
        rows = np.arange(len(self._embeddings)) if allowed is None else np.flatnonzero(allowed)
        scores = np.array([[self._embeddings[row] @ q for row in rows] for q in queries])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Neighbours(rows[order], np.take_along_axis(scores, order, 1).astype(np.float32))
'''
PARTS = {
    "objectives": ("triplet", "Triplet", OBJECTIVE),
    "metrics": ("sharpness", "Sharpness", METRIC),
    "exporters": ("lexicon", "Lexicon", EXPORTER),
    "indexes": ("loop", "Loop", INDEX),
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder on the path with four parts and their entry points, as pip would install them."""
    folder = tmp_path_factory.mktemp("package")
    lines = []
    for kind, (name, part, text) in PARTS.items():
        (folder / f"their_{name}.py").write_text(text.lstrip())
        lines.append(f"[unidiff.{kind}]\n{name} = their_{name}:{part}\n")
    info = folder / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def command(package, tmp_path_factory, prepared, finished):
    """Calls `unidiff` in a project of this module, with the package installed."""
    project = copy_project(finished, tmp_path_factory.mktemp("plugins"))
    env = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}

    def call(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "unidiff_cli.cli", "-q", "-C", str(project.root), *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env=env,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call.project = project
    return call


def test_every_part_is_listed_and_loaded(package):
    code = (
        "from unidiff_cli import registry\n"
        f"for kind, name in {[(kind, name) for kind, (name, *_) in PARTS.items()]!r}:\n"
        "    assert name in registry.names(kind)\n"
        "    print(registry.load(kind, name).__name__)"
    )
    env = {**os.environ, "PYTHONPATH": str(package)}
    assert run_python(code, env=env).split() == [part for _, part, _ in PARTS.values()]


def test_the_keys_of_another_packages_objective_are_checked(package, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("objectives: {triplet: {margin: 0.5}}\n")
    code = (
        "import sys\nfrom unidiff_cli.config.load import read_recipe\n"
        "from unidiff_cli.errors import RecipeError\n"
        "print(read_recipe(sys.argv[1]).active()['triplet'].margin)\n"
        "try: read_recipe(sys.argv[1], assignments=['objectives.triplet.margn=1'])\n"
        "except RecipeError as problem: print(problem)"
    )
    env = {**os.environ, "PYTHONPATH": str(package)}
    margin, problem = run_python(code, str(recipe), env=env).splitlines()[:2]
    assert margin == "0.5" and "Did you mean 'margin'?" in problem


@pytest.mark.slow
def test_an_objective_trains(command):
    steps = ("train.steps=2", "train.checkpoint_every=2", "train.validate_every=2")
    assignments = [part for step in steps for part in ("--set", step)]
    command("train", "--recipe", "joint", "--set", "objectives.triplet.weight=1", *assignments)
    run = command.project.path("runs", command.project.runs()[-1])
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert all(line["triplet"] > 0 for line in lines if "loss" in line)
    assert Receipt.read(run).figures["best"]["step"] == 2


def test_a_metric_measures(command):
    asked = ("evaluate.metrics=[sharpness]", "evaluate.images=4", "generate.steps=2")
    command("evaluate", *(part for one in asked for part in ("--set", one)))
    figures = Receipt.read(command.project.path("report")).figures
    assert figures["base"]["sharpness"] > 0 and figures["tuned"]["sharpness"] > 0
    page = command.project.path("report", "report.html").read_text(encoding="utf-8")
    assert "Sharpness" in page


def test_an_exporter_writes(command):
    command("export", "--format", "lexicon")
    [file] = command.project.path("exports").rglob("lexicon.safetensors")
    assert file.stat().st_size > 0
    assert command.project.export(None).joinpath("model_index.json").is_file()


@pytest.mark.slow
def test_an_index_answers_as_the_flat_one(command):
    command("index", "--force")
    flat = json.loads(command("retrieve", "red dress", "-k", "5", "--json"))
    (command.project.root / "unidiff.yaml").open("a").write("index: {kind: loop}\n")
    command("index", "--force")
    assert list(command.project.path("index").rglob("loop.safetensors"))
    assert json.loads(command("retrieve", "red dress", "-k", "5", "--json")) == flat
