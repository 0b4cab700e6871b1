"""Signals that end a command: never taken for damage, never lost, and the next run goes on."""

import json
import os
import random
import shutil
import signal
import sys
import time

import pytest

from tests.support.catalogue import photo, write_catalogue, write_photos
from tests.support.cli import LONG, Training
from tests.support.processes import (
    COMMAND,
    ended,
    gone,
    handles_signals,
    settings,
    started_by,
    unidiff,
    wait_until,
)
from tests.support.projects import copy_project, load_recipe
from tests.support.runs import losses
from unidiff_cli import signals, train
from unidiff_cli.errors import Interrupted
from unidiff_cli.project import checkpoints
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.training.validation import Validation

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


# ---------------------------------------------------------------- never damage

# Sends a signal from inside a call of a function of a library or of ours.
STRUCK = """
import os, signal, sys
from importlib import import_module
module, name, how, number = WHERE
holder = import_module(module)
*outer, last = name.split(".")
for part in outer:
    holder = getattr(holder, part)
original, calls = getattr(holder, last), []

class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def struck(*args, **kwargs):
    calls.append(1)
    if len(calls) == number:
        # Python ignores what a finaliser raises.
        Finalised() if how == "swallowed" else signal.raise_signal(signal.SIGTERM)
    return original(*args, **kwargs)

setattr(holder, last, struck)
from unidiff_cli.cli import main
main()
"""
PLACES = [
    ("PIL.Image", "open"),
    ("PIL.Image", "Image.getexif"),
    ("PIL.ImageFile", "ImageFile.load"),
    ("unidiff_cli.data.images", "fingerprint"),
    ("unidiff_cli.data.locations", "LocalPath.read"),
    ("unidiff_cli.data.locations", "LocalPath.stat"),
    ("json", "JSONDecoder.decode"),
]


@pytest.mark.parametrize("how", ["raised", "swallowed"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
def test_a_signal_inside_a_reader_or_decoder_is_no_damage(tmp_path, place, how):
    shop = write_photos(tmp_path / "shop", 12)
    project = tmp_path / "project"
    code = STRUCK.replace("WHERE", repr((*place, how, 3)))
    arguments = ["prepare", shop, *settings("prepare.workers=1")]
    with unidiff(project, *arguments, code=code) as process:
        code, out, err = ended(process)
    assert (code, out) == (143, ""), err
    assert "Interrupted by SIGTERM" in err and "Traceback" not in err
    assert not list(project.rglob("shards")) and not list(project.rglob("quarantine*"))


def test_a_signal_that_a_library_swallows_ends_the_command(exported):
    where = ("unidiff_cli.models.sampler", "generate_images", "swallowed", 1)
    code = STRUCK.replace("WHERE", repr(where))
    with unidiff(exported.root, "generate", "dress", code=code) as process:
        code, out, err = ended(process)
    assert (code, out) == (143, ""), err


# ---------------------------------------------------------------- any signal, any process


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGUSR1], ids=lambda s: s.name)
def test_every_ending_signal_saves_a_checkpoint(project, signum):
    processes = "train.processes=2" if signum == signal.SIGHUP else "train.workers=2"
    with Training(project, *settings(*LONG, processes)) as training:
        training.until_step(1)
        children = started_by(training.process)
        code, _, err = training.send(signum)
    step = training.steps()[-1]
    assert code == 128 + signum and f"Stopped at step {step}; its checkpoint is saved" in err
    assert (training.run / "checkpoints" / f"step-{step:06d}").is_dir() and gone(children)


IGNORING = COMMAND.replace("SIGHUP, signal.SIG_DFL", "SIGHUP, signal.SIG_IGN")


def test_what_nohup_ignores_stays_ignored(tmp_path):
    shop = write_catalogue(tmp_path / "shop", products=60)
    arguments = ["prepare", shop, *settings("prepare.workers=2", "prepare.near_duplicates=0")]
    with unidiff(tmp_path / "project", *arguments, code=IGNORING) as process:
        wait_until(lambda: handles_signals(process), process)
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGHUP)
            time.sleep(0.1)
        assert ended(process)[0] == 0
    receipt = Receipt.read(tmp_path / "project" / "shards")
    assert receipt.counts["samples"] == 120


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGTERM,
        *(pytest.param(s, marks=pytest.mark.slow) for s in ENDING if s != signal.SIGTERM),
    ],
    ids=lambda s: s.name,
)
def test_a_signal_to_all_processes_of_prepare_is_no_damage(tmp_path, signum):
    shop = write_photos(tmp_path / "shop", 400)
    large = photo(1, (3000, 2500))
    for n in range(0, 400, 20):
        large.save(shop / "images" / f"{n}.jpg")
    arguments = ["prepare", shop, *settings("prepare.workers=2")]
    with unidiff(tmp_path / "project", *arguments) as process:
        wait_until(lambda: len(started_by(process)) >= 3, process)
        children = started_by(process)
        time.sleep(random.random())
        os.killpg(process.pid, signum)
        sent = time.monotonic()
        code, _, err = ended(process)
    assert code == 128 + signum and time.monotonic() - sent < 10, err
    assert "Traceback" not in err and gone(children)
    assert not list(tmp_path.rglob("quarantine*")) and not list(tmp_path.rglob("shards"))


