"""The command line: parse, call stages, print. No logic lives here; stages and torch load inside commands."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from . import __version__, console
from .captions import read_prompts
from .errors import EnvironmentProblem, Interrupted, UnidiffError, UsageError
from .project import Project

# What the parser raises: click's class, or that of the click inside newer typers, which `import click` is not.
ParseError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
MOST_SEED = 2**62  # torch takes 64 bits, and picture i has seed + i
SHEETS = (".png", ".jpg", ".jpeg", ".webp")

app = typer.Typer(
    name="unidiff",
    help="Adapt CLIP and Stable Diffusion together to your own catalogue: prepare, train, generate, retrieve, evaluate.",
    epilog="Start: unidiff sample-catalog shop && unidiff prepare shop && unidiff train",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(help="List, show, copy and check recipes.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")


# What the libraries below print is for their users; ours see our bars and sentences.
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
}


class Here:
    """What the options before the command said."""

    project: str | None = None
    quiet = debug = False


def _recipe_names(incomplete: str) -> list[str]:
    from .recipe import recipes

    return [name for name in recipes() if name.startswith(incomplete)]


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to draw with.")
    return value


def _sheet_file(path: Path | None) -> Path | None:
    if path and path.suffix.lower() not in SHEETS:
        raise typer.BadParameter(f"{path} does not end in one of {' '.join(SHEETS)}.")
    if path and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.absolute().parent}.")
    return path


def _export_names(incomplete: str) -> list[str]:
    return [name for name in _project().exports() if name.startswith(incomplete)]


def _run_names(incomplete: str) -> list[str]:
    return [name for name in _project().runs() if name.startswith(incomplete)]


RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A shipped recipe or a path; prepare and train keep it in unidiff.yaml.",
        autocompletion=_recipe_names,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one recipe key, this run only; repeatable."),
]
ExportName = Annotated[
    str | None,
    typer.Option(
        "--export", help="An export by name; the current one by default.", autocompletion=_export_names
    ),
]
Inception = Annotated[
    Path | None,
    typer.Option(
        "--inception", help="inception-2015-12-05.pt: FID, KID and precision and recall as elsewhere."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Do it again although nothing changed.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved recipe and the plan; write nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _version(asked: bool) -> None:
    if asked:
        console.say(__version__)
        raise typer.Exit()


@app.callback()
def options(
    project: Annotated[
        str | None, typer.Option("-C", "--project", metavar="DIR", help="The project directory.")
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no notes.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    Here.project, Here.quiet, Here.debug = project, quiet, debug
    console.start(quiet, debug)


def _project() -> Project:
    return Project.find(Here.project or os.environ.get("UNIDIFF_PROJECT"))


def _recipe(project: Project, name: str | None, assignments: list[str] | None, base: bool = True) -> Any:
    """The recipe in force, checked whole; a name given here replaces the one in unidiff.yaml."""
    from .bases import load_recipe
    from .recipe import load

    layers: Any = {"environ": os.environ, "assignments": assignments or ()}
    recipe = load_recipe(name, project, **layers) if base else load(name, project_file=project.file, **layers)
    console.note(f"recipe {recipe.name}")
    return recipe


def _resumed(project: Project, run: str | None) -> Any:
    """The recipe that the run to continue began with; None where there is none, which the stage then says."""
    from .recipe import load

    name = run or next(reversed(project.runs()), "")
    file = project.room("runs", name, "recipe.yaml")
    return load(file) if name and file.is_file() else None


@app.command(epilog='Example: unidiff prepare ./catalog --set prepare.caption="{name} in {color}"')
def prepare(
    catalogue: Annotated[
        Path, typer.Argument(help="A folder of pictures, a table (csv, tsv, jsonl, parquet) or tars.")
    ],
    recipe: RecipeName = None,
    assignments: Assignments = None,
    max_bad: Annotated[
        str | None, typer.Option("--max-bad", help="Fail above this share of bad rows, such as 5%.")
    ] = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Turn a catalogue into checked, split, deduplicated WebDataset shards."""
    from .stages.prepare import plan
    from .stages.prepare import prepare as stage

    project = _project()
    given = list(assignments or [])
    if max_bad:
        given.append(f"prepare.max_bad={_share(max_bad)}")
    asked = _recipe(project, recipe, given, base=False)  # shards do not depend on it
    understood = plan(asked, catalogue)
    if dry_run:
        console.say(asked.yaml())
        console.say(understood)
        return
    console.note(understood)
    _keep(project, recipe)
    with console.bars(Here.quiet) as bars:
        before = _receipt(project, "shards")
        receipt = stage(project, asked, catalogue, force=force, on_progress=bars)
    _done(project, "shards", before, receipt, "unidiff train")


