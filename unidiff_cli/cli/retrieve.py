"""`unidiff index` and `unidiff retrieve`: the nearest products of the catalogue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.cli.options import (
    Assignments,
    ClusterAddress,
    EngineName,
    ExportName,
    Force,
    Json,
    announced_project,
    engine_of,
    open_project,
    receipt_of,
    say_done,
    sheet_file,
)
from unidiff_cli.data.parts import Part
from unidiff_cli.errors import UsageError
from unidiff_cli.models.encoders import CLIP

if TYPE_CHECKING:
    from unidiff_cli.project.project import Project
    from unidiff_cli.project.receipt import Receipt
    from unidiff_cli.retrieval.hits import Hit

COLUMNS = ("rank", "score", "views", "caption", "path")
EXAMPLE = (
    'Examples: unidiff retrieve query.jpg · unidiff retrieve "black yoga pants" -k 5 · both at once'
)


def index_command(
    context: typer.Context,
    export: ExportName = None,
    assignments: Assignments = None,
    force: Force = False,
    engine: EngineName = "local",
    address: ClusterAddress = "",
    part: Annotated[
        str | None,
        typer.Option("--part", metavar="K/N", help="Embed one of N parts, for an array of jobs."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL",
            help="Send the index to Qdrant, as http://host:6333/collection; "
            "a key is read from QDRANT_API_KEY.",
        ),
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Put the index from before in place of this one.")
    ] = False,
) -> None:
    """Embed every image of the catalogue with an export's image encoders."""
    from unidiff_cli.config.load import read_recipe
    from unidiff_cli.retrieval.build import index

    if rollback or to is not None:
        name = "--rollback" if rollback else "--to"
        others = export or assignments or force or part or address or engine != "local"
        if others or (rollback and to is not None):
            raise UsageError(f"{name} and another option were given.", f"Give {name} alone.")
        _push(context, to) if to is not None else _roll_back(context)
        return
    project = announced_project(context)
    recipe = read_recipe(
        project_file=project.file, environ=os.environ, assignments=assignments or ()
    )
    if part:
        if engine != "local":
            raise UsageError("--part and --engine ray were given.", "Give one of them.")
        _embed_part(context, project, Part.parse(part), export)
        return
    before = receipt_of(project, "index")
    with shown(context.obj.quiet) as bars:
        receipt = index(
            project,
            export=export,
            kind=recipe.index.kind,
            force=force,
            engine=engine_of(engine, address),
            address=address,
            on_progress=bars,
        )
    say_done(project, "index", before, receipt)
    _say_kind(receipt)
    console.note('Next: unidiff retrieve "red dress"')


def _embed_part(context: typer.Context, project: Project, part: Part, export: str | None) -> None:
    from unidiff_cli.retrieval.build import index_part

    with shown(context.obj.quiet) as bars:
        made = index_part(project, part, export=export, on_progress=bars)
    console.say(f"part {part.number} of {part.of}: {made:,} images were embedded")
    console.note("Once every part is done: the same command without --part")


def _roll_back(context: typer.Context) -> None:
    from unidiff_cli.retrieval.rollback import roll_back

    project = open_project(context)
    receipt = roll_back(project)
    say_done(project, "index", None, receipt)
    _say_kind(receipt)
    console.note(f"It is of {receipt.settings['export']}. --rollback again undoes this.")


def _push(context: typer.Context, to: str) -> None:
    from unidiff_cli.retrieval.push import push

    key = os.environ.get("QDRANT_API_KEY", "").strip()
    with shown(context.obj.quiet) as bars:
        done = push(open_project(context), to, key=key, on_progress=bars)
    console.say(f"{to}: {done.images:,} images, {done.sent:,} sent, {done.removed:,} removed")


def _say_kind(receipt: Receipt) -> None:
    """Prints the kind of an index, with the recall that was measured where it is approximate."""
    console.say(f"kind: {receipt.settings['kind']}")
    for encoder, figures in receipt.figures.items():
        for name, values in figures.items():
            recall = ", ".join(f"{value:.3f} for {queries}" for queries, value in values.items())
            console.say(f"{encoder}, {name}: {recall}")


