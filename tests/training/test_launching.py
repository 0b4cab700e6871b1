"""How many processes train, who decides it, and what accelerate's settings make of a run."""

import os
import subprocess
import sys

import pytest

from tests.support.cli import on_tiny_base
from tests.support.projects import load_recipe
from tests.support.runs import FSDP, TWO, contrastive
from unidiff_cli.errors import UsageError
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.training.launching import PRECISION, Launching
from unidiff_cli.training.place import Place

CONFIG = """\
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_CPU
mixed_precision: {precision}
num_machines: 1
num_processes: 3
use_cpu: {cpu}
"""


@pytest.fixture
def auto(tiny_base):
    return load_recipe(tiny_base, "train.precision=auto")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes the file of `accelerate config`."""
    from accelerate.commands import launch
    from accelerate.commands.config import config_args

    def write(precision="bf16", cpu=True):
        file = tmp_path / "default_config.yaml"
        file.write_text(CONFIG.format(precision=precision, cpu=str(cpu).lower()))
        for module in (launch, config_args):
            monkeypatch.setattr(module, "default_config_file", str(file))
        return file

    return write


def around(monkeypatch, rank="0", world="2"):
    """The variables that a launcher sets."""
    values = {"RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)


# ---------------------------------------------------------------- what is asked for


@pytest.mark.parametrize("flags", [TWO, ("--num-processes=2",)])
def test_flags_of_accelerate_say_how_many_processes_and_at_which_precision(auto, flags):
    launching = Launching.found(auto, [*flags, "--mixed_precision", "bf16"])
    assert (launching.processes, launching.precision, launching.variables) == (2, "bf16", {})
    assert launching.apply(auto).train.precision == "bf16" and launching.world(auto) == 2


def test_flags_that_do_not_name_a_precision_leave_it_to_the_recipe(auto):
    assert Launching.found(auto, TWO).apply(auto) == auto


def test_settings_of_fsdp_reach_the_processes(auto):
    names = ("--fsdp_transformer_layer_cls_to_wrap", "A,B")
    variables = Launching.found(auto, [*TWO, *FSDP, *names]).variables
    assert variables["ACCELERATE_USE_FSDP"] == "true" and variables["FSDP_VERSION"] == "2"
    assert variables["FSDP_TRANSFORMER_CLS_TO_WRAP"] == "A,B"
    assert PRECISION not in variables and "OMP_NUM_THREADS" not in variables


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["foo"], "'foo' is no flag"),
        (["--num_processes"], "expected one argument"),
        (["--num_prozesses", "2"], "num_prozesses"),
        (["--use_deepspeed"], "DeepSpeed is not supported"),
        (["--dynamo_backend", "inductor"], "compiles in its own way"),
        (["--mixed_precision", "fp8"], "fp8 is not supported"),
        (["--num_machines", "2", "--num_processes", "4"], "2 machines"),
        (["--config_file", "/nowhere.yaml"], "accelerate refuses"),
    ],
)
def test_what_cannot_be_launched_is_a_sentence(auto, flags, said):
    with pytest.raises(UsageError, match=said):
        Launching.found(auto, flags)


def test_two_precisions_are_one_too_many(tiny_base):
    recipe = load_recipe(tiny_base, "train.precision=fp32")
    with pytest.raises(UsageError, match="bf16, and train.precision is fp32"):
        Launching.found(recipe, ["--mixed_precision", "bf16"]).apply(recipe)


def test_the_file_of_accelerate_config_is_honoured(auto, tiny_base, config):
    config()
    launching = Launching.found(auto)
    assert launching.processes == 3 and launching.apply(auto).train.precision == "bf16"
    # A flag wins over it, and a recipe that says how many leaves it aside.
    assert Launching.found(auto, TWO).processes == 2
    two = load_recipe(tiny_base, "train.processes=2")
    assert Launching.found(two) == Launching() and Launching().world(two) == 2


def test_a_file_for_gpus_starts_no_processes_where_there_is_none(auto, config):
    config(cpu=False)
    assert Launching.found(auto).world(auto) == 1


def test_without_any_of_these_the_recipe_decides(auto):
    assert Launching.found(auto) == Launching()


# ---------------------------------------------------------------- a launcher's processes


def test_the_place_is_read_from_the_variables_of_torch(monkeypatch):
    assert Place.here() == Place()
    around(monkeypatch, rank="1")
    assert Place.here() == Place(1, 2, started=True)
    around(monkeypatch, rank="one")
    with pytest.raises(UsageError, match="RANK is 'one'"):
        Place.here()


def test_a_launcher_decides_and_its_number_is_the_one_that_the_recipe_asks_for(
    auto, tiny_base, monkeypatch
):
    around(monkeypatch)
    monkeypatch.setenv(PRECISION, "bf16")
    launching = Launching.found(auto)
    assert launching.started and launching.apply(auto).train.precision == "bf16"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UsageError, match="DeepSpeed is not supported"):
        Launching.found(auto)
    monkeypatch.delenv("ACCELERATE_USE_DEEPSPEED")
    three = load_recipe(tiny_base, "train.precision=auto", "train.processes=3")
    with pytest.raises(UsageError, match="started 2 processes, and train.processes is 3"):
        Launching.found(three).apply(three)
    with pytest.raises(UsageError, match="Give them to the launcher|A launcher has started"):
        Launching.found(auto, TWO)


@pytest.mark.slow
def test_every_process_of_a_launcher_runs_the_same_command(project, finished, tiny_base):
    """torchrun's processes: the first opens the run, exports and indexes; the losses are one's."""
    on_tiny_base(project, tiny_base)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launcher, "-m", "unidiff_cli.cli", "-C", str(project.root), "train"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    [name] = project.runs()
    assert project.exports() == [name] and Receipt.read(project.path("index"))
    assert "2 processes, precision" in done.stderr and done.stderr.count("2 processes") == 1
    assert contrastive(project) == pytest.approx(contrastive(finished), rel=1e-3)
    # The same work again: the others are told that there is nothing to do.
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0 and "Nothing to do" in done.stderr, done.stderr


@pytest.mark.slow
def test_accelerate_launch_of_one_process_hands_its_precision_on(project, tiny_base):
    with on_tiny_base(project, tiny_base).file.open("a") as file:
        file.write("train: {precision: auto}\n")
    launcher = ["-m", "accelerate.commands.launch", "--cpu", "--mixed_precision", "bf16"]
    command = [sys.executable, *launcher, "-m", "unidiff_cli.cli", "-C", str(project.root), "train"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "One process, precision bf16, by the launcher" in done.stderr