@app.command(epilog="Example: unidiff train --recipe fashion --set train.steps=500")
def train(
    recipe: RecipeName = None,
    assignments: Assignments = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the newest run, or --run, from its last checkpoint.")
    ] = False,
    run: Annotated[
        str | None,
        typer.Option("--run", help="With --resume: the run to continue.", autocompletion=_run_names),
    ] = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Fine-tune both models together, export the best weights, index the catalogue."""
    project = _project()
    if resume and (recipe or assignments or force or dry_run):
        raise UsageError(
            "--resume continues a run with its own recipe.",
            "Leave --recipe, --set, --force and --dry-run out.",
        )
    if run and not resume:
        raise UsageError("--run names the run to continue.", "Add --resume.")
    asked = (_resumed(project, run) if resume else None) or _recipe(project, recipe, assignments)
    if dry_run:
        from .status import train_plan

        plan = train_plan(project, asked)
        console.say(asked.yaml())
        console.say(plan)
        return
    project.receipt("shards", command="unidiff prepare CATALOG")
    _keep(project, recipe)
    from .stages.export import export as export_stage
    from .stages.index import index as index_stage
    from .stages.train import train as stage

    with console.bars(Here.quiet) as bars:
        known = set(project.exports())
        name, receipt = stage(
            project,
            asked,
            resume=run or resume,
            force=force,
            on_step=bars.step(asked.train.steps),
            on_progress=bars,
        )
        export_name, _ = export_stage(project, name, force=force)
        index_stage(project, on_progress=bars)
    if name in known and not force:
        console.note(f"Nothing to do: run {name} did this very work. --force does it again.")
    best = receipt.figures["best"]
    console.say(
        f"{project.room('runs', name)}: {receipt.counts['steps']} steps, best at step {best.get('step', receipt.counts['steps'])}"
    )
    console.say(f"{project.room('exports', export_name)}: the adapted pipeline and clip/")
    console.note('Next: unidiff generate "red dress"; unidiff retrieve QUERY.jpg; unidiff evaluate')


@app.command(epilog="Example: unidiff export --alpha 0.5")
def export(
    run: Annotated[
        str | None,
        typer.Argument(help="A run; the newest finished one by default.", autocompletion=_run_names),
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(
            "--alpha",
            min=0.0,
            max=1.0,
            help="The tuned weights' share; below 1 the base's own are blended in, as RUN-aALPHA.",
        ),
    ] = 1.0,
    force: Force = False,
) -> None:
    """Write a run's best weights as a diffusers pipeline with a transformers CLIP in it."""
    from .stages.export import export as stage

    project = _project()
    before = {name: _receipt(project, "exports", name) for name in project.exports()}
    name, receipt = stage(project, run, alpha=alpha, force=force)
    _done(project, f"exports/{name}", before.get(name), receipt, "unidiff index")


@app.command()
def index(export: ExportName = None, force: Force = False) -> None:
    """Embed every picture of the catalogue with an export's CLIP."""
    from .stages.index import index as stage

    project = _project()
    before = _receipt(project, "index")
    with console.bars(Here.quiet) as bars:
        receipt = stage(project, export=export, force=force, on_progress=bars)
    _done(project, "index", before, receipt, 'unidiff retrieve "red dress"')


