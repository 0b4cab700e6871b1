"""How many processes a run takes, who starts them, and with which settings of accelerate.

There are three ways. `unidiff train` starts them itself, one a GPU or as the recipe says
(`launch.py`); so it does with the flags of `accelerate launch` after `--`, or with the file that
`accelerate config` wrote. Or a launcher has started this process and others of it, on one machine
or several: then the variables of torch.distributed stand in the environment, and the first process
is the one that opens the run.
"""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import UsageError
from unidiff_cli.system import first_line
from unidiff_cli.training.place import Place

logger = logging.getLogger("unidiff")

# The command that is launched on each of several machines.
COMMAND = "accelerate launch FLAGS -m unidiff_cli.cli -C PROJECT train"
# The variable in which accelerate launch leaves the precision.
PRECISION = "ACCELERATE_MIXED_PRECISION"
# What stands where accelerate wants a script.
SCRIPT = "unidiff"
# The recipe's names of accelerate's precisions.
PRECISIONS = {"no": "fp32", "bf16": "bf16", "fp16": "fp16"}
# Ways to train that ask for another optimiser, other weights or other machines than ours.
REFUSED = {
    "use_deepspeed": "DeepSpeed",
    "use_megatron_lm": "Megatron-LM",
    "use_parallelism_config": "A parallelism config",
    "tpu": "A TPU",
}


@dataclass(frozen=True)
class Launching:
    """Processes (0: one a GPU), a precision ("": the recipe's), and variables for the processes.

    `source` says in words who decided. `started`: a launcher has started the processes already.
    """

    processes: int = 0
    precision: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    started: bool = False

    @classmethod
    def found(cls, recipe: Recipe, flags: Sequence[str] = ()) -> Launching:
        """By the flags, by a launcher's environment, or by the file of `accelerate config`.

        A recipe that says how many processes there are leaves the file aside. Raises UsageError.
        """
        place = Place.here()
        if flags and place.started:
            raise UsageError(
                "A launcher has started this process, and flags of accelerate launch follow --.",
                "Give them to the launcher.",
            )
        if place.started or PRECISION in os.environ:
            return _of_environment(recipe, place)
        if flags or (not recipe.train.processes and _default_config()):
            return _of_flags(flags)
        return cls()

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe at this precision, where it leaves that open. Raises UsageError."""
        asked = recipe.train.precision
        if not self.precision or asked == self.precision:
            return recipe
        if asked != "auto":
            # A file that somebody else's run needed decides nothing here.
            if not self.source.startswith("the flags"):
                return recipe
            raise UsageError(
                f"{self.source.capitalize()} ask for {self.precision}, and train.precision is "
                f"{asked}.",
                "Leave one of the two out.",
            )
        train = type(recipe.train).model_validate(
            {**recipe.train.model_dump(), "precision": self.precision}
        )
        return recipe.model_copy(update={"train": train})

    def world(self, recipe: Recipe) -> int:
        """How many processes train."""
        return self.processes or recipe.train.processes or max(1, machine.gpu_count())

    def say(self, recipe: Recipe) -> None:
        """Says what somebody else than the recipe decided."""
        if self.source:
            world = self.world(recipe)
            count = f"{world} processes" if world > 1 else "One process"
            logger.info(f"{count}, precision {recipe.train.precision}, by {self.source}.")


# ---------------------------------------------------------------- flags, and accelerate's file


def _default_config() -> bool:
    """Whether `accelerate config` has written its file."""
    from accelerate.commands.config.config_args import default_config_file

    return os.path.isfile(default_config_file)


def _of_flags(flags: Sequence[str]) -> Launching:
    """What flags of `accelerate launch` ask for, and where they say nothing its file.

    Raises UsageError for flags that it refuses, and for ways to train that are not ours.
    """
    from accelerate.utils import prepare_multi_gpu_env

    given = _parsed(flags)
    for key, words in REFUSED.items():
        if getattr(given, key, False):
            raise UsageError(
                f"{words} is not supported.",
                "To divide weights and optimiser over GPUs: --use_fsdp --fsdp_version 2.",
            )
    if given.mixed_precision not in PRECISIONS:
        raise UsageError(
            f"The precision {given.mixed_precision} is not supported.",
            "Take --mixed_precision bf16, fp16 or no.",
        )
    if (given.num_machines or 1) > 1:
        raise UsageError(
            f"{given.num_machines} machines are asked for, and unidiff starts processes on one.",
            f"Start it on each machine: {COMMAND}",
        )
    chosen = getattr(given, "nondefault", set())
    # A file for GPUs says nothing of a machine without one.
    counts = "num_processes" in chosen or machine.gpu_count() or given.use_cpu
    try:
        environment = prepare_multi_gpu_env(given)
    except ValueError as problem:
        raise UsageError(f"accelerate refuses its settings: {first_line(problem)}") from problem
    wanted = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS") if given.gpu_ids else ()
    if "num_cpu_threads_per_process" not in chosen:
        wanted = tuple(name for name in wanted if name != "OMP_NUM_THREADS")
    if given.dynamo_backend.lower() != "no":
        wanted += tuple(name for name in environment if name.startswith("ACCELERATE_DYNAMO_"))
    if given.use_fsdp:
        fsdp = (name for name in environment if name.startswith("FSDP_"))
        wanted += ("ACCELERATE_USE_FSDP", *fsdp)
    variables = {name: environment[name] for name in wanted if name in environment}
    # Its file always names a precision, if only "no".
    named = "mixed_precision" in chosen or _config_of(given)
    return Launching(
        given.num_processes if counts else 0,
        PRECISIONS[given.mixed_precision] if named else "",
        variables,
        "the flags of accelerate launch" if flags else "the file of accelerate config",
    )


def _config_of(given: Namespace) -> bool:
    return bool(given.config_file) or _default_config()


def _parsed(flags: Sequence[str]) -> Namespace:
    """The settings of `accelerate launch` with these flags, read as it reads them."""
    from accelerate.commands import launch

    parser = launch.launch_command_parser()

    def refuse(message: str) -> NoReturn:
        raise UsageError(f"accelerate launch: {message}.", "See: accelerate launch --help")

    parser.error = refuse  # type: ignore[method-assign]
    given = parser.parse_args([*flags, "--", SCRIPT])
    if given.training_script != SCRIPT:
        raise UsageError(
            f"'{given.training_script}' is no flag of accelerate launch.",
            "After -- only its flags follow: unidiff train -- --num_processes 4",
        )
    # What it says of its defaults is not our user's to read.
    theirs = logging.getLogger(launch.__name__)
    level = theirs.level
    theirs.setLevel(logging.ERROR)
    try:
        return launch._validate_launch_command(given)[0]
    except (ValueError, OSError) as problem:
        raise UsageError(f"accelerate refuses its settings: {first_line(problem)}") from problem
    finally:
        theirs.setLevel(level)


# ---------------------------------------------------------------- a launcher's environment


def _of_environment(recipe: Recipe, place: Place) -> Launching:
    """What a launcher decided. Raises UsageError where the recipe asks for another number."""
    if place.started and recipe.train.processes not in (0, place.world):
        raise UsageError(
            f"The launcher started {place.world} processes, and train.processes is "
            f"{recipe.train.processes}.",
            "Leave train.processes out, or set it to the same number.",
        )
    asked = os.environ.get(PRECISION, "")
    if asked and asked not in PRECISIONS:
        raise UsageError(f"The precision {asked} is not supported.", "Take bf16, fp16 or no.")
    processes = place.world if place.started else 0
    return Launching(processes, PRECISIONS.get(asked, ""), {}, "the launcher", place.started)
