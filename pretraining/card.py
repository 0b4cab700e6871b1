"""The README.md of the two folders: counts, times and figures from --work, and what a person saw on the sheet (remarks.md)."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from pretraining.data import Pictures

STAGES = ("autoencoder", "clip", "scorer", "denoiser")

NANO = """\
# nano

A Stable Diffusion 1.x look-alike at 64 px and the CLIP whose text tower it shares, small enough to be embedded: it makes
`unidiff` run from end to end on a laptop without a download, and gives tests and benchmarks a real base. It is not a model
to ship pictures with. **{words}**

| part | folder | parameters |
|---|---|---|
{parameters}

Text tower and `text_encoder/` are the same weights. Latents are 4 x 16 x 16 of unit variance (folded into `quant_conv`, so
`scaling_factor` is 1). The UNet predicts v with a zero-terminal signal-to-noise ratio. Captions: up to 40 tokens of an own
vocabulary of {vocabulary:,}. Weights are float16 on disk; the configs say float32.

## Data
{data}

## Made
{made}

## Measured
On the written folders, opened with plain `from_pretrained`; nothing measured here was trained on.

| what | value | chance |
|---|---|---|
| round trip through the autoencoder, clothing-dataset-small test photos | {figures[psnr_photos]} dB PSNR | |
| the same, 1,000 unseen drawings | {figures[psnr_renders]} dB PSNR | |
| CLIP, class prompts on the 372 test photos: all / mean of the 10 classes | {clip[classes]:.1%} / {clip[balanced]:.1%} | most frequent class {figures[majority]:.1%} / 10 % |
| CLIP, text to image among 1,000 unseen drawings, longest caption: R@1 / R@5 / R@10 | {clip[r@1]:.1%} / {clip[r@5]:.1%} / {clip[r@10]:.1%} | 0.1 / 0.5 / 1.0 % |
| scorer's choice of the colour word, 12 colours x "dress", 8 pictures each | {generated[colour]:.1%} | 8.3 % |
| scorer's choice of the type word, 19 types x "red", 4 pictures each | {generated[type]:.1%} | 5.3 % |

Many drawings fit a caption as well as their own ("red dress"), so R@1 could not be 100 %.

## What the pictures show
{remarks}

## Licence
The project's own: the drawings are ours, the photos are CC0.
"""

SCORER = """\
# nano scorer

A small CLIP of another seed and shape than nano's, for scoring what nano makes: a model should not be judged by its own
text tower. Same tokenizer and data as nano (see its card), {count:,} parameters, float16 on disk, float32 in the config. **{words}**

{made}

| what | value | chance |
|---|---|---|
| class prompts on the 372 test photos of clothing-dataset-small: all / mean of the 10 classes | {scorer[classes]:.1%} / {scorer[balanced]:.1%} | most frequent class {figures[majority]:.1%} / 10 % |
| text to image among 1,000 unseen drawings, longest caption: R@1 / R@5 / R@10 | {scorer[r@1]:.1%} / {scorer[r@5]:.1%} / {scorer[r@10]:.1%} | 0.1 / 0.5 / 1.0 % |

It knows drawn garments and ten kinds of photographed clothes, nothing else; its scores compare models of this family only.
"""


def write(work: Path, out: Path, seed: int) -> None:
    figures = json.loads((work / "figures.json").read_text())
    words, _, seen = Path(__file__).with_name("remarks.md").read_text().partition("\n\n")
    runs = {name: json.loads((work / name / "done.json").read_text()) for name in STAGES}
    made = _made(runs, seed)
    places = {
        "unet": "unet/",
        "vae": "vae/",
        "text_encoder": "text_encoder/",
        "clip": "clip/ (with the text tower)",
    }
    parameters = figures["parameters"]
    rows = "\n".join(f"| {name} | {place} | {parameters[name]:,} |" for name, place in places.items())
    total = parameters["unet"] + parameters["vae"] + parameters["clip"]
    rows += f"\n| together, text tower once | | {total:,} |"
    vocabulary = len(json.loads((out / "nano" / "tokenizer" / "vocab.json").read_text()))
    given = dict(
        figures=figures,
        words=words.strip(),
        made=made,
        **{k: figures[k] for k in ("clip", "scorer", "generated")},
    )
    nano = NANO.format(
        parameters=rows, vocabulary=vocabulary, data=_data(work), remarks=seen.strip(), **given
    )
    (out / "nano" / "README.md").write_text(nano)
    (out / "nano_scorer" / "README.md").write_text(SCORER.format(count=parameters["scorer"], **given))


def _data(work: Path) -> str:
    drawings, photos = Pictures.load(work / "data" / "renders"), Pictures.load(work / "data" / "photos")
    return (
        f"- {len(drawings):,} drawn garments with {sum(map(len, drawings.captions)):,} captions, from `unidiff_cli/sample_catalog` (ours);"
        " seeds from 1,000,000 on are held out.\n"
        f"- {len(photos):,} photos of ten kinds of clothes, the training split of alexeygrigorev/clothing-dataset-small at commit"
        " 11961516512414bf9f6c150a832cfd21b54a6b54 (CC0 1.0), four views each; captions name the class and, where it is clear, a"
        " measured colour, and always say \"photo\".\n"
        "- Pictures are fitted as CLIPImageProcessor does: shortest edge to 64, centre crop."
    )  # fmt: skip


def _made(runs: dict, seed: int) -> str:
    rows = "\n".join(
        f"| {name} | {run['seconds'] / 60:.0f} min | {run['processes']} | {run['steps']:,} | {run['samples']:,} |"
        for name, run in runs.items()
    )
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, two cores of a Xeon with AMX, no accelerator, seed {seed}"
        f" (the scorer: {seed + 1_000}), {_commit()}, with the stages of\n\n"
        "    python -m pretraining.nano --photos clothing-dataset-small --work DIR --budget TIME\n\n"
        f"| stage | trained | processes | steps | samples |\n|---|---|---|---|---|\n{rows}\n\n"
        "Stages are boxed by time, so another machine, or a busier one, gives other weights."
    )


def _commit() -> str:
    """The commit of the work tree, and whether what makes nano differed from it."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if commit.returncode:
        return "before the first commit"
    sources = ["pretraining", "unidiff_cli/sample_catalog"]
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", *sources], capture_output=True, text=True
    ).stdout
    return f"commit {commit.stdout.strip()}" + (" with uncommitted changes" if changed else "")