@app.command(epilog='Example: unidiff generate "red dress" -n 4 --seed 7')
def generate(
    prompt: Annotated[str | None, typer.Argument(help="What to draw.")] = None,
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, help="Pictures a prompt; picture i has seed + i.")
    ] = 4,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED)] = 0,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Denoising steps; the base's own by default.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", min=0.0, help="How strongly the prompt pulls.", callback=_finite),
    ] = None,
    negative: Annotated[str, typer.Option("--negative", help="What not to draw.")] = "",
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="A text file, one prompt a line.")
    ] = None,
    from_picture: Annotated[
        Path | None, typer.Option("--from", metavar="PNG", help="Draw this picture of ours again.")
    ] = None,
    best_of: Annotated[
        int | None,
        typer.Option(
            "--best-of",
            min=1,
            metavar="K",
            help="Draw K, keep the -n nearest to the prompt by the model's CLIP.",
        ),
    ] = None,
    export: ExportName = None,
    json_out: Json = False,
) -> None:
    """Draw pictures with the adapted model."""
    if sum(x is not None for x in (prompt, prompts, from_picture)) != 1:
        raise UsageError("generate takes one of: a prompt, --prompts FILE, --from PNG.")
    from .bases import drawing
    from .stages import generate as stage

    project = _project()
    with console.bars(Here.quiet) as bars:
        if from_picture is not None:
            folder, same = stage.again(project, from_picture)
            folders = [folder]
            if not same:
                console.note(
                    f"{from_picture} was drawn by another model than the one used now; the picture differs."
                )
        else:
            texts = read_prompts(prompts) if prompts is not None else [str(prompt)]
            asked = [
                f"generate.{k}={v}" for k, v in (("steps", steps), ("guidance", guidance)) if v is not None
            ]
            options = drawing(project.export(export), project, environ=os.environ, assignments=asked)
            folders = stage.generate(
                project, texts, options, count=count, seed=seed, negative=negative, best_of=best_of, export=export,
                on_progress=bars,
            )  # fmt: skip
    if json_out:
        console.show_json(
            [{"folder": str(f), "pictures": sorted(str(p) for p in f.glob("[0-9]*.png"))} for f in folders]
        )
    else:
        for folder in folders:
            console.say(str(folder / "sheet.png"))


@app.command(
    epilog='Examples: unidiff retrieve query.jpg · unidiff retrieve "black yoga pants" -k 5 · both at once'
)
def retrieve(
    query: Annotated[list[str], typer.Argument(help="A picture, a text, or both.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many hits.")] = 10,
    by: Annotated[
        Literal["clip", "diffdis"],
        typer.Option("--with", help="What looked at the pictures: CLIP, or DiffDis where the export has it."),
    ] = "clip",
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet", metavar="PNG", help="Also draw the hits on a contact sheet.", callback=_sheet_file
        ),
    ] = None,
    export: ExportName = None,
    json_out: Json = False,
) -> None:
    """Find the nearest products, by picture, by text, or by both."""
    from .stages.retrieve import retrieve as stage
    from .stages.retrieve import split_query

    text, image = split_query(query)
    hits = stage(_project(), text, image, k=k, export=export, by=by, sheet_to=sheet)
    if json_out:
        console.show_json([hit.plain() for hit in hits])
    else:
        rows = [[h.rank, f"{h.score:.3f}", h.caption, h.path] for h in hits]
        console.show_table(["rank", "score", "caption", "path"], rows)
        if sheet:
            console.say(str(sheet))


@app.command(epilog='Example: unidiff evaluate --alphas 0.25,0.5,0.75 --gate "r1_t2i>=0.6"')
def evaluate(
    recipe: RecipeName = None,
    assignments: Assignments = None,
    export: ExportName = None,
    alphas: Annotated[
        str, typer.Option("--alphas", help="Also blends of base and tuned weights: 0,0.25,0.5,0.75,1")
    ] = "",
    folds: Annotated[
        int,
        typer.Option("--folds", min=0, help="Train and test the recipe on so many folds by product instead."),
    ] = 0,
    gate: Annotated[
        str,
        typer.Option(
            "--gate",
            help="Exit 1 unless the tuned figures, or diffdis's, keep these bounds: r1_t2i>=0.6,diffdis.r1_t2i>=0.3",
        ),
    ] = "",
    inception: Inception = None,
    force: Force = False,
    dry_run: DryRun = False,
    json_out: Json = False,
) -> None:
    """Measure base against tuned on the held-out split and write the report."""
    project = _project()
    asked = _recipe(project, recipe, _looking(assignments, inception))
    bounds = _gates(asked, gate)
    blends, needs = _shares(alphas), [bound.figure for bound in bounds]
    if dry_run:
        console.say(asked.yaml())
        return
    room = "folds" if folds else "report"
    before = _receipt(project, room)
    with console.bars(Here.quiet) as bars:
        if folds:
            if folds == 1 or export or blends:
                raise UsageError(
                    "--folds needs 2 or more and trains its own models.", "Leave --export and --alphas out."
                )
            from .folds import evaluate_folds

            receipt = evaluate_folds(project, asked, folds, needs=needs, force=force, on_progress=bars)
        else:
            from .stages.evaluate import evaluate as stage

            receipt = stage(
                project, asked, export=export, alphas=blends, needs=needs, force=force, on_progress=bars
            )
    _measured(project, room, before, receipt, json_out)
    _bound(bounds, receipt.figures, project.room(room, "report.html"))