# A signal in the middle of an import of the program.
LATE = """
import signal, sys
from unidiff_cli import cli

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "unidiff_cli.cli.program":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.main()
"""


def test_a_signal_before_the_program_is_loaded_is_no_traceback(tmp_path):
    with unidiff(tmp_path, "status", code=LATE) as process:
        code, _, err = ended(process)
    assert code == 130 and "Interrupted by SIGINT" in err and "Traceback" not in err


# Imports a module that is struck by a signal while it is imported, and takes some seconds then.
IMPORTING = """
import sys, time
from unidiff_cli import signals
from unidiff_cli.errors import Interrupted
signals.start()
signals.IMPORT = float(sys.argv.pop())
started = time.monotonic()
try:
    import struck
    while time.monotonic() < started + 30: pass
except Interrupted:
    module = sys.modules.get("struck")
    print(bool(module and module.is_whole), time.monotonic() - started)
"""
STRUCK_MODULE = """
import os, signal, time
os.kill(os.getpid(), signal.SIGTERM)
latest = time.monotonic() + 2
while time.monotonic() < latest: pass
is_whole = True
"""


@pytest.mark.parametrize(("patience", "whole"), [(20, "True"), (0.3, "False")])
def test_a_signal_waits_for_an_import_but_not_for_ever(tmp_path, patience, whole):
    """In an import by C++ code, as torch's, what raises ends the process with SIGABRT."""
    (tmp_path / "struck.py").write_text(STRUCK_MODULE)
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    with unidiff(tmp_path, patience, code=path + IMPORTING) as process:
        code, out, err = ended(process)
    assert code == 0, err
    is_whole, seconds = out.split()
    assert is_whole == whole and float(seconds) < 15


def test_a_library_that_was_interrupted_can_go_on(project, recipe):
    def interrupt(line):
        os.kill(os.getpid(), signal.SIGTERM)

    before = [signal.getsignal(signum) for signum in ENDING]
    with pytest.raises(Interrupted, match="Stopped at step 1"):
        train(project, recipe, on_step=interrupt)
    assert before == [signal.getsignal(signum) for signum in ENDING] and not signals.caught()
    name, receipt = train(project, recipe, resume=True)
    assert receipt.counts["steps"] == recipe.train.steps


def test_what_holds_signals_back_within_another_does_not_let_them_go():
    done = []
    with pytest.raises(Interrupted), signals.held() as outer:
        with signals.held():
            signal.raise_signal(signal.SIGTERM)
        signals.check()
        done.append(outer())
    assert done == [signal.SIGTERM] and not signals.caught()


# ---------------------------------------------------------------- within the time, and equal


def everything(project):
    """What a finished run holds: its losses, its validations, its best weights and its last."""
    folder = project.path("runs", "001-fashion")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in lines:
        for measured in ("seconds", "samples_per_second", "memory_mb"):
            line.pop(measured, None)
    weights = {}
    # Those before the last are of whatever steps it was interrupted at.
    _, *before = reversed(checkpoints.committed(folder / "checkpoints"))
    for checkpoint in set((folder / "checkpoints").iterdir()).difference(before):
        state = json.loads((checkpoint / checkpoints.STATE).read_text())
        weights[checkpoint.name] = (state["files"], state.get("unmeasured"))
    return lines, weights, Receipt.read(folder).figures


@pytest.mark.parametrize(
    "step",
    [2, pytest.param(4, marks=pytest.mark.slow)],
    ids=["in the middle", "at the last step"],
)
@pytest.mark.parametrize("place", ["measure", "_batches"])
def test_a_signal_during_a_validation_puts_it_off_to_the_resumed_run(
    tmp_path, prepared, tiny_base, monkeypatch, step, place
):
    """Bit for bit what an uninterrupted run gives."""
    recipe = load_recipe(tiny_base, "train.steps=4", "train.validate_every=2", "train.warmup=1")
    whole, broken = (copy_project(prepared, tmp_path / name) for name in ("a", "b"))
    train(whole, recipe)
    original = getattr(Validation, place)

    def struck(self, *args):
        if losses(broken, "001-fashion").keys() == set(range(1, step + 1)):
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Validation, place, struck)
        with pytest.raises(Interrupted, match=f"Stopped at step {step}"):
            train(broken, recipe)
    assert not any("validation" in line and line["step"] == step for line in lines_of(broken))
    train(broken, recipe, resume=True)
    assert everything(whole) == everything(broken)


