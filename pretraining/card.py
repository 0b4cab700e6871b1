"""The cards, README.md of the two folders: counts, hashes, times and figures of one run.

Their texts stand in cards/; remarks.md there is what a person saw on the sheets.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from pretraining.card_tables import NANO_ROWS, SCORER_ROWS, filled, table
from pretraining.images import Images
from pretraining.photos import CROPS, VIEWS
from pretraining.renderings import OBJECTS_SHARE, SCORER_FIRST_SEED, UNSEEN_SEED
from unidiff_cli.sample_catalog import HELD_OUT

STAGES = ("autoencoder", "clip", "scorer", "denoiser", "vision", "decoder")
TEXTS = Path(__file__).with_name("cards")
# Shown in the card, where what they show was measured.
SHEETS = {
    "red-dress.png": "",
    "autoencoder-photos.png": (
        "Originals over what the autoencoder makes of them, test photos of clothing-dataset-small "
        "(CC0):"
    ),
    "measured.png": "A few of the measured prompts, and what was measured of each:",
}


def write(work: Path, out: Path, sources: Mapping[str, Path]) -> None:
    """Writes both cards.

    From `work`: started.json, the stages' done.json, the arrays, measured/figures.json and its
    sheets. `sources` are the folders the data came from, by name; their files are hashed.
    """
    figures = json.loads((work / "measured" / "figures.json").read_text())
    history = history_text(work)
    nano = out / "nano"
    text = (
        (TEXTS / "nano.md")
        .read_text()
        .format(
            parameters=_parameters(figures["parameters"]),
            vocabulary=len(json.loads((nano / "tokenizer" / "vocab.json").read_text())),
            channels=json.loads((nano / "unet" / "config.json").read_text())["in_channels"],
            history=history,
            figures=table(NANO_ROWS, figures),
            sheets=_copy_sheets(work / "measured", nano / "images"),
            remarks=filled((TEXTS / "remarks.md").read_text().strip(), figures),
            **_data_facts(work / "data", sources),
        )
    )
    (nano / "README.md").write_text(text)
    text = (
        (TEXTS / "nano_scorer.md")
        .read_text()
        .format(
            count=int(figures["parameters"]["scorer"]),
            scorer_seed=SCORER_FIRST_SEED,
            scorer_renderings=len(Images.load(work / "data" / "scorer-renders")),
            scorer_dyed=len(Images.load(work / "data" / "scorer-dyed")),
            history=history,
            figures=table(SCORER_ROWS, figures),
        )
    )
    (out / "nano_scorer" / "README.md").write_text(text)


def _parameters(counts: Mapping[str, float]) -> str:
    folders = {
        "unet": "unet/",
        "vae": "vae/",
        "text_encoder": "text_encoder/",
        "clip": "clip/ (with the text tower)",
    }
    rows = [f"| {name} | {folder} | {counts[name]:,.0f} |" for name, folder in folders.items()]
    total = counts["unet"] + counts["vae"] + counts["clip"]
    return "\n".join([*rows, f"| together, text tower once | | {total:,.0f} |"])


def _copy_sheets(measured: Path, images: Path) -> str:
    """Copies the sheets that there are beside the card; gives the text that shows them."""
    images.mkdir(exist_ok=True)
    shown = [sheet for sheet in SHEETS if (measured / sheet).exists()]
    for sheet in shown:
        shutil.copyfile(measured / sheet, images / sheet)
    return "\n\n".join(f"{SHEETS[s]}\n\n![{s}](images/{s})" for s in shown if SHEETS[s])


def _data_facts(arrays: Path, sources: Mapping[str, Path]) -> dict[str, str | int | float]:
    """The counts and hashes of the card's section on data."""
    renders, photos, dyed = (Images.load(arrays / name) for name in ("renders", "photos", "dyed"))
    return {
        "renderings": len(renders),
        "captions": sum(map(len, renders.captions)),
        "last_seed": len(renders) - 1,
        "garments": 1 - OBJECTS_SHARE,
        "objects": OBJECTS_SHARE,
        "unseen_seed": UNSEEN_SEED,
        "held_out": len(HELD_OUT),
        "renderings_hash": _hash([arrays / "renders.npy"]),
        "photos": len(photos),
        "views": VIEWS,
        "crops": CROPS,
        "captions_hash": _hash([sources["photos"] / "captions.jsonl"]),
        "dyed": len(dyed),
        "dyed_hash": _hash(sorted(sources["fashion_mnist"].glob("train-*.gz"))),
    }


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return f"sha256 {digest.hexdigest()[:16]}"


def history_text(work: Path) -> str:
    """The date, the command, how long it took, and a table of the stages."""
    starts = json.loads((work / "started.json").read_text())
    first, seed = starts[0], starts[0]["seed"]
    date, scorer_seed = first["at"][:10], seed + 1_000
    ends = {name: (work / name / "done.json").stat().st_mtime for name in STAGES}
    last, pauses = max(ends.values()), _pauses(starts, sorted(ends.values()))
    stopped, paused = "", ""
    if pauses:
        times = "once" if len(pauses) == 1 else f"{len(pauses)} times"
        stopped = f", stopped {times} and continued with later commits"
        paused = f", and {sum(pauses) / 60:.0f} in which it was stopped"
    minutes = (last - _seconds(first) - sum(pauses)) / 60
    machines = ", then ".join(dict.fromkeys(start["machine"] for start in starts))
    budgets = dict.fromkeys(f"{start['budget'] / 60:.0f}m" for start in starts)
    rows = "\n".join(_stage_row(work, name, starts, ends[name]) for name in STAGES)
    return f"""\
{date}, {machines}, no accelerator, seed {seed} (scorer: {scorer_seed}).
One run{stopped}:

    python -m pretraining.nano --photos clothing-dataset-small --fashion-mnist DIR --work DIR \\
        --budget {", then ".join(budgets)}

It took {minutes:.0f} minutes from its start to the last step of training{paused}.

| stage | trained | processes | steps | samples | commit |
|---|---|---|---|---|---|
{rows}

Stages are boxed by time, so another machine, or a busier one, gives other weights."""


def _stage_row(work: Path, name: str, starts: list[dict], ended: float) -> str:
    run = json.loads((work / name / "done.json").read_text())
    start = [start for start in starts if _seconds(start) < ended][-1]
    commit = start["commit"] + "*" * bool(start["changed"])
    counts = f"{run['processes']} | {run['steps']:,} | {run['samples']:,}"
    return f"| {name} | {run['seconds'] / 60:.0f} min | {counts} | {commit} |"


def _pauses(starts: list[dict], ends: list[float]) -> list[float]:
    """Seconds between a stage's end and the command that went on from there: nothing ran then."""
    again = [_seconds(start) for start in starts[1:]]
    began = {max(e for e in ends if e < s): s for s in again if ends[0] < s < ends[-1]}
    return [start - end for end, start in began.items()]


def _seconds(start: dict) -> float:
    return datetime.fromisoformat(start["at"]).timestamp()
