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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, get_args

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.config.train import Train
from unidiff_cli.errors import UsageError
from unidiff_cli.system import first_line
from unidiff_cli.training.place import Place
from unidiff_cli.training.precision import precision_of

logger = logging.getLogger("unidiff")

# The command that is launched on each of several machines.
COMMAND = "accelerate launch FLAGS -m unidiff_cli.cli -C PROJECT train"
# The variable in which accelerate launch leaves the precision.
PRECISION = "ACCELERATE_MIXED_PRECISION"
# What stands where accelerate wants a script.
SCRIPT = "unidiff"
# The recipe's names of accelerate's precisions: those that a recipe has.
PRECISIONS = {
    theirs: ours
    for theirs, ours in {"no": "fp32", "bf16": "bf16", "fp16": "fp16"}.items()
    if ours in get_args(Train.model_fields["precision"].annotation)
}
# Ways to train that ask for another optimiser, other weights or other machines than ours: by
# accelerate's flags, and by the variables that it makes of them.
REFUSED = {
    "use_deepspeed": "DeepSpeed",
    "use_megatron_lm": "Megatron-LM",
    "use_parallelism_config": "A parallelism config",
    "tpu": "A TPU",
}
VARIABLES = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "A parallelism config",
}
# The variable of torch.compile.
DYNAMO = "ACCELERATE_DYNAMO_BACKEND"


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
            logger.info(f"{count}, precision {precision_of(recipe.train)}, by {self.source}.")


# ---------------------------------------------------------------- flags, and accelerate's file


def _default_config() -> bool:
    """Whether `accelerate config` has written its file."""
    from accelerate.commands.config.config_args import default_config_file

    return os.path.isfile(default_config_file)


def _of_flags(flags: Sequence[str]) -> Launching:
    """What flags of `accelerate launch` ask for, and where they say nothing its file.

    Raises UsageError for flags that it refuses, and for ways to train that are not ours.
    """
    given = _parsed(flags)
    _refuse(words for key, words in REFUSED.items() if getattr(given, key, False))
    _refuse_compilation(given.dynamo_backend)
    precision = _precision(given.mixed_precision)
    if (given.num_machines or 1) > 1:
        raise UsageError(
            f"{given.num_machines} machines are asked for, and unidiff starts processes on one.",
            f"Start it on each machine: {COMMAND}",
        )
    chosen: set[str] = getattr(given, "nondefault", set())
    # A file for GPUs says nothing of a machine without one.
    counts = "num_processes" in chosen or machine.gpu_count() or given.use_cpu
    # Its file always names a precision, if only "no".
    named = "mixed_precision" in chosen or _config_of(given)
    return Launching(
        given.num_processes if counts else 0,
        precision if named else "",
        _variables(given, chosen),
        "the flags of accelerate launch" if flags else "the file of accelerate config",
    )


def _variables(given: Namespace, chosen: set[str]) -> dict[str, str]:
    """What accelerate would put into the environment of its processes, of what counts here.

    Raises UsageError for settings that it refuses.
    """
    from accelerate.utils import prepare_multi_gpu_env

    try:
        environment = prepare_multi_gpu_env(given)
    except ValueError as problem:
        raise UsageError(f"accelerate refuses its settings: {first_line(problem)}") from problem
    wanted = list[str]()
    if given.gpu_ids:
        wanted.append("CUDA_VISIBLE_DEVICES")
    if "num_cpu_threads_per_process" in chosen:
        wanted.append("OMP_NUM_THREADS")
    if given.use_fsdp:
        wanted.append("ACCELERATE_USE_FSDP")
        wanted += [name for name in environment if name.startswith("FSDP_")]
    return {name: environment[name] for name in wanted if name in environment}


def _refuse(ways: Iterable[str]) -> None:
    """Raises UsageError for the first of some ways to train that are not ours."""
    for words in ways:
        raise UsageError(
            f"{words} is not supported.",
            "To divide weights and optimiser over GPUs: --use_fsdp --fsdp_version 2.",
        )


def _refuse_compilation(backend: str) -> None:
    """Raises UsageError where a backend of torch.compile is asked for."""
    if backend.lower() not in ("", "no"):
        raise UsageError(
            f"torch.compile is asked for ({backend}), and unidiff compiles in its own way.",
            "Take --dynamo_backend no, and --set train.compile=true.",
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
    _refuse(words for name, words in VARIABLES.items() if os.environ.get(name) == "true")
    _refuse_compilation(os.environ.get(DYNAMO, ""))
    asked = os.environ.get(PRECISION, "")
    precision = _precision(asked) if asked else ""
    processes = place.world if place.started else 0
    return Launching(processes, precision, {}, "the launcher", place.started)


def _precision(asked: str) -> str:
    """The recipe's name of a precision of accelerate's. Raises UsageError."""
    if asked not in PRECISIONS:
        raise UsageError(
            f"The precision {asked} is not supported.",
            f"Take one of these as --mixed_precision: {', '.join(PRECISIONS)}.",
        )
    return PRECISIONS[asked]
