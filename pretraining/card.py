"""The README.md of the two folders: counts, hashes, times and figures of one run, and what a person saw on its sheets (remarks.md)."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pretraining.data import CROPS, OBJECTS_SHARE, UNSEEN_SEED, VIEWS, Images
from pretraining.measure import TARGETS
from unidiff_cli.sample_catalog import HELD_OUT

STAGES = ("autoencoder", "clip", "scorer", "denoiser", "vision", "decoder")
SHEETS = {  # shown in the card, where what they show was measured
    "red-dress.png": "",
    "autoencoder-photos.png": "Originals over what the autoencoder makes of them, test photos of clothing-dataset-small (CC0):",
    "measured.png": "A few of the measured prompts, and what was measured of each:",
}

NANO = """\
# nano

A Stable Diffusion 1.x look-alike at 64 px and the CLIP whose text tower it shares, small enough to be embedded: it makes
`unidiff` run from end to end on a laptop without a download, and gives tests and benchmarks a real base. It knows drawn
garments, a few everyday objects and ten kinds of photographed clothes. It is not a model to ship images with.

![red dress, seeds 0 to 7](images/red-dress.png)

| part | folder | parameters |
|---|---|---|
{parameters}

Text tower and `text_encoder/` are the same weights. Latents are {channels} x 16 x 16 of unit variance (folded into
`quant_conv`, so `scaling_factor` is 1). The UNet predicts v with a zero-terminal signal-to-noise ratio. Captions: up to 40
tokens of an own vocabulary of {vocabulary:,}. Weights are float16 on disk; the configs say float32.

## Data
{data}

## Made
{made}

## Measured
`python -m benchmarks.nano` on the written folders, opened with plain `from_pretrained`. Nothing measured here was trained on;
`luma` and `grocery` are catalogues nano never saw anything of.

{figures}

## What the images show
{remarks}

{sheets}

## Licence
The project's own: the drawings are ours, the photos are CC0, Fashion-MNIST is MIT (Zalando SE).
"""

SCORER = """\
# nano scorer

A small CLIP of another seed and shape than nano's, for scoring what nano makes: a model should not be judged by its own
text tower. Same tokenizer and data as nano (see its card), {count:,} parameters, float16 on disk, float32 in the config.

{made}

{figures}

