"""`unidiff prepare` and `unidiff sample-catalog`: a catalogue to shards, and a catalogue to try."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unidiff_cli.addresses import LOCAL, file_path, scheme_of
from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.cli.options import (
    Assignments,
    ClusterAddress,
    EngineName,
    Force,
    RecipeName,
    Remembered,
    announced_project,
    engine_of,
    receipt_of,
    resolved_recipe,
    share,
)
from unidiff_cli.data.parts import Part
from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.system import naming

if TYPE_CHECKING:
    from unidiff_cli.config.schema import Recipe
    from unidiff_cli.data.token_window import TokenWindow

EXAMPLE = 'Example: unidiff prepare ./catalog --set prepare.caption="{name} in {color}"'
SAMPLE_EXAMPLE = "Example: unidiff sample-catalog shop && unidiff prepare shop"


def prepare_command(
    context: typer.Context,
    catalogue: Annotated[
        str,
        typer.Argument(
            help="A folder of images, a table (csv, tsv, jsonl, parquet) or tars: a path, or an "
            "address such as s3://bucket/shop.",
        ),
    ],
    recipe: RecipeName = None,
    assignments: Assignments = None,
    max_bad: Annotated[
        str | None, typer.Option("--max-bad", help="Fail above this share of bad rows, such as 5%.")
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Also read what links name outside CATALOGUE.")
    ] = False,
    dedupe: Annotated[
        str | None,
        typer.Option("--dedupe", help="Equal and near-equal images: group, keep or drop."),
    ] = None,
    allow_urls: Annotated[
        bool,
        typer.Option("--allow-urls", help="Download images that a table names by web addresses."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Accept guesses about how the catalogue is meant.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse what is only a warning elsewhere.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Decode everything and report; write no shards.")
    ] = False,
    engine: EngineName = "local",
    address: ClusterAddress = "",
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="K/N", help="Decode one of N parts, for an array of jobs."),
    ] = None,
    force: Force = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the settings and how the catalogue is read; open no image, write nothing.",
        ),
    ] = False,
) -> None:
    """Turn a catalogue into checked, split, deduplicated WebDataset shards."""
    from unidiff_cli.data.prepare import prepare

    path = _path(catalogue)
    if path:
        _refuse_all_files(path)
    if check and dry_run:
        raise UsageError("--dry-run opens no image, and --check decodes all.", "Give one of them.")
    project = announced_project(context, path)
    given = list(assignments or [])
    if max_bad:
        given.append(f"prepare.max_bad={share(max_bad)}")
    if follow_links:
        given.append("prepare.follow_links=true")
    if dedupe:
        given.append(f"prepare.dedupe={dedupe}")
    if allow_urls:
        given.append("prepare.allow_urls=true")
    # Shards do not depend on the base.
    settings = resolved_recipe(project, recipe, given, base=False)
    if dry_run:
        _show_plan(settings, catalogue, yes, strict)
        return
    if part:
        _decode_part(context, project, settings, catalogue, Part.parse(part), yes, strict)
        return
    remember = Remembered(project, recipe)
    ways: dict[str, Any] = {"force": force, "yes": yes, "strict": strict, "check": check}
    ways |= {"engine": engine_of(engine, address), "address": address}
    with shown(context.obj.quiet) as bars:
        before = receipt_of(project, "shards")
        window = _token_window(settings)
        receipt = prepare(project, settings, catalogue, window=window, on_progress=bars, **ways)
    if not check:
        remember()
        if before and before.finished == receipt.finished:
            console.note("Nothing to do: shards is up to date. --force does it again.")
    _show(project, receipt, check)


def _decode_part(
    context: typer.Context,
    project: Project,
    recipe: Recipe,
    catalogue: str,
    part: Part,
    yes: bool,
    strict: bool,
) -> None:
    from unidiff_cli.data.prepare import prepare_part

    with shown(context.obj.quiet) as bars:
        done = prepare_part(
            project, recipe, catalogue, part, yes=yes, strict=strict, on_progress=bars
        )
    console.say(
        f"part {part.number} of {part.of}: {len(done.samples):,} images are decoded, "
        f"{len(done.rejected):,} rows give none"
    )
    console.note("Once every part is done: the same command without --part")


def _refuse_all_files(catalogue: Path) -> None:
    """Raises UsageError for the folder of all folders, which "$UNSET/" is."""
    whole = os.path.realpath(os.path.expanduser(catalogue))
    if whole == os.path.dirname(whole):
        raise UsageError(
            f"{whole} holds all files of this machine.",
            "Name the folder of the catalogue. A variable of the shell that is not set is empty.",
        )


def _show_plan(settings: Recipe, catalogue: str, yes: bool, strict: bool) -> None:
    """What a dry run says. It stops where prepare would, with the same words and exit code."""
    from unidiff_cli.config.sources import dump
    from unidiff_cli.data.doubts import settle
    from unidiff_cli.data.prepare import plan

    planned = plan(settings, catalogue)
    console.say(*planned.description)
    if changed := _changed(settings.prepare.model_dump(mode="json")):
        console.say("", "settings that are not the defaults:", *dump(changed).splitlines())
    settle(planned.doubts, yes, strict)
    if planned.problem:
        raise planned.problem
    console.note("Nothing was written. To decode every image and see what comes out: --check")


def _changed(settings: dict[str, Any], defaults: dict[str, Any] | None = None) -> dict[str, Any]:
    """The keys of `prepare` that do not have their defaults, and their values."""
    from unidiff_cli.config.prepare import Prepare

    defaults = Prepare().model_dump(mode="json") if defaults is None else defaults
    changed = {}
    for key, value in settings.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            value = _changed(value, default)
            if value:
                changed[key] = value
        elif value != default:
            changed[key] = value
    return changed


def _token_window(recipe: Recipe) -> TokenWindow | None:
    """How the recipe's base reads captions; None, and a note, where that is not known here."""
    from unidiff_cli.models.token_windows import token_window

    try:
        return token_window(recipe.base)
    except (UsageError, EnvironmentProblem) as problem:
        console.note(f"The captions' tokens are not counted. {problem.fact}")
        return None


