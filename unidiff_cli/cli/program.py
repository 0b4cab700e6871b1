"""The `unidiff` command: its parts put together, and every error as a sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from typing import Annotated, Any

import typer

from unidiff_cli import __version__, signals
from unidiff_cli.cli import (
    console,
    doctor,
    evaluate,
    experiments,
    generate,
    prepare,
    recipes,
    retrieve,
    status,
    train,
)
from unidiff_cli.cli.options import Invocation
from unidiff_cli.errors import EnvironmentProblem, UnidiffError

# What the parser raises: click's class, or that of the click inside newer typers,
# which `import click` is not.
ParseError: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)

app = typer.Typer(
    name="unidiff",
    help="Adapt CLIP and Stable Diffusion together to your own catalogue: prepare, train, "
    "generate, retrieve, evaluate.",
    epilog="Start: unidiff sample-catalog shop && unidiff prepare shop && unidiff train",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# What the libraries below print is for their users; ours see our bars and sentences.
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
}


def _version(asked: bool) -> None:
    if asked:
        console.say(__version__)
        raise typer.Exit()


@app.callback()
def options(
    context: typer.Context,
    project: Annotated[
        str | None, typer.Option("-C", "--project", metavar="DIR", help="The project directory.")
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no notes.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    invocation = context.obj
    invocation.project, invocation.quiet, invocation.debug = project, quiet, debug
    console.start(quiet, debug)


app.command("prepare", epilog=prepare.EXAMPLE)(prepare.prepare_command)
app.command("train", epilog=train.EXAMPLE)(train.train_command)
app.command("export", epilog=train.EXPORT_EXAMPLE)(train.export_command)
app.command("index")(retrieve.index_command)
app.command("generate", epilog=generate.EXAMPLE)(generate.generate_command)
app.command("retrieve", epilog=retrieve.EXAMPLE)(retrieve.retrieve_command)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate_command)
app.command("compare", epilog=evaluate.COMPARE_EXAMPLE)(evaluate.compare_command)
app.command("ablate", epilog=experiments.EXAMPLE)(experiments.ablate_command)
app.command("status")(status.status_command)
app.command("doctor")(doctor.doctor_command)
app.command("sample-catalog", epilog=prepare.SAMPLE_EXAMPLE)(prepare.sample_catalog_command)
app.add_typer(recipes.app, name="recipes")


def run() -> int:
    """Runs the command and turns every error into a sentence and an exit code."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # PYTHONWARNINGS reaches only the processes started from here.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    invocation = Invocation()
    try:
        code = app(standalone_mode=False, prog_name="unidiff", obj=invocation)
    except UnidiffError as problem:
        code = _failed(problem, invocation)
    except ParseError as problem:
        problem.show()
        code = problem.exit_code
    except typer.Abort:
        code = 1
    except OSError as problem:
        code = _failed(_system_problem(problem), invocation)
    except Exception as problem:
        code = _failed(_machine_problem(problem), invocation)
    return code if isinstance(code, int) else 0


def _system_problem(problem: OSError) -> EnvironmentProblem:
    """An error of the disk or of a permission as ours, where no stage raised a clearer one."""
    place, reason = problem.filename or "A file", problem.strerror or str(problem)
    fact = f"{place}: {reason}."
    if problem.errno == errno.ENOSPC:
        return EnvironmentProblem(f"The disk is full. {fact}", "Free some space and run it again.")
    translated = EnvironmentProblem(fact, "See where it happened with: unidiff --debug …")
    translated.__cause__ = problem
    return translated


def _machine_problem(problem: Exception) -> EnvironmentProblem:
    """A library's own error for exhausted memory or disk as ours. Raises anything else again."""
    signals.check()
    kind, text = type(problem).__name__, str(problem)
    if kind == "OutOfMemoryError":
        translated = EnvironmentProblem(
            f"The device is out of memory: {text.splitlines()[0]}",
            "Lower train.batch_size (or generate.batch_size), or set train.gradient_checkpointing.",
        )
    elif kind == "SafetensorError" and ("No space" in text or "os error 28" in text):
        translated = EnvironmentProblem(
            f"The disk is full: {text}", "Free some space and run it again."
        )
    else:
        raise problem
    translated.__cause__ = problem
    return translated


def _failed(problem: UnidiffError, invocation: Invocation) -> int:
    # A library may have made an error of the signal.
    signals.check()
    if invocation.debug:
        traceback.print_exception(problem)
    console.show_error(problem)
    return problem.exit_code
