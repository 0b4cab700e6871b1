"""The `unidiff` command: its parts put together, and every error as a sentence and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, Any

import typer

from unidiff_cli import __version__, signals
from unidiff_cli.cli import (
    arguments,
    base,
    console,
    doctor,
    evaluate,
    experiments,
    generate,
    prepare,
    recipes,
    retrieve,
    serve,
    shards,
    status,
    storage,
    train,
    verify,
)
from unidiff_cli.cli.options import Invocation
from unidiff_cli.system import translated

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
app.command("serve", epilog=serve.EXAMPLE)(serve.serve_command)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate_command)
app.command("compare", epilog=evaluate.COMPARE_EXAMPLE)(evaluate.compare_command)
app.command("ablate", epilog=experiments.EXAMPLE)(experiments.ablate_command)
app.command("status")(status.status_command)
app.command("storage", epilog=storage.EXAMPLE)(storage.storage_command)
app.command("verify")(verify.verify_command)
app.command("doctor")(doctor.doctor_command)
app.command("sample-catalog", epilog=prepare.SAMPLE_EXAMPLE)(prepare.sample_catalog_command)
app.add_typer(recipes.app, name="recipes")
app.add_typer(base.app, name="base")
app.add_typer(shards.app, name="shards")


def run() -> int:
    """Runs the command and turns every error into a sentence and an exit code."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # PYTHONWARNINGS reaches only the processes started from here.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    invocation = Invocation()
    try:
        arguments.refuse(sys.argv[1:])
        code = app(standalone_mode=False, prog_name="unidiff", obj=invocation)
    except ParseError as problem:
        console.show_parse_error(problem)
        code = problem.exit_code
    except typer.Abort:
        code = 1
    except Exception as problem:
        code = _failed(problem, invocation.debug)
    return code if isinstance(code, int) else 0


def _failed(problem: Exception, debug: bool) -> int:
    """Shows an error as a sentence, or where it happened: with --debug, and a mistake of ours."""
    # A library may make an error of its own of a signal.
    signals.check()
    ours = translated(problem)
    if debug or ours is None:
        console.show_traceback(problem)
    if ours is None:
        return 1
    console.show_error(ours)
    return ours.exit_code