def _path(catalogue: str) -> Path | None:
    """The path of a catalogue on this machine; None for an address of another place."""
    if not (scheme := scheme_of(catalogue)):
        return Path(catalogue)
    try:
        return Path(file_path(catalogue)) if scheme in LOCAL else None
    # It is refused when it is read.
    except ValueError:
        return None


def _show(project: Project, receipt: Receipt, check: bool) -> None:
    """The table of what went in and came out, the warnings, and where to look."""
    from unidiff_cli.data import prepare, refusals, summary

    console.show_pairs(summary.table(receipt))
    console.say("")
    for text in receipt.figures["warnings"]:
        console.show_warning(text)
    folder = project.path(*refusals.CHECKED) if check else project.path("shards")
    listed, samples = receipt.counts["bad"] + receipt.counts["left_out"], receipt.counts["samples"]
    if listed:
        rows = "1 row" if listed == 1 else f"{listed:,} rows"
        console.say_where(f"{rows} left out, each with its reason", folder / refusals.QUARANTINE)
    console.say_where("The report, to be opened in a browser", folder / prepare.PAGE)
    if check:
        console.note("No shards were written. Next: the same command without --check")
    else:
        console.say(f"{folder}: {samples:,} samples in {receipt.counts['groups']:,} groups")
        console.note("Next: unidiff train")


def sample_catalog_command(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    images: Annotated[
        int, typer.Option("--images", min=300, max=1900, help="At least this many images.")
    ] = 700,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the catalogue.")] = 0,
) -> None:
    """Render a small catalogue of garments with captions and a table of their true attributes."""
    from unidiff_cli.sample_catalog import write_catalog

    with shown(context.obj.quiet) as bars, naming(directory):
        count = write_catalog(
            directory,
            images=images,
            seed=seed,
            progress=lambda done, total: bars("rendering", done, total),
        )
    console.say(f"{directory}: {count} images and catalog.csv")
    console.note(f"Next: unidiff prepare {directory}")
