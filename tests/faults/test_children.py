"""Processes that unidiff starts: nothing of a stranger's is run, no one listens, none is left."""

import os
import pkgutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest

from tests.support.catalogue import write_catalogue
from tests.support.cli import LONG, UNIDIFF, Training, on_tiny_base
from tests.support.processes import (
    ended,
    gone,
    listening,
    settings,
    started_by,
    unidiff,
    wait_until,
)
from unidiff_cli import Project, processes
from unidiff_cli.data.executors import ProcessExecutor
from unidiff_cli.errors import WorkError
from unidiff_cli.project import lock, run_log

TWO = ("train.processes=2", "train.workers=1", "train.batch_size=8")
SHORT = ("train.steps=2", "train.workers=1", "generate.steps=1", "evaluate.metrics=[recall]")
PLANTED = "open({mark!r}, 'w').close()\nraise ImportError({name!r})\n"


def steps(project):
    """The steps that the first run logged."""
    return [line for line in run_log.read(project.path("runs", "001-fashion")) if "loss" in line]


# ---------------------------------------------------------------- what is imported


def plant(folder: Path, marks: Path, names) -> None:
    """Files with the names of modules, which leave a mark when they are run."""
    marks.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(PLANTED.format(mark=str(marks / name), name=name))


def importable():
    """Every name that a process of ours could import, and so all that one does."""
    names = {module.name for module in pkgutil.iter_modules()} | set(sys.stdlib_module_names)
    return {name for name in names if name.isidentifier()} - {"unidiff_cli"}


@pytest.fixture
def hostile(tmp_path, tiny_base):
    """A catalogue, large enough for processes, in which every module is planted."""
    folder = write_catalogue(tmp_path / "shop", products=40)
    project = Project(folder / "unidiff-project")
    project.create()
    on_tiny_base(project, tiny_base)
    plant(folder, tmp_path / "marks", importable())
    return folder


def marks(folder):
    """The planted modules that were run."""
    return os.listdir(folder.parent / "marks")


def run_in(folder, *command):
    """Runs a command in a catalogue; none of the planted modules is run."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert marks(folder) == []


def test_preparing_a_catalogue_runs_nothing_that_lies_in_it(hostile):
    assert {"struct", "pickle", "torch", "numpy", "multiprocessing"} <= importable()
    run_in(hostile, UNIDIFF, "prepare", ".", *settings("prepare.workers=2"))


@pytest.mark.slow
def test_two_training_processes_run_nothing_and_listen_on_the_loopback_address_alone(
    project, hostile
):
    arguments = settings(*LONG, *TWO)
    with unidiff(project.root, "train", *arguments, cwd=hostile) as process:
        wait_until(lambda: steps(project), process)
        assert marks(hostile) == []
        assert listening(process) == {"127.0.0.1"}
        assert len(started_by(process)) >= 4


@pytest.mark.slow
def test_no_command_runs_what_lies_in_the_catalogue(hostile):
    image, small = str(next((hostile / "images").iterdir())), settings(*SHORT)
    ablation = ("--recipes", "joint", "--seeds", "0,1", "--jobs", "2")
    for arguments in (
        ["prepare", ".", *settings("prepare.workers=2")],
        ["train", *small],
        ["status"],
        ["doctor"],
        ["recipes", "list"],
        ["export", "--force"],
        ["index", "--force"],
        ["generate", "red dress", "-n", "1"],
        ["retrieve", image],
        ["evaluate"],
        ["train", *small, *settings("train.processes=2"), "--force"],
        ["evaluate", "--folds", "2", *small],
        ["ablate", *ablation, *small],
    ):
        run_in(hostile, UNIDIFF, *arguments)


def test_python_m_runs_nothing_of_the_catalogue_once_unidiff_is_there(hostile):
    # Python itself imports these before it has found the package.
    loaded = "import runpy, sys; print(*sys.modules)"
    own = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout
    for name in {name.partition(".")[0] for name in own.split()}:
        (hostile / f"{name}.py").unlink(missing_ok=True)
    arguments = ["prepare", ".", *settings("prepare.workers=2")]
    run_in(hostile, sys.executable, "-m", "unidiff_cli.cli", *arguments)


PATHS = """
import os, sys
from unidiff_cli.data.executors import ProcessExecutor
from tests.faults.test_children import path_here
sys.path[:0] = ["", ".", os.getcwd()]
os.environ["PYTHONPATH"] += os.pathsep + os.pathsep.join(["", ".", "images"])
before = list(sys.path), dict(os.environ), sys.modules["__main__"]
for path in ProcessExecutor(2).map(path_here, range(80), []):
    assert not {"", ".", "images", os.getcwd(), os.path.abspath("images")} & set(path), path