@app.command(epilog="Example: unidiff compare 001-fashion 002-joint")
def compare(
    names: Annotated[list[str], typer.Argument(help="Two exports or more.", autocompletion=_export_names)],
    recipe: RecipeName = None,
    assignments: Assignments = None,
    inception: Inception = None,
    force: Force = False,
    json_out: Json = False,
) -> None:
    """Measure several exports and their base side by side, in one report."""
    from .stages.evaluate import compare as stage

    project = _project()
    asked = _recipe(project, recipe, _looking(assignments, inception))
    before = _receipt(project, "comparison")
    with console.bars(Here.quiet) as bars:
        receipt = stage(project, asked, names, force=force, on_progress=bars)
    _measured(project, "comparison", before, receipt, json_out)


@app.command(
    epilog="Example: unidiff ablate --recipes clip-only,sd-only,joint,fashion --seeds 0,1,2 --folds 5"
)
def ablate(
    variants: Annotated[
        str,
        typer.Option(
            "--recipes",
            help="Recipes or recipe files, between commas; the first is what others are held against.",
        ),
    ],
    seeds: Annotated[str, typer.Option("--seeds", help="Training seeds, between commas.")] = "0,1,2",
    folds: Annotated[
        int,
        typer.Option(
            "--folds", min=0, help="Train and test on so many folds by product; 0: the project's own splits."
        ),
    ] = 0,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of every cell.")] = None,
    assignments: Assignments = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Cells at a time, each with its share of the cores.")
    ] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep every cell's export, under cache/ablation/.")
    ] = False,
    json_out: Json = False,
) -> None:
    """Train and measure recipes × seeds × folds alike, into one table with paired tests."""
    from .bases import load_recipe

    project = _project()
    given = [*(assignments or ()), *([f"train.steps={steps}"] if steps else [])]
    found: dict[str, Any] = {}
    for name in filter(None, (part.strip() for part in variants.split(","))):
        recipe = load_recipe(name, project, environ=os.environ, assignments=given)
        if recipe.name in found:
            raise UsageError(
                f"Two recipes are named '{recipe.name}'.", "Rename one: its name stands in the table."
            )
        found[recipe.name] = recipe
    if wrong := [part for part in seeds.split(",") if not part.strip().isdecimal()]:
        raise UsageError(f"--seeds cannot read '{wrong[0]}'.", "Give whole numbers between commas: 0,1,2")
    if folds == 1:
        raise UsageError("--folds needs 2 or more.", "Leave it out to use the project's own splits.")
    from .ablate import ablate as grid

    before = _receipt(project, "ablation")
    with console.bars(Here.quiet) as bars:
        receipt = grid(
            project,
            found,
            [int(part) for part in seeds.split(",")],
            folds,
            jobs=jobs,
            keep=keep,
            on_progress=bars,
        )
    if json_out:
        console.show_file(project.room("ablation", "table.json"))
        return
    console.show_file(project.room("ablation", "table.md"))
    _done(project, "ablation", before, receipt, f"open {project.room('ablation', 'report.html')}")


def _looking(assignments: list[str] | None, inception: Path | None) -> list[str]:
    """The assignments, --inception among them: it is another word for the recipe's key."""
    more = [f"evaluate.inception={json.dumps(str(inception.absolute()))}"] if inception else []
    return [*(assignments or ()), *more]


