"""Bytes that changed on the disk are named, and never used in silence."""

import hashlib
import os
import random
import shutil

import numpy as np
import pytest

from tests.support.damage import DAMAGE, damage
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import evaluate, export, index, retrieve, train
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Damaged, UnidiffError
from unidiff_cli.generation.generator import Generator
from unidiff_cli.project import checkpoints, run_log
from unidiff_cli.project.arrays import open_array, seal_array
from unidiff_cli.project.receipt import RECEIPT, Receipt
from unidiff_cli.project.status import folders
from unidiff_cli.project.verify import verify

RUN = "001-fashion"
PLACES = [
    ("shards",),
    ("runs", RUN),
    ("exports", RUN),
    ("index",),
    ("report",),
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory, finished, recipe):
    """A finished project with a report."""
    project = copy_project(finished, tmp_path_factory.mktemp("measured"))
    evaluate(project, load_recipe(recipe.base, "evaluate.metrics=[recall]"))
    return project


def samples_of(project):
    """A hash of every sample of the shards, read as training does."""
    project.receipt("shards")
    opened, sha256 = Shards.open(project.path("shards")), hashlib.sha256()
    for row in opened.rows():
        sha256.update(opened.image_bytes(row) + opened.json_bytes(row))
    return sha256.hexdigest()


def exported_weights(project):
    return export(project, force=True)[1].figures["weights_hash"]


# Folder -> what a command does first with it, and what comes of it. Padding of a tar may differ.
USES = {
    "shards": samples_of,
    "runs": exported_weights,
    "exports": lambda p: Generator.open(p).weights_hash,
    "index": lambda p: [(hit.id, hit.score) for hit in retrieve(p, "red dress", k=3)],
    "report": lambda p: p.receipt("report", hashed=None).hash,
}


def targets(project):
    """Every file of every artifact."""
    return [
        (names, file)
        for names in PLACES
        for file in sorted(project.path(*names).rglob("*"))
        if file.is_file() and file.name not in Receipt.read(project.path(*names)).changing
    ]


def weights_of(project):
    return Receipt.read(project.export()).figures["weights_hash"]


def used_in_silence(project, names, file, whole):
    """Whether a command takes a damaged file, says nothing, and gives something else."""
    try:
        return USES[names[0]](project) != whole[names[0]]
    except UnidiffError as problem:
        return file.name not in str(problem) and names[-1] not in str(problem)


