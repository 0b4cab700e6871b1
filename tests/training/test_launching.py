"""How many processes train, who decides it, and what accelerate's settings make of a run."""

import os
import subprocess
import sys

import pytest

from tests.support.cli import on_tiny_base
from tests.support.projects import load_recipe
from tests.support.runs import (
    FSDP,
    FSDP_VARIABLES,
    GRADIENTS_SHARDED,
    Cut,
    assert_equal_gradients,
    cut_at,
    gradients_of_one_and_two,
    losses,
)
from unidiff_cli import train
from unidiff_cli.errors import UsageError
from unidiff_cli.project import checkpoints, run_log
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.training.launching import PRECISION, Launching
from unidiff_cli.training.place import Place

TWO = ("--num_processes", "2")
LORA = ("train.lora.rank=4", "objectives.anchor.weight=1", "train.lora.vision.rank=3")
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
    return load_recipe(tiny_base)


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
    three = load_recipe(tiny_base, "train.processes=3")
    with pytest.raises(UsageError, match="started 2 processes, and train.processes is 3"):
        Launching.found(three).apply(three)
    with pytest.raises(UsageError, match="Give them to the launcher|A launcher has started"):
        Launching.found(auto, TWO)


def contrastive(project):
    """A term that every process has of the whole batch, of each step of the first run."""
    lines = run_log.read(project.path("runs", "001-fashion"))
    return [line["contrastive"] for line in lines if "loss" in line]


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
    on_tiny_base(project, tiny_base)
    launcher = ["-m", "accelerate.commands.launch", "--cpu", "--mixed_precision", "bf16"]
    command = [sys.executable, *launcher, "-m", "unidiff_cli.cli", "-C", str(project.root), "train"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "One process, precision bf16, by the launcher" in done.stderr


# ---------------------------------------------------------------- weights in pieces


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        ["fashion", "train.chunk=2"],
        ["diffdis"],
        # The denoiser has a gradient in one process alone: general images are in its rows.
        ["fashion", "objectives.denoise.weight=0", "objectives.prior.weight=1"],
        ["fashion", *LORA],
        ["fashion", *LORA, "train.lora.dora=true"],
        ["joint", "train.last_layers.vision=1", "train.last_layers.text=1"],
    ],
)
def test_gradients_of_weights_in_pieces_equal_those_of_one_process(tmp_path, tiny_base, asked):
    """float64, FSDP2 over gloo."""
    gradients = gradients_of_one_and_two(
        GRADIENTS_SHARDED, tmp_path, tiny_base, *asked, variables=FSDP_VARIABLES
    )
    assert_equal_gradients(*gradients)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), FSDP])
def test_a_run_of_two_processes_goes_on_in_one(project, finished, recipe, flags):
    """By DDP and by FSDP2: saved at 2, resumed at 1, the losses and weights of a run of one."""
    with pytest.raises(Cut):
        train(project, recipe, flags=[*TWO, *flags], on_step=cut_at(5))
    run = project.path("runs", "001-fashion", "checkpoints")
    assert [each.name for each in checkpoints.committed(run)] == ["step-000003"]
    name, _ = train(project, recipe, resume=True, flags=["--num_processes", "1"])
    assert name == "001-fashion"
    assert contrastive(project) == pytest.approx(contrastive(finished), rel=1e-3)
    for group in ("weights", "averaged", "optimizer", "heads"):
        kept = checkpoints.tensors(run / "step-000006", group)
        whole = finished.path("runs", "001-fashion", "checkpoints", "step-000006")
        expected = checkpoints.tensors(whole, group)
        assert {k: v.shape for k, v in kept.items()} == {k: v.shape for k, v in expected.items()}


@pytest.mark.slow
def test_a_run_in_pieces_ends_with_the_files_of_any_other(project, recipe):
    name, receipt = train(project, recipe, flags=[*TWO, *FSDP])
    assert receipt.counts["steps"] == 6 and receipt.figures["best"]["step"]
    assert list(project.path("runs", name).glob("previews/*.png"))
    assert sorted(losses(project, name)) == [1, 2, 3, 4, 5, 6]


def test_what_needs_gradients_in_one_piece_is_refused(tiny_base, monkeypatch):
    from unidiff_cli.training import sharding

    monkeypatch.setenv("FSDP_VERSION", "2")
    options = load_recipe(tiny_base, "train.pcgrad=true").train
    with pytest.raises(UsageError, match="train.pcgrad takes gradients apart"):
        sharding.refuse(options)
    plain = load_recipe(tiny_base).train
    with pytest.raises(UsageError, match="fp16 is not trained with FSDP"):
        sharding.refuse(plain.model_copy(update={"precision": "fp16"}))
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(UsageError, match="Only version 2"):
        sharding.refuse(plain)
