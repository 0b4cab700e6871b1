"""`unidiff prepare` and `unidiff sample-catalog`: a catalogue to shards, and a catalogue to try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.options import (
    Assignments,
    DryRun,
    Force,
    RecipeName,
    RememberedRecipe,
    announced_project,
    receipt_of,
    resolved_recipe,
    say_done,
    share,
)
from unidiff_cli.data.addresses import LOCAL, file_path, scheme_of
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.system import naming

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
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Turn a catalogue into checked, split, deduplicated WebDataset shards."""
    from unidiff_cli.data.prepare import plan, prepare

    project = announced_project(context, _path(catalogue))
    given = list(assignments or [])
    if max_bad:
        given.append(f"prepare.max_bad={share(max_bad)}")
    if follow_links:
        given.append("prepare.follow_links=true")
    if allow_urls:
        given.append("prepare.allow_urls=true")
    # Shards do not depend on the base.
    settings = resolved_recipe(project, recipe, given, base=False)
    if dry_run:
        description, doubts = plan(settings, catalogue)
        console.say(*settings.yaml().splitlines(), "", *description)
        for doubt in doubts:
            console.warn(f"{doubt.fact} {doubt.action}")
        return
    remember = RememberedRecipe(project, recipe)
    ways = {"force": force, "yes": yes, "strict": strict, "check": check}
    with console.bars(context.obj.quiet) as bars:
        before = receipt_of(project, "shards")
        receipt = prepare(project, settings, catalogue, on_progress=bars, **ways)
    _show(project, receipt, check)
    if not check:
        remember()
        say_done(project, "shards", before, receipt, "unidiff train")


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
    """The table of what went in and came out, and where the bad rows and the page are."""
    from unidiff_cli.data import prepare, summary

    console.show_pairs(summary.table(receipt))
    folder = project.path(*prepare.CHECKED) if check else project.path("shards")
    if receipt.counts["bad"]:
        console.say(f"The bad rows and why: {folder / prepare.QUARANTINE}")
    console.say(f"The report: {folder / prepare.PAGE}")


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

    with console.bars(context.obj.quiet) as bars, naming(directory):
        count = write_catalog(
            directory,
            images=images,
            seed=seed,
            progress=lambda done, total: bars("rendering", done, total),
        )
    console.say(f"{directory}: {count} images and catalog.csv")
    console.note(f"Next: unidiff prepare {directory}")
