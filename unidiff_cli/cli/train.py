"""`unidiff train` and `unidiff export`: from shards to the adapted model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.cli.options import (
    Assignments,
    BaseName,
    DryRun,
    Force,
    RecipeName,
    Remembered,
    announced_project,
    format_names,
    open_project,
    receipts_below,
    resolved_recipe,
    resumed_recipe,
    run_names,
    say_done,
)
from unidiff_cli.errors import UsageError

if TYPE_CHECKING:
    from unidiff_cli.config.schema import Recipe
    from unidiff_cli.exporters.export import Alpha
    from unidiff_cli.project.project import Project

EXAMPLE = "Example: unidiff train --recipe fashion --set train.steps=500"
EXPORT_EXAMPLE = "Example: unidiff export --alpha-clip 0.7"


def train_command(
    context: typer.Context,
    recipe: RecipeName = None,
    base: BaseName = None,
    assignments: Assignments = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue the newest run, or --run, from its last checkpoint."
        ),
    ] = False,
    run: Annotated[
        str | None,
        typer.Option("--run", help="With --resume: the run to continue.", autocompletion=run_names),
    ] = None,
    force: Force = False,
    dry_run: DryRun = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Make two steps on random images; say what they took; write nothing."
        ),
    ] = False,
    flags: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- FLAGS",
            help="Flags of `accelerate launch`: -- --num_processes 4 --mixed_precision bf16",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fine-tune both models together, export the best weights, index the catalogue."""
    from unidiff_cli.training.place import Place

    if (place := Place.here()).rank:
        from unidiff_cli.training.worker import take_part

        take_part(open_project(context), place.world)
        return
    project = open_project(context) if resume else announced_project(context)
    if resume and (recipe or base or assignments or force or dry_run or probe):
        raise UsageError(
            "--resume continues a run with its own recipe.",
            "Leave --recipe, --base, --set, --force, --dry-run and --probe out.",
        )
    if run and not resume:
        raise UsageError("--run names the run to continue.", "Add --resume.")
    settings = resumed_recipe(project, run) if resume else None
    given = [*([f"base={base}"] if base else []), *(assignments or ())]
    settings = settings or resolved_recipe(project, recipe, given)
    from unidiff_cli.training.launching import Launching

    launching = Launching.found(settings, flags or ())
    if dry_run or probe:
        settings = launching.apply(settings)
    from unidiff_cli.training.sizing import sized

    # `train` sizes what it is given, and says so.
    fitted, notes = sized(settings, int(project.receipt("shards").counts["train"]))
    if dry_run or probe:
        _show_plan(project, fitted, notes, launching.world(fitted), probe)
        return
    remember = Remembered(project, recipe, base)
    from unidiff_cli.exporters.export import export
    from unidiff_cli.retrieval.build import index
    from unidiff_cli.training.train import train

    with shown(context.obj.quiet) as bars:
        known, show = set(project.exports()), bars.step(fitted.train.total_steps, fitted.terms)

        def on_step(line: dict[str, Any]) -> None:
            remember()
            show(line)

        name, receipt = train(
            project,
            settings,
            resume=run or resume,
            force=force,
            flags=flags or (),
            on_step=on_step,
            on_progress=bars,
        )
        remember()
        export_name, _ = export(
            project, name, alpha_clip=settings.train.alpha, force=force, on_progress=bars
        )
        index(project, kind=settings.index.kind, on_progress=bars)
    if export_name in known and not force:
        console.note(f"Nothing to do: run {name} did this very work. --force does it again.")
    steps = receipt.counts["steps"]
    best_step = receipt.figures["best"].get("step", steps)
    console.say(f"{project.path('runs', name)}: {steps} steps, best at step {best_step}")
    console.say(f"{project.path('exports', export_name)}: the tuned pipeline and clip/")
    console.note('Next: unidiff generate "red dress"; unidiff retrieve QUERY.jpg; unidiff evaluate')


def _show_plan(
    project: Project, recipe: Recipe, notes: list[str], world: int, probed: bool
) -> None:
    """The recipe, what a run of it would do, and what each of `world` processes takes."""
    from unidiff_cli.training.example_batches import batches_of
    from unidiff_cli.training.footprint import footprint
    from unidiff_cli.training.plan import cost_plan, probe_report, train_plan

    plan = train_plan(project, recipe)
    console.say(*recipe.yaml().splitlines(), "", *plan, *(f"  {note}" for note in notes))
    console.note("Estimating, by steps on tensors without memory: minutes for a large base.")
    batches = batches_of(project, recipe, world)
    takes = footprint(recipe, batches, world)
    console.say(*cost_plan(project, recipe, takes))
    if probed:
        from unidiff_cli.training.probe import probe

        console.say(*probe_report(recipe, takes, probe(recipe, batches)))


def export_command(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(help="A run; the newest finished one by default.", autocompletion=run_names),
    ] = None,
    alpha: Annotated[
        str | None,
        typer.Option(
            "--alpha",
            metavar="auto|0…1",
            help="Share of the tuned weights; below 1 the base's are blended in, as RUN-aALPHA; "
            "auto: CLIP's is chosen on the validation split. The run's train.alpha by default.",
        ),
    ] = None,
    alpha_clip: Annotated[
        str | None,
        typer.Option(
            "--alpha-clip",
            metavar="auto|0…1",
            help="The same for CLIP's towers; --alpha by default.",
        ),
    ] = None,
    alpha_denoiser: Annotated[
        float | None,
        typer.Option(
            "--alpha-denoiser",
            min=0.0,
            max=1.0,
            help="The same for the denoiser; --alpha by default.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="File format; only the default, diffusers, is read by the other commands.",
            autocompletion=format_names,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Write a run's best weights as a diffusers pipeline with a transformers CLIP in it."""
    from unidiff_cli.exporters.export import DEFAULT_FORMAT, export

    project = open_project(context)
    before = receipts_below(project, "exports")
    format = DEFAULT_FORMAT if format is None else format
    with shown(context.obj.quiet) as bars:
        name, receipt = export(
            project,
            run,
            alpha=_share("--alpha", alpha),
            alpha_clip=_share("--alpha-clip", alpha_clip),
            alpha_denoiser=alpha_denoiser,
            format=format,
            force=force,
            on_progress=bars,
        )
    then = "unidiff index" if name in project.exports() else ""
    say_done(project, f"exports/{name}", before.get(name), receipt, then)


def _share(option: str, text: str | None) -> Alpha | None:
    """The share that an option names. Raises UsageError for what is neither auto nor a share."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        if 0 <= (share := float(text)) <= 1:
            return share
    except ValueError:
        pass
    raise UsageError(
        f"{option} is '{text}'; it is a share of the tuned weights, or auto.",
        "Give auto, or a number from 0 (the base) to 1 (the run's own).",
    )