assert before == (sys.path, dict(os.environ), sys.modules["__main__"])
"""


def path_here(number):
    """Where a worker process looks for modules, and its own processes would."""
    return [*sys.path, *os.environ["PYTHONPATH"].split(os.pathsep)]


def test_a_relative_path_of_the_caller_is_not_passed_on(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-P", "-c", PATHS], cwd=tmp_path, env=env, check=True)


def test_a_script_of_the_caller_is_not_run_again(tmp_path):
    # It has no `if __name__ == "__main__"`.
    code = (
        "open('runs', 'a').write('run ')\n"
        "from unidiff_cli.data.executors import ProcessExecutor\n"
        "assert list(ProcessExecutor(2).map(str, range(80), '')) == [str(n) for n in range(80)]\n"
    )
    (tmp_path / "script.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "runs").read_text() == "run "


PLOT = """
from unidiff_cli.reports import plots
print(plots.lines({"a": ([1, 2, 3], [1, 2, 3])}, x="step", y="loss"))
"""


@pytest.mark.parametrize("planted", [b"text.usetex: True", b"axes.grid: False", b"\xff\xfe"])
def test_settings_of_plots_that_lie_in_the_catalogue_are_not_read(tmp_path, planted):
    def plot(folder):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-P", "-c", PLOT]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout

    plain = plot(tmp_path / "plain")
    (tmp_path / "matplotlibrc").write_bytes(planted)
    assert plot(tmp_path) == plain


# ---------------------------------------------------------------- who listens


@pytest.mark.parametrize("command", ["prepare", "train"])
def test_no_other_command_listens(project, tmp_path, command):
    arguments = {
        "prepare": [
            write_catalogue(tmp_path / "shop", products=40),
            "--force",
            *settings("prepare.workers=2"),
        ],
        "train": settings(*LONG, "train.workers=2"),
    }
    with unidiff(project.root, command, *arguments[command]) as process:
        wait_until(lambda: started_by(process), process)
        for _ in range(20):
            assert process.poll() is not None or not listening(process)
            time.sleep(0.05)


# ---------------------------------------------------------------- when they end

SLOW = """
import time
from unidiff_cli.data.executors import ProcessExecutor
list(ProcessExecutor(2).map(time.sleep, [1] * 1000, None))
"""


def ranks(process):
    """The training processes that one launched."""
    return [
        child for child in started_by(process) if "unidiff_cli.training" in str(child.cmdline())
    ]


@pytest.mark.slow
def test_the_processes_of_a_killed_training_end_with_it(project):
    with Training(project, *settings(*LONG, *TWO)) as training:
        training.until_step(2)
        children = started_by(training.process)
        assert len(children) >= 4
        training.process.kill()
        last = training.steps()[-1]
        with Training(project, "--resume") as resumed:
            assert gone(children)
            wait_until(lambda: len(ranks(resumed.process)) == 2, resumed.process)
            resumed.until_step(last + 1)
            assert len(ranks(resumed.process)) == 2
            assert resumed.send(signal.SIGTERM)[0] == 143
        assert resumed.steps() == list(range(1, len(resumed.steps()) + 1))


def test_the_processes_of_a_killed_executor_end_with_it():
    process = subprocess.Popen([sys.executable, "-c", SLOW])
    wait_until(lambda: len(started_by(process)) >= 3, process)
    children = started_by(process)
    process.kill()
    process.wait()
    assert gone(children)


@pytest.mark.slow
def test_the_processes_of_a_killed_ablation_end_with_it(project):
    short = settings("train.steps=500", "train.workers=1")
    arguments = ("--recipes", "joint", "--seeds", "0,1", "--jobs", "2", *short)
    with unidiff(project.root, "ablate", *arguments) as process:
        wait_until(lambda: len(started_by(process)) >= 4, process)
        children = started_by(process)
        process.kill()
        assert gone(children)


@pytest.mark.slow
def test_a_training_whose_process_dies_ends_whole(project):
    with Training(project, *settings(*LONG, *TWO)) as training:
        training.until_step(1)
        children = started_by(training.process)
        ranks(training.process)[-1].kill()
        code, _, err = ended(training.process)
        assert code == 1 and "workers.log" in err and "Traceback" not in err
        assert gone(children)


def test_an_executor_that_fails_does_not_wait_for_its_processes():
    results = ProcessExecutor(2).map(time.sleep, [0] * 16 + [5] * 500, None)
    next(results)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 3


# ---------------------------------------------------------------- what they hold

LEAVES_A_CHILD = """
import os, sys, time
from pathlib import Path
from unidiff_cli import Project, processes
folder = Path(sys.argv[1])
output = folder / "output"
with Project(folder).lock():
    child = processes.start("tests.faults.sleeper", [], folder, output, 1)
    print(child.pid, flush=True)
    while not output.stat().st_size:
        time.sleep(0.05)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def orphan(project):
    """A process that lives on though the writer that started it was killed."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_A_CHILD, str(project.root)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    pid = int(done.stdout)
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_child_of_a_killed_writer_keeps_the_next_writer_out(project, orphan, monkeypatch):
    monkeypatch.setattr(lock, "GRACE", 1)
    with pytest.raises(WorkError, match="is writing to"), project.lock():
        pass


def test_a_writer_waits_for_the_children_of_a_killed_one(project, orphan):
    started = time.monotonic()
    Timer(1, os.kill, (orphan, signal.SIGKILL)).start()
    with project.lock():
        assert time.monotonic() - started >= 1


# ---------------------------------------------------------------- what a child leaves


@pytest.mark.parametrize(
    ("problem", "code", "fact"),
    [
        (WorkError("It failed."), 1, "It failed."),
        (OSError(28, "No space left on device", "/disk/file"), 3, "The disk is full"),
        (ModuleNotFoundError("No module named 'scipy'", name="scipy"), 3, "package scipy"),
    ],
    ids=["ours", "disk", "package"],
)
def test_the_error_of_a_child_is_a_sentence_for_its_parent(tmp_path, problem, code, fact):
    def work():
        raise problem

    assert processes.run(tmp_path, work) == code
    left = processes.left(tmp_path)
    assert fact in left.fact and left.exit_code == code


def test_a_mistake_of_a_child_keeps_its_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError):
        processes.run(tmp_path, lambda: print(1 / 0))
    assert processes.left(tmp_path) is None


def test_a_signal_ends_a_child_that_still_imports_its_module(tmp_path, monkeypatch):
    (tmp_path / "slow_to_load.py").write_text(
        "import time\nprint('imports', flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    output = tmp_path / "output"
    child = processes.start("slow_to_load", [], tmp_path, output, 1)
    wait_until(lambda: output.stat().st_size, child)
    child.terminate()
    assert child.wait(5) == 143
    assert processes.left(tmp_path).exit_code == 143