It knows drawn garments, a few everyday objects and ten kinds of photographed clothes; its scores compare models of this
family only.
"""

# What is said of a figure, its name, how it is written, and what stands beside it.
NANO_ROWS = (
    ("round trip through the autoencoder, luma's product photos", "autoencoder.luma_psnr_db", "{:.2f} dB PSNR", ""),
    ("the same, clothing-dataset-small's test photos", "autoencoder.photos_psnr_db", "{:.2f} dB PSNR", ""),
    ("the same, unseen drawings", "autoencoder.drawings_psnr_db", "{:.2f} dB PSNR", ""),
    ("its error of hue on saturated pixels, luma", "autoencoder.luma_hue_error_degrees", "{:.1f} degrees", ""),
    ("the same, test photos", "autoencoder.photos_hue_error_degrees", "{:.1f} degrees", ""),
    ("CLIP, prompts of the 10 classes on the test photos", "clip.photos", "{:.1%}", "most frequent class {clip.photos_majority:.1%}"),
    ("the same, mean of the classes", "clip.photos_balanced", "{:.1%}", "chance {clip.photos_chance:.1%}"),
    ("CLIP, text to image among {clip.drawings:.0f} unseen drawings, longest caption, R@1", "clip.text_to_image_r@1", "{:.1%}", "a perfect reader {clip.reader_r@1:.1%}, chance 0.1 %"),
    ("R@5", "clip.text_to_image_r@5", "{:.1%}", ""),
    ("image to text, R@1", "clip.image_to_text_r@1", "{:.1%}", ""),
    ("R@5", "clip.image_to_text_r@5", "{:.1%}", ""),
    ("CLIP without adaptation, luma's colours", "clip.luma_color", "{:.1%}", "most frequent {clip.luma_color_majority:.1%}, chance {clip.luma_color_chance:.1%}"),
    ("luma's categories", "clip.luma_category", "{:.1%}", "most frequent {clip.luma_category_majority:.1%}, chance {clip.luma_category_chance:.1%}"),
    ("grocery: fruit, vegetable or package", "clip.grocery_group", "{:.1%}", "most frequent {clip.grocery_group_majority:.1%}, chance {clip.grocery_group_chance:.1%}"),
    ("generation, {generation.images:.0f} prompts: measured colour is the prompt's", "generation.color", "{:.1%}", "true drawings {generation.color_ceiling:.1%}"),
    ("the probe's type is the prompt's", "generation.type", "{:.1%}", "true drawings {generation.type_ceiling:.1%}"),
    ("the same, {generation.held_out:.0f} prompts of pairs kept out of pre-training: colour", "generation.color_held_out", "{:.1%}", ""),
    ("type", "generation.type_held_out", "{:.1%}", ""),
    ("the probe itself, unseen drawings", "generation.probe_unseen", "{:.1%}", ""),
    ("the probe on 100 photos it knows a word for", "generation.probe_photos", "{:.1%}", ""),
    ("KID of generated images against unseen drawings (nano-scorer's features)", "likeness.kid", "{:.3f}", "drawings against drawings {likeness.kid_real:.3f}"),
    ("pixel distance to the nearest training image, least of all generated", "likeness.generated_pixel_gap_least", "{:.3f}", "unseen drawings {likeness.unseen_pixel_gap_least:.3f}"),
    ("the same, first percentile", "likeness.generated_pixel_gap_q1", "{:.3f}", "unseen drawings {likeness.unseen_pixel_gap_q1:.3f}"),
    ("8 images, 25 steps, guidance, two cores", "speed.eight_images_seconds", "{:.1f} s", ""),
    ("opening it, torch imported", "speed.loading_seconds", "{:.2f} s", ""),
)  # fmt: skip
SCORER_ROWS = tuple(
    (
        label.replace("CLIP, ", ""),
        name.replace("clip.", "scorer."),
        shape,
        beside.replace("{clip.", "{scorer."),
    )
    for label, name, shape, beside in NANO_ROWS
    if name.startswith("clip.") and "luma" not in name and "grocery" not in name
)


def write(work: Path, out: Path, sources: dict[str, Path]) -> None:
    """Both cards, from `work`: started.json, the stages' done.json, the arrays, measured/figures.json and its sheets.

    `sources` are the folders the data came from, by name; their files are hashed.
    """
    figures = json.loads((work / "measured" / "figures.json").read_text())
    made = _made(work)
    parameters = figures["parameters"]
    places = {
        "unet": "unet/",
        "vae": "vae/",
        "text_encoder": "text_encoder/",
        "clip": "clip/ (with the text tower)",
    }
    rows = "\n".join(
        f"| {name} | {place} | {parameters[name]:,.0f} |" for name, place in places.items()
    )
    total = parameters["unet"] + parameters["vae"] + parameters["clip"]
    vocabulary = len(json.loads((out / "nano" / "tokenizer" / "vocab.json").read_text()))
    channels = json.loads((out / "nano" / "unet" / "config.json").read_text())["in_channels"]
    images = out / "nano" / "images"
    images.mkdir(exist_ok=True)
    shown = [sheet for sheet in SHEETS if (work / "measured" / sheet).exists()]
    for sheet in shown:
        shutil.copyfile(work / "measured" / sheet, images / sheet)
    nano = NANO.format(
        parameters=rows + f"\n| together, text tower once | | {total:,.0f} |",
        vocabulary=vocabulary,
        channels=channels,
        data=_data(work, sources),
        made=made,
        figures=_table(NANO_ROWS, figures),
        sheets="\n\n".join(f"{SHEETS[s]}\n\n![{s}](images/{s})" for s in shown if SHEETS[s]),
        remarks=Path(__file__).with_name("remarks.md").read_text().strip(),
    )
    (out / "nano" / "README.md").write_text(nano)
    scorer = SCORER.format(
        count=int(parameters["scorer"]), made=made, figures=_table(SCORER_ROWS, figures)
    )
    (out / "nano_scorer" / "README.md").write_text(scorer)


def _table(rows: Iterable[tuple[str, str, str, str]], figures: dict[str, dict[str, float]]) -> str:
    """What was measured, with its target and what it is to be compared with; a figure not measured has no row."""
    flat = {
        f"{part}.{name}": value for part, each in figures.items() for name, value in each.items()
    }

    def filled(text: str) -> str:
        return re.sub(r"{([^:}]+)(:[^}]*)}", lambda m: format(flat[m[1]], m[2][1:]), text)

    lines = ["| what | measured | target | beside it |", "|---|---|---|---|"]
    for label, name, shape, beside in rows:
        if name in flat:
            bound, more = TARGETS.get(name, (None, True))
            target = (
                "" if bound is None else ("at least " if more else "at most ") + shape.format(bound)
            )
            lines.append(
                f"| {filled(label)} | {shape.format(flat[name])} | {target} | {filled(beside)} |"
            )
    return "\n".join(lines)


def _data(work: Path, sources: dict[str, Path]) -> str:
    drawings, photos, dyed = (
        Images.load(work / "data" / name) for name in ("renders", "photos", "dyed")
    )
    return f"""\
