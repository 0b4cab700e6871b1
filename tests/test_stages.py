"""Each stage writes one folder, does the same work once, and gives the same hashes twice."""

import hashlib

import pytest

from tests.support.projects import copy_project, load_recipe, load_whole_recipe
from unidiff_cli import evaluate, export, generate, index, prepare, retrieve, train
from unidiff_cli.generation.record import read_record
from unidiff_cli.project import run_log
from unidiff_cli.project.receipt import Receipt


def contents(project):
    """Folder -> a hash of every name, byte and time of change in it."""
    hashes = {}
    for place in sorted(
        p for p in project.root.iterdir() if not p.name.startswith(".unidiff.lock")
    ):
        files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
        lines = []
        for file in files:
            # The pointer to the current export may be written again.
            changed = 0 if file.name == "current" else file.stat().st_mtime_ns
            lines.append(f"{file} {changed} {hashlib.sha256(file.read_bytes()).hexdigest()}")
        hashes[place.name] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return hashes


def folders_changed(project, stage, *args, **kwargs):
    """The folders a stage changed, its cache aside, and what the stage gave back."""
    before = contents(project)
    result = stage(project, *args, **kwargs)
    after = contents(project)
    names = {name for name in before | after if before.get(name) != after.get(name)}
    return names - {"cache"}, result


@pytest.fixture(scope="module")
def whole(tmp_path_factory, finished):
    """A finished project of this module's own."""
    return copy_project(finished, tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def small(tiny_base):
    """A recipe whose evaluation needs no scorer."""
    return load_recipe(tiny_base, "evaluate.metrics=[recall]")


@pytest.fixture
def stages(small, catalogue):
    """Stage -> the folder it writes and a call of it."""
    return {
        "prepare": ("shards", lambda p, **k: prepare(p, small, catalogue, **k)),
        "train": ("runs", lambda p, **k: train(p, small, **k)[1]),
        "export": ("exports", lambda p, **k: export(p, **k)[1]),
        "index": ("index", lambda p, **k: index(p, **k)),
        "evaluate": ("report", lambda p, **k: evaluate(p, small, **k)),
    }


def test_each_stage_writes_one_folder_and_a_second_run_does_nothing(whole, stages):
    folder, call = stages["evaluate"]
    assert folders_changed(whole, call)[0] == {folder}
    for name, (folder, call) in stages.items():
        names, receipt = folders_changed(whole, call)
        assert names == set(), f"a second {name} changed {names}"
        assert isinstance(receipt, Receipt)
        # A forced training starts a run of its own: tested below.
        if name != "train":
            names, again = folders_changed(whole, call, force=True)
            assert names == {folder}, name
            assert again.hash == receipt.hash, f"{name} is not the same twice"


def test_generate_writes_outputs_and_retrieve_nothing(whole):
    names, [first] = folders_changed(whole, generate, ["red dress"], count=2, seed=3)
    assert names == {"outputs"}
    names, [second] = folders_changed(whole, generate, ["red dress"], count=2, seed=3)
    assert names == {"outputs"} and first != second
    for name in ("0.png", "1.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert read_record(first / "1.png").seed == 4
    names, hits = folders_changed(whole, retrieve, "red dress", k=3)
    assert names == set() and [hit.rank for hit in hits] == [1, 2, 3]


def times(folder):
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_train_starts_a_new_run_and_leaves_the_finished_one(whole, stages):
    before = {name: times(whole.path("runs", name)) for name in whole.runs()}
    names, _ = folders_changed(whole, stages["train"][1], force=True)
    assert names == {"runs"} and len(whole.runs()) == len(before) + 1
    assert {name: times(whole.path("runs", name)) for name in before} == before
    runs = whole.runs()[0], whole.runs()[-1]
    first, last = (Receipt.read(whole.path("runs", name)) for name in runs)
    assert first.figures["best"] == last.figures["best"]
    weights = [
        whole.path("runs", name, "checkpoints", "best", "averaged.safetensors").read_bytes()
        for name in runs
    ]
    assert weights[0] == weights[1]


def test_the_same_training_has_the_same_receipt(whole, small):
    train(whole, small, force=True)
    runs = whole.runs()[0], whole.runs()[-1]
    first, last = (Receipt.read(whole.path("runs", name)) for name in runs)
    assert first.hash == last.hash


def test_the_shipped_recipe_trains_with_all_its_terms(prepared, tiny_base, tmp_path):
    project = copy_project(prepared, tmp_path)
    recipe = load_whole_recipe(tiny_base, "objectives.prior.images=3", "train.batch_size=8")
    name, _ = train(project, recipe)
    terms = {"contrastive", "denoise", "consistency", "image_contrast", "anchor"}
    steps = [line for line in run_log.read(project.path("runs", name)) if "loss" in line]
    assert steps and all(terms <= set(line) for line in steps)