def lines_of(project):
    log = project.path("runs", "001-fashion", "log.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


# ---------------------------------------------------------------- sweeps

# What a short form tries, and `make test-all`; `make sweeps` tries 100.
FEW, MANY = 3, int(os.environ.get("UNIDIFF_SWEEP", 20))
# A machine that is busy otherwise takes longer.
SECONDS = float(os.environ.get("UNIDIFF_SWEEP_SECONDS", 10))
TRAINED = ("train.steps=6", "train.validate_every=2", "train.checkpoint_every=3", "train.warmup=1")


class Stage:
    """A command, and what it leaves in a project that does not depend on when it ran."""

    def __init__(self, folder, *command, workers=""):
        self.folder, self.command, self.workers = folder, command, workers

    def arguments(self, project, workers):
        return [*self.command, *(settings(f"{self.workers}={workers}") if self.workers else [])]

    def outcome(self, project):
        receipts = sorted(project.path(self.folder).rglob("receipt.json"))
        read = [Receipt.read(file.parent) for file in receipts]
        return [(receipt.counts, receipt.files) for receipt in read]


class Run(Stage):
    """A run that is resumed, and begun anew when it is finished."""

    def arguments(self, project, workers):
        run = project.path("runs", "001-fashion")
        if Receipt.read(run):
            shutil.rmtree(run)
        if (run / "recipe.yaml").is_file():
            return ["train", "--resume"]
        return super().arguments(project, workers)

    def outcome(self, project):
        return everything(project)


class Generation(Stage):
    """Images, each time in another folder."""

    def outcome(self, project):
        newest = max(project.path("outputs").iterdir())
        return [file.read_bytes() for file in sorted(newest.glob("*.png"))]


class Evaluation(Stage):
    """A report, without how long it took."""

    def outcome(self, project):
        report = json.loads((project.path(self.folder) / "report.json").read_text())
        return {key: value for key, value in report.items() if key != "seconds"}


TRAIN = ("train", *settings(*TRAINED))
STAGES = {
    "prepare": Stage("shards", "prepare", "shop", "--force", workers="prepare.workers"),
    "train": Run("runs", *TRAIN, workers="train.workers"),
    # Each of the processes reads with a worker of its own.
    "processes": Run("runs", *TRAIN, *settings("train.workers=1"), workers="train.processes"),
    "export": Stage("exports", "export", "--force"),
    "index": Stage("index", "index", "--force"),
    "evaluate": Evaluation("report", "evaluate", "--force"),
    "generate": Generation("outputs", "generate", "a dress", "-n", "2"),
    "retrieve": Stage("index", "retrieve", "a dress"),
}


def sweep(stage, workers, tries, project, folder, seed=0):
    """Random signals at random moments of a stage: how many ended it.

    Each ends it within SECONDS or comes too late, and in the end all is as without them.
    """
    rng, started = random.Random(seed), time.monotonic()

    def run():
        return unidiff(project.root, *stage.arguments(project, workers), cwd=folder)

    with run() as process:
        assert ended(process, 300)[0] == 0
    length, expected, interrupted = time.monotonic() - started, stage.outcome(project), 0
    for number in range(tries):
        signum, group = rng.choice(ENDING), rng.random() < 0.3
        with run() as process:
            wait_until(lambda p=process: handles_signals(p))
            time.sleep(rng.random() * length)
            children, sent = started_by(process), time.monotonic()
            (os.killpg if group else os.kill)(process.pid, signum)
            code, _, err = ended(process, 300)
        report = (number, signum.name, group, code, err)
        assert code in (128 + signum, 0), "\n".join(map(str, report))
        assert time.monotonic() - sent < SECONDS, report
        assert "Traceback" not in err and gone(children), report
        assert not list(project.root.glob("quarantine*")), report
        interrupted += code != 0
        if code == 0:
            assert stage.outcome(project) == expected, report
    with run() as process:
        assert ended(process, 300)[0] == 0
    assert stage.outcome(project) == expected
    return interrupted


@pytest.fixture
def shop(tmp_path):
    """The folder that holds a catalogue, large enough for processes."""
    write_catalogue(tmp_path / "shop", products=60)
    return tmp_path


@pytest.mark.slow
def test_a_few_signals_at_random_moments_of_prepare(exported, shop):
    assert sweep(STAGES["prepare"], 2, FEW, exported, shop)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", STAGES)
def test_many_signals_at_random_moments_of_a_stage(exported, shop, name, workers):
    if workers == 2 and not STAGES[name].workers:
        pytest.skip("it starts no processes")
    interrupted = sweep(STAGES[name], workers, MANY, exported, shop)
    print(f"{name}, {workers} workers: {interrupted} of {MANY} interrupted", file=sys.stderr)
    assert interrupted > MANY // 10
