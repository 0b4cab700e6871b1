"""`unidiff shards`: list, show, verify and repair the samples that prepare wrote."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.cli.options import Json, open_project
from unidiff_cli.errors import Damaged, UsageError, nearest
from unidiff_cli.system import naming

if TYPE_CHECKING:
    from unidiff_cli.data.shard_check import Damage
    from unidiff_cli.data.shards import Shards

app = typer.Typer(
    help="List, show, verify and repair the shards of a project.", no_args_is_help=True
)
# Lines of damage that are shown.
MOST = 50


@app.command("ls")
def ls_command(context: typer.Context, json_out: Json = False) -> None:
    """List the shards: split, samples and size of each."""
    shards = _opened(context)
    counts = Counter((row.split, row.shard) for row in shards.rows())
    rows: list[dict[str, Any]] = [
        {
            "shard": name,
            "split": split,
            "samples": count,
            "bytes": shards.receipt.files[name].size,
            "sha256": shards.receipt.files[name].sha256,
        }
        for (split, name), count in sorted(counts.items(), key=lambda item: item[0][1])
    ]
    if json_out:
        console.show_json(rows)
        return
    table = [
        [r["shard"], r["split"], f"{r['samples']:,}", f"{r['bytes'] / 1e6:,.1f}"] for r in rows
    ]
    console.show_table(["shard", "split", "samples", "MB"], table)


@app.command("show")
def show_command(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="A sample's id or key, as retrieve shows it.")],
    save: Annotated[
        Path | None, typer.Option("--save", help="Also write its image to this file.")
    ] = None,
    json_out: Json = False,
) -> None:
    """Show a sample: its captions, attributes, and where it came from and lies."""
    shards = _opened(context)
    found = next((row for row in shards.rows() if id in (row.id, row.key)), None)
    if found is None:
        known = [row.id for row in shards.rows()]
        raise UsageError(
            f"No sample has the id '{id}'.{nearest(id, known)}", "List some: unidiff retrieve TEXT"
        )
    image = shards.image_bytes(found)
    if save:
        if save.exists():
            raise UsageError(f"{save} is there already.", "Name another file.")
        with naming(save):
            save.write_bytes(image)
    facts: dict[str, Any] = {
        "id": found.id,
        "key": found.key,
        "split": found.split,
        "product": found.group,
        "captions": list(found.captions),
        "attributes": found.attributes,
        "row": found.row,
        "image": shards.image_address(found),
        "size": f"{found.width} x {found.height}, {found.image_size:,} bytes",
        "shard": f"{found.shard} at byte {found.image_offset:,}",
    }
    if json_out:
        console.show_json(facts)
        return
    captions = [("caption", text) for text in found.captions]
    attributes = [(f"  {name}", str(value)) for name, value in found.attributes.items()]
    others = [(n, str(v)) for n, v in facts.items() if v and n not in ("captions", "attributes")]
    attributes = [("attributes", ""), *attributes] if attributes else []
    console.show_pairs([*others[:4], *captions, *attributes, *others[4:]])


@app.command("verify")
def verify_command(context: typer.Context, json_out: Json = False) -> None:
    """Read every byte of the shards, and name each damaged sample; exit code 1 where one is."""
    from unidiff_cli.data.shard_check import verify

    shards = _opened(context)
    with shown(context.obj.quiet) as bars:
        damages = verify(shards, on_progress=bars)
    if json_out:
        names = ("shard", "sample", "damage")
        console.show_json(
            [dict(zip(names, (d.shard, d.sample, d.words), strict=True)) for d in damages]
        )
    else:
        _show(damages)
    if damages:
        raise Damaged(
            f"{_counted(damages)} of {shards.folder}.", "Make them again: unidiff shards repair"
        )
    count = len(shards.rows())
    console.note(f"{count:,} samples are as they were written.")


@app.command("repair")
def repair_command(context: typer.Context) -> None:
    """Make damaged samples again from the catalogue; shards without damage stay as they are."""
    from unidiff_cli.data.prepare import repair

    project = open_project(context)
    with shown(context.obj.quiet) as bars:
        damages = repair(project, on_progress=bars)
    _show(damages)
    if damages:
        console.say(f"Made again: {_counted(damages)}.")
    else:
        console.say("Nothing is damaged.")


def _opened(context: typer.Context) -> Shards:
    from unidiff_cli.data.shards import Shards

    return Shards.of(open_project(context))


def _show(damages: list[Damage]) -> None:
    if damages:
        rows = [[d.shard, d.sample or "–", d.words] for d in damages[:MOST]]
        console.show_table(["shard", "sample", "damage"], rows)
    if len(damages) > MOST:
        console.say(f"and {len(damages) - MOST:,} more: --json shows all")


def _counted(damages: list[Damage]) -> str:
    samples = len({d.sample for d in damages} - {""})
    files = len({d.shard for d in damages})
    return f"{samples:,} damaged sample{'s' * (samples != 1)} in {files:,} file{'s' * (files != 1)}"