def _measured(project: Project, room: str, before: Any, receipt: Any, json_out: bool) -> None:
    """The figures as a table, and where the page is."""
    if json_out:
        console.show_file(project.room(room, "report.json"))
        return
    models = list(receipt.figures)
    keys = dict.fromkeys(key for figures in receipt.figures.values() for key in figures)
    rows = [[k, *(f"{f[k]:.3f}" if k in f else "" for f in receipt.figures.values())] for k in keys]
    console.show_table(["figure", *models], rows)
    _done(project, room, before, receipt, f"open {project.room(room, 'report.html')}")


def _shares(text: str) -> list[float]:
    """Numbers between commas."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(
            f"--alphas cannot read '{text}'.", "Give numbers between commas: 0,0.25,0.5,0.75,1"
        ) from None


def _gates(asked: Any, text: str) -> list[Any]:
    """The bounds of --gate, before anything is drawn."""
    if not text:
        return []
    from . import plugins
    from .report import gates

    parts: list[Any] = [
        plugins.load("metrics", n) for n in asked.evaluate.metrics or plugins.names("metrics")
    ]
    return gates(text, [key for part in parts for key in part.figures])


def _bound(bounds: list[Any], figures: dict[str, dict[str, float]], page: Path) -> None:
    if bounds:
        from .report import check

        check(bounds, figures, page)
        console.say(f"The gate is met: {', '.join(f'{g.figure}{g.sign}{g.bound:g}' for g in bounds)}.")


@app.command()
def status(json_out: Json = False) -> None:
    """Show each room of the project and the next command."""
    from .status import next_command, rooms

    project = _project()
    found = rooms(project)
    if json_out:
        console.show_json({"project": str(project.root), "rooms": found, "next": next_command(found)})
        return
    console.say(str(project.root))
    console.show_table(["room", "state", "holds"], [[r["room"], r["state"], r["holds"]] for r in found])
    console.say(f"Next: {next_command(found)}")


@app.command()
def doctor(json_out: Json = False) -> None:
    """Report versions, devices, memory, disk and what works offline."""
    from .doctor import examine, problems

    found = examine(_project())
    wrong = problems(found)
    if json_out:
        console.show_json({**found, "problems": wrong})
    else:
        rows = [[area, key, value] for area, values in found.items() for key, value in values.items()]
        console.show_table(["area", "what", "found"], rows)
        for line in wrong:
            console.say(line)
    if wrong:
        raise typer.Exit(3)


@app.command("sample-catalog", epilog="Example: unidiff sample-catalog shop && unidiff prepare shop")
def sample_catalog(
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    pictures: Annotated[int, typer.Option("--pictures", min=300, max=1900, help="At least this many.")] = 700,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Draw a small catalogue of garments with captions and a table of their true attributes."""
    from .sample_catalog import write_catalog

    with console.bars(Here.quiet) as bars:
        drawn = write_catalog(
            directory, pictures=pictures, seed=seed, progress=lambda d, t: bars("drawing", d, t)
        )
    console.say(f"{directory}: {drawn} pictures and catalog.csv")
    console.note(f"Next: unidiff prepare {directory}")


# ---------------------------------------------------------------- recipes


@recipes_app.command("list")
def recipes_list(json_out: Json = False) -> None:
    """The shipped recipes."""
    from .recipe import read_yaml, recipes

    found = [(name, read_yaml(path).data.get("description", "")) for name, path in recipes().items()]
    if json_out:
        console.show_json([{"name": name, "description": text} for name, text in found])
    else:
        console.show_table(["recipe", "what it trains"], [list(row) for row in found])


@recipes_app.command("show")
def recipes_show(
    name: Annotated[str, typer.Argument(autocompletion=_recipe_names)],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="With every default, and the base's own numbers.")
    ] = False,
    assignments: Assignments = None,
) -> None:
    """Print a recipe."""
    from .bases import load_recipe
    from .recipe import locate

    if resolved:
        console.say(load_recipe(name, assignments=assignments or ()).yaml())
    else:
        console.show_file(locate(name))


