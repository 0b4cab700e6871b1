"""`unidiff base`: what a base consists of, what it costs, and fetching it from the hub."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.cli.options import Json
from unidiff_cli.errors import EnvironmentProblem

if TYPE_CHECKING:
    from unidiff_cli.models.hub import Repository
    from unidiff_cli.models.sources import Source
    from unidiff_cli.progress import Progress

app = typer.Typer(help="Show what a base consists of, and fetch one.", no_args_is_help=True)
FETCH_EXAMPLE = "Example: unidiff base fetch stable-diffusion-v1-5/stable-diffusion-v1-5"
# Files that a message names.
NAMED = 4

Id = Annotated[str, typer.Argument(help="nano, auto, a folder, or a hub id of a pipeline.")]
ClipId = Annotated[
    str | None,
    typer.Option("--clip", help="The CLIP of a pipeline; by default the one it was trained with."),
]


@app.command("show")
def show_command(
    context: typer.Context,
    id: Id,
    clip: ClipId = None,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Also estimate the memory of each recipe; takes minutes."),
    ] = False,
    json_out: Json = False,
) -> None:
    """Show a base's parts, sizes and licence, and whether its two text towers are one.

    Of a hub id its configs are fetched, a few MB, and no weights.
    """
    from unidiff_cli.models import hub, inventory

    source = inventory.source_named(id, clip)
    missing = inventory.missing_files(source)
    found = _found(source, missing)
    for repository in found.values():
        hub.fetch_configs(repository)
    parts = inventory.parts(source, found)
    to_fetch = sum(sum(repository.missing().values()) for repository in found.values())
    licences, towers = _licences(source, found), inventory.text_towers(source)
    facts = {
        "diffusion": source.diffusion,
        "clip": source.clip,
        "licences": licences,
        "missing": missing,
        "to_fetch_bytes": to_fetch,
        "text_towers": towers,
    }
    taken: dict[str, dict[str, int]] = {}
    if memory:
        with shown(context.obj.quiet) as bars:
            taken = _memory_by_recipe(source, bars)
    if json_out:
        listed = [asdict(part) for part in parts]
        console.show_json({**facts, "parts": listed, "memory_bytes": taken})
        return
    console.show_table(
        ["part", "class", "parameters", "MB"],
        [[p.name, p.kind, f"{p.parameters:,}", f"{p.bytes / 1e6:,.1f}"] for p in parts],
    )
    if taken:
        parts_of = next(iter(taken.values()))
        rows = [
            [name, *(f"{size / 1e9:.2f}" for size in (sum(takes.values()), *takes.values()))]
            for name, takes in taken.items()
        ]
        console.show_table(["recipe", "GB of memory, estimated", *parts_of], rows)
    console.show_pairs(
        [
            ("base", f"{source.diffusion} with the CLIP {source.clip}"),
            *(("licence", text) for text in _licence_lines(licences)),
            ("text towers", towers),
            ("here", f"no, {to_fetch / 1e9:.2f} GB: unidiff base fetch {id}" if missing else "yes"),
        ]
    )


@app.command("fetch", epilog=FETCH_EXAMPLE)
def fetch_command(context: typer.Context, id: Id, clip: ClipId = None) -> None:
    """Fetch a base from the hub, its licence first. A stopped one goes on where it was."""
    from unidiff_cli.models import hub, inventory

    source = inventory.source_named(id, clip)
    if all(Path(place).is_dir() for place in (source.diffusion, source.clip)):
        console.say(f"{source.diffusion} is on this machine; nothing is to fetch.")
        return
    found = _found(source, inventory.missing_files(source), always=True)
    for text in _licence_lines(_licences(source, found)):
        console.say(f"licence {text}")
    for repository in found.values():
        missing = sum(repository.missing().values())
        console.say(
            f"{repository.id}: {missing / 1e9:.2f} GB of {repository.bytes / 1e9:.2f} GB to fetch"
        )
    with shown(context.obj.quiet) as bars:
        for repository in found.values():
            label = f"fetching {repository.id} (MB)"

            def on_bytes(done: int, total: int, label: str = label) -> None:
                bars(label, done // 10**6, max(total // 10**6, 1))

            hub.fetch(repository, on_bytes)
    _refuse_missing(inventory.missing_files(source), "The hub has not given all of it")
    console.say(f"{source.diffusion} and {source.clip} are here, whole.")
    console.note("Next: unidiff train")


def _memory_by_recipe(source: Source, bars: Progress) -> dict[str, dict[str, int]]:
    """Bytes by part that a step of each shipped recipe takes on a base, with its own numbers."""
    from unidiff_cli.config.shipped import shipped_recipes
    from unidiff_cli.models.sources import load_recipe
    from unidiff_cli.training.example_batches import batches_in_pairs
    from unidiff_cli.training.footprint import footprint

    places = {"diffusion": source.diffusion, "clip": source.clip, "text": source.text}
    base = f"base={json.dumps(places)}"
    names = list(shipped_recipes())
    taken: dict[str, dict[str, int]] = {}
    for done, name in enumerate(names, 1):
        recipe = load_recipe(name, assignments=[base, "train.steps=100"])
        options = recipe.train
        # Chunks of a tower follow one another in the same memory: more than two tell nothing.
        if chunk := options.chunk:
            size = min(options.batch_size, max(2 * chunk, options.denoise_batch))
            options = options.model_copy(update={"batch_size": size})
        recipe = recipe.model_copy(update={"train": options})
        taken[name] = footprint(recipe, batches_in_pairs(recipe)).memory
        bars("estimating memory, by recipe", done, len(names))
    return taken


def _found(
    source: Source, missing: dict[str, list[str]], always: bool = False
) -> dict[str, Repository]:
    """The repositories of a base by their ids, asked of the hub where something is missing here.

    With `always` they are also asked where nothing is, as far as there is a network. Raises
    EnvironmentProblem with the missing files where the hub cannot be asked.
    """
    from unidiff_cli.models import hub

    ids = [place for place in (source.diffusion, source.clip) if not Path(place).is_dir()]
    if not missing and (hub.offline() or not always):
        return {}
    if hub.offline():
        _refuse_missing(missing, "HF_HUB_OFFLINE is set")
    try:
        return {id: hub.look_up(id) for id in ids}
    except EnvironmentProblem as problem:
        if missing:
            _refuse_missing(missing, problem.fact.rstrip("."), problem.action)
        raise


def _refuse_missing(missing: dict[str, list[str]], why: str, action: str = "") -> None:
    """Raises EnvironmentProblem that names what is missing; nothing where all is here."""
    if not missing:
        return
    files = [f"{place}: {file}" for place, names in missing.items() for file in names]
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    raise EnvironmentProblem(
        f"{why}, and this machine lacks {', '.join(files[:NAMED])}{more}.",
        action
        or "Fetch it where there is a network, and copy the hub cache here (HF_HOME, by default "
        "~/.cache/huggingface).",
    )


def _licences(source: Source, found: dict[str, Repository]) -> dict[str, str]:
    from unidiff_cli.models import inventory

    places = dict.fromkeys((source.diffusion, source.clip))
    named = {place: inventory.licence(place, found) for place in places}
    # A clip/ folder inside a base goes by the base's card.
    if Path(source.clip).is_relative_to(source.diffusion) and not named[source.clip]:
        del named[source.clip]
    return named


def _licence_lines(licences: dict[str, str]) -> list[str]:
    """A line for each place; that none is named is said too."""
    return [
        f"of {place}: {name or 'none is named there; ask whoever made it'}"
        for place, name in licences.items()
    ]