@pytest.mark.parametrize("count", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_no_damage_is_used_in_silence_and_verify_names_it(measured, tmp_path, count):
    project = copy_project(measured, tmp_path)
    chance, whole = random.Random(count), {name: use(project) for name, use in USES.items()}
    files, silent, unnamed = targets(project), [], []
    for number in range(count):
        names, file = files[chance.randrange(len(files))]
        kept, kind = file.read_bytes(), chance.choice(DAMAGE)
        if not kept:
            continue
        changed = damage(kept, kind, chance.randrange(1 << 30), chance.randrange(1 << 20))
        if changed == kept:
            continue
        file.write_bytes(changed)
        what = f"{number}: {kind} of {file.relative_to(project.root)}"
        found = [r for r in verify(project, ["/".join(names)]) if r.damage]
        if not any(file.name in sentence for r in found for sentence in r.damage):
            unnamed.append(what)
        if used_in_silence(project, names, file, whole):
            silent.append(what)
        file.write_bytes(kept)
    assert (silent, unnamed) == ([], [])


@pytest.mark.parametrize("names", PLACES, ids="/".join)
@pytest.mark.parametrize("text", ["", "{", "[]", '{"stage": 1}', "\udcff", "[" * 99_999])
def test_a_damaged_receipt_is_a_sentence_and_a_state(measured, tmp_path, names, text):
    project = copy_project(measured, tmp_path)
    file = project.path(*names) / RECEIPT
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(Damaged, match=r"receipt\.json is damaged"):
        project.receipt(*names)
    states = {row.folder: row.state for row in folders(project)}
    assert states["/".join(names)] == "damaged"
    with pytest.raises(UnidiffError):
        USES[names[0]](project)


def test_status_notices_a_file_of_another_size_or_none(measured, tmp_path):
    project = copy_project(measured, tmp_path)
    [tar, *_] = sorted(project.path("shards").glob("*.tar"))
    os.truncate(tar, 1000)
    shutil.rmtree(project.path("index", "clip"))
    rows = {row.folder: row for row in folders(project)}
    assert rows["shards"].state == rows["index"].state == "damaged"
    assert tar.name in rows["shards"].contents and "1,000 bytes" in rows["shards"].contents


@pytest.mark.parametrize("kind", ["flip", "hole"])
def test_a_stage_makes_a_damaged_folder_again(measured, tmp_path, kind, caplog):
    project = copy_project(measured, tmp_path)
    file = project.path("index", "clip", "embeddings.safetensors")
    whole = file.read_bytes()
    file.write_bytes(damage(whole, kind, len(whole) - 10, 5))
    index(project)
    assert file.read_bytes() == whole and "It is made again" in caplog.text


# ---------------------------------------------------------------- checkpoints


def spoil(folder, pattern="*.safetensors"):
    for file in sorted(folder.glob(pattern)):
        file.write_bytes(damage(file.read_bytes(), "flip", file.stat().st_size - 3, 2))


def best_and_its_step(project):
    run = project.path("runs", RUN)
    step = Receipt.read(run).figures["best"]["step"]
    folder = run / "checkpoints"
    return folder / checkpoints.BEST, folder / checkpoints.step_name(step)


def test_a_damaged_best_is_taken_from_the_checkpoint_of_its_step(measured, tmp_path, caplog):
    project = copy_project(measured, tmp_path)
    reference = weights_of(project)
    best, same = best_and_its_step(project)
    assert same.is_dir()
    spoil(best)
    assert export(project, force=True)[1].figures["weights_hash"] == reference
    assert "best/averaged.safetensors is not what was written" in caplog.text


def test_other_weights_are_never_exported_for_the_best(measured, tmp_path):
    project = copy_project(measured, tmp_path)
    best, same = best_and_its_step(project)
    shutil.rmtree(best)
    spoil(same, "averaged.safetensors")
    with pytest.raises(Damaged, match="are damaged") as caught:
        export(project, force=True)
    assert f"{same.name}/optimizer.safetensors" in caught.value.action


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_over(measured, tmp_path, recipe):
    project = copy_project(measured, tmp_path)
    run = project.path("runs", RUN)
    (run / RECEIPT).unlink()
    for checkpoint in checkpoints.committed(run / "checkpoints"):
        spoil(checkpoint, "optimizer.safetensors")
    log = (run / "log.jsonl").read_bytes()
    with pytest.raises(Damaged, match="All checkpoints of run 001-fashion") as caught:
        train(project, recipe, resume=True)
    assert "averaged.safetensors" in caught.value.action
    assert (run / "log.jsonl").read_bytes() == log


def test_resuming_a_finished_run_with_a_damaged_checkpoint_leaves_its_log(
    measured, tmp_path, recipe
):
    project = copy_project(measured, tmp_path)
    run = project.path("runs", RUN)
    spoil(checkpoints.committed(run / "checkpoints")[-1])
    log = (run / "log.jsonl").read_bytes()
    train(project, recipe, resume=True)
    assert (run / "log.jsonl").read_bytes() == log


# ---------------------------------------------------------------- the cache


@pytest.fixture
def array(tmp_path):
    file = tmp_path / "a.npy"
    np.save(file, np.arange(1000, dtype=np.float32).reshape(50, 20))
    seal_array(file)
    return file


def test_a_sealed_array_is_an_array_for_numpy_too(array):
    assert (open_array(array) == np.load(array)).all() and open_array(array).shape == (50, 20)
    assert np.load(array, mmap_mode="r")[49, 19] == 999


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("place", [0, 9, 70, 200, 4000, 4127, 4150])
def test_a_damaged_array_is_none(array, kind, place):
    array.write_bytes(damage(array.read_bytes(), kind, place, 7))
    assert open_array(array) is None


def test_an_array_that_nobody_sealed_is_none(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    assert open_array(tmp_path / "a.npy") is None and open_array(tmp_path / "b.npy") is None


def test_damaged_arrays_of_a_run_are_computed_again(measured, tmp_path, recipe):
    project = copy_project(measured, tmp_path)
    arrays = sorted(project.path("cache").rglob("rows/*/*.npy"))
    whole = [file.read_bytes() for file in arrays]
    assert arrays
    for number, file in enumerate(arrays):
        data = file.read_bytes()
        file.write_bytes(damage(data, DAMAGE[number % 2], len(data) // 2, 3))
    name, _ = train(project, recipe, force=True)
    assert [file.read_bytes() for file in arrays] == whole
    losses = [
        [line["loss"] for line in run_log.read(run) if "loss" in line]
        for run in (project.path("runs", RUN), project.path("runs", name))
    ]
    assert losses[0] == losses[1]