@recipes_app.command("copy")
def recipes_copy(
    name: Annotated[str, typer.Argument(autocompletion=_recipe_names)],
    to: Annotated[Path | None, typer.Argument(help="A file or folder; ./NAME.yaml by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Copy a shipped recipe to change it."""
    from .recipe import copy

    console.say(str(copy(name, to, force)))


@recipes_app.command("validate")
def recipes_validate(
    name: Annotated[str, typer.Argument(autocompletion=_recipe_names)], assignments: Assignments = None
) -> None:
    """Check a recipe: every problem at once, with file and line."""
    from .bases import load_recipe

    recipe = load_recipe(name, environ=os.environ, assignments=assignments or ())
    console.say(f"{recipe.name}: valid. Objectives: {', '.join(recipe.active())}.")


@recipes_app.command("schema")
def recipes_schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from .recipe import schema

    console.show_json(schema())


# ---------------------------------------------------------------- small print


def _share(text: str) -> str:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"--max-bad {text!r} is no share.", "Write 5% or 0.05.") from None
    return f"{value:g}"


def _keep(project: Project, recipe: str | None) -> None:
    if recipe:
        from .recipe import keep_name

        project.create()
        keep_name(project.file, recipe)


def _receipt(project: Project, *room: str) -> Any:
    from .project import Receipt

    return Receipt.read(project.room(*room))


def _done(project: Project, room: str, before: Any, receipt: Any, then: str) -> None:
    """Says what was made, or that it was there already, and what comes next."""
    if before and before.finished == receipt.finished:
        console.note(f"Nothing to do: {room} is up to date. --force does it again.")
    counts = ", ".join(f"{v:,} {k}" for k, v in receipt.counts.items() if isinstance(v, int) and v)
    console.say(f"{project.room(room)}: {counts or 'done'}")
    console.note(f"Next: {then}")


def _terminated(signum: int, frame: Any) -> None:
    raise Interrupted(signum, "Terminated; finished rooms are as they were.")


def main() -> None:
    """The `unidiff` command: runs it and turns every error into a sentence and an exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:  # PYTHONWARNINGS reaches only the processes started from here
        warnings.simplefilter("ignore")
    try:
        code = app(standalone_mode=False, prog_name="unidiff")
        if code == 130:  # what typer makes of Ctrl-C
            console.show_error(Interrupted(signal.SIGINT, "Interrupted; finished rooms are as they were."))
    except UnidiffError as problem:
        code = _failed(problem)
    except ParseError as problem:
        problem.show()
        code = problem.exit_code
    except typer.Abort:
        code = 1
    except OSError as problem:
        code = _failed(_of_the_system(problem))
    except Exception as problem:
        code = _failed(_of_the_machine(problem))
    sys.exit(code if isinstance(code, int) else 0)


def _of_the_system(problem: OSError) -> EnvironmentProblem:
    """What a disk or a permission kept us from, where no stage said it better."""
    place, why = problem.filename or "A file", problem.strerror or str(problem)
    fact = f"{place}: {why}."
    if problem.errno == errno.ENOSPC:
        return EnvironmentProblem(f"The disk is full. {fact}", "Free some space and run it again.")
    found = EnvironmentProblem(fact, "See where it happened with: unidiff --debug …")
    found.__cause__ = problem
    return found


def _of_the_machine(problem: Exception) -> EnvironmentProblem:
    """What libraries raise in classes of their own when memory or disk end; anything else is ours to see whole."""
    kind, text = type(problem).__name__, str(problem)
    if kind == "OutOfMemoryError":
        action = "Lower train.batch_size (or generate.batch_size), or set train.gradient_checkpointing."
        found = EnvironmentProblem(f"The device is out of memory: {text.splitlines()[0]}", action)
    elif kind == "SafetensorError" and ("No space" in text or "os error 28" in text):
        found = EnvironmentProblem(f"The disk is full: {text}", "Free some space and run it again.")
    else:
        raise problem
    found.__cause__ = problem
    return found


def _failed(problem: UnidiffError) -> int:
    if Here.debug:
        traceback.print_exception(problem)
    console.show_error(problem)
    return problem.exit_code


if __name__ == "__main__":
    main()