- {len(drawings):,} drawings with {sum(map(len, drawings.captions)):,} captions by `unidiff_cli/sample_catalog` (ours), seeds 0 to {len(drawings) - 1:,}: {1 - OBJECTS_SHARE:.0%} garments, {OBJECTS_SHARE:.0%}
  everyday objects. Seeds from {UNSEEN_SEED:,} on, the {len(HELD_OUT)} pairs in `HELD_OUT`, the sample shop's cuts, palette, studio and
  product names were kept out. Array: {_hash([work / "data" / "renders.npy"])}.
- {len(photos):,} photos of ten kinds of clothes, the training split of alexeygrigorev/clothing-dataset-small at commit
  11961516512414bf9f6c150a832cfd21b54a6b54 (CC0 1.0), {VIEWS} views each and for the CLIPs {CROPS} harder crops; captions name the class and,
  where it is clear, a measured colour, and always say "photo". captions.jsonl: {_hash([sources["photos"] / "captions.jsonl"])}.
- {len(dyed):,} training images of Fashion-MNIST (Zalando SE, MIT; Debian's `dataset-fashion-mnist`), enlarged, dyed and put before a
  wall, for the CLIPs only; 4,000 of them, and 4,000 drawings, cut out on pure white for the decoder's last minutes. Images, labels: {_hash(sorted(sources["fashion_mnist"].glob("train-*.gz")))}.
- Images are fitted as CLIPImageProcessor does: shortest edge to 64, centre crop. Debian's `openclipart-png` was not used."""


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return f"sha256 {digest.hexdigest()[:16]}"


def _made(work: Path) -> str:
    starts = json.loads((work / "started.json").read_text())
    rows, last = [], 0.0
    for name in STAGES:
        run, ended = (
            json.loads((work / name / "done.json").read_text()),
            (work / name / "done.json").stat().st_mtime,
        )
        commit = [s["commit"] + "*" * bool(s["changed"]) for s in starts if _seconds(s) < ended][-1]
        rows.append(
            f"| {name} | {run['seconds'] / 60:.0f} min | {run['processes']} | {run['steps']:,} | {run['samples']:,} | {commit} |"
        )
        last = max(last, ended)
    begun, ends = starts[0], sorted((work / name / "done.json").stat().st_mtime for name in STAGES)
    # Between a stage's end and the command that went on from there nothing ran.
    paused = {
        max(e for e in ends if e < _seconds(s)): _seconds(s)
        for s in starts[1:]
        if ends[0] < _seconds(s) < last
    }
    stopped = sum(again - ended for ended, again in paused.items())
    how = (
        f"one run, stopped {len(paused)} times and continued with later commits,"
        if paused
        else "one run"
    )
    return (
        f"{begun['at'][:10]}, two cores of a Xeon with AMX, no accelerator, seed {begun['seed']} (the scorer: {begun['seed'] + 1_000}), {how} of\n\n"
        f"    python -m pretraining.nano --photos clothing-dataset-small --fashion-mnist DIR --work DIR --budget {begun['budget'] / 60:.0f}m\n\n"
        f"{(last - _seconds(begun) - stopped) / 60:.0f} minutes from its start to the last step of training"
        + (f", and {stopped / 60:.0f} in which it was stopped" if paused else "")
        + ":\n\n"
        "| stage | trained | processes | steps | samples | commit |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\n"
        "Stages are boxed by time, so another machine, or a busier one, gives other weights."
    )


def _seconds(start: dict) -> float:
    return datetime.fromisoformat(start["at"]).timestamp()