def retrieve_command(
    context: typer.Context,
    query: Annotated[
        list[str] | None, typer.Argument(help="An image, a text, or both.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="The text, also where a file has such a name.")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="The image, whatever its name looks like."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many hits.")] = 10,
    plus: Annotated[
        list[str] | None,
        typer.Option(
            "--plus",
            metavar="PART",
            help='Also like this text or image; "in red^0.5" weighs half. May be repeated.',
        ),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option("--minus", metavar="PART", help="Unlike this text or image."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="FILTER",
            help="Only these, by attributes: \"gender = 'men' and price < 50\".",
        ),
    ] = None,
    group_by: Annotated[
        str,
        typer.Option(
            "--group-by", metavar="COLUMN", help="One hit for each value of a column; none: off."
        ),
    ] = "product",
    words: Annotated[
        bool,
        typer.Option(
            "--words/--no-words", help="Images with a rare word of the text, as a name, come first."
        ),
    ] = True,
    encoder: Annotated[
        str,
        typer.Option("--encoder", help="Image encoder: clip, or diffdis if the export has it."),
    ] = CLIP,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="PNG",
            help="Also write the hits as a contact sheet.",
            callback=sheet_file,
        ),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            "--batch", metavar="FILE", help="Many queries, one a line: texts or paths of images."
        ),
    ] = None,
    export: ExportName = None,
    json_out: Json = False,
    csv_out: Annotated[bool, typer.Option("--csv", help="Print the hits as CSV.")] = False,
) -> None:
    """Find the nearest products, by image, by text, or by several of both."""
    from unidiff_cli.retrieval.query import read_batch, split_query
    from unidiff_cli.retrieval.retrieve import retrieve, retrieve_batch

    if json_out and csv_out:
        raise UsageError("--json and --csv were given.", "Give one of them.")
    project = open_project(context)
    if batch:
        if query or text or image or plus or minus or sheet:
            raise UsageError("A query and --batch were given.", "Give one of them.")
        queries = list(dict.fromkeys(read_batch(batch)))
        found = retrieve_batch(
            project,
            queries,
            k=k,
            where=where,
            group_by=group_by,
            words=words,
            export=export,
            encoder=encoder,
        )
        answers = dict(zip(queries, found, strict=True))
    else:
        whole, file = split_query(query or (), text, image)
        hits = retrieve(
            project,
            whole,
            file,
            k=k,
            plus=plus or (),
            minus=minus or (),
            where=where,
            group_by=group_by,
            words=words,
            export=export,
            encoder=encoder,
            sheet_to=sheet,
        )
        answers = {" ".join([*([str(file)] if file else []), *([whole] if whole else [])]): hits}
    if json_out:
        _print_json(answers, as_list=bool(batch))
    elif csv_out:
        _print_csv(answers)
    else:
        _print_tables(answers, titled=bool(batch))
        if sheet:
            console.say(str(sheet))


# Hits by the query, as it was typed.
Answers = dict[str, "list[Hit]"]


def _print_json(answers: Answers, as_list: bool) -> None:
    """The hits of the only query, or with `as_list` those of each."""
    plain = {asked: [hit.plain() for hit in hits] for asked, hits in answers.items()}
    many = [{"query": asked, "hits": hits} for asked, hits in plain.items()]
    console.show_json(many if as_list else next(iter(plain.values())))


def _print_csv(answers: Answers) -> None:
    rows = [
        [asked, *_cells(hit, hit.score), hit.id] for asked, hits in answers.items() for hit in hits
    ]
    console.show_csv(["query", *COLUMNS, "id"], rows)


def _print_tables(answers: Answers, titled: bool) -> None:
    for asked, hits in answers.items():
        rows = [_cells(hit, f"{hit.score:.3f}") for hit in hits]
        console.show_table(COLUMNS, rows, asked if titled else "", path="path")


def _cells(hit: Hit, score: float | str) -> list[Any]:
    """A hit as a row of COLUMNS."""
    return [hit.rank, score, len(hit.views) + 1, hit.caption, hit.path]
