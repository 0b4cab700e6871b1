"""generate: prompts and an export → outputs/NNNN-prompt/, images that say how to draw them again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from unidiff_cli import __version__, machine
from unidiff_cli.config.schema import Generate
from unidiff_cli.errors import UsageError
from unidiff_cli.models import encoders, loading, sources
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.project.files import write_json
from unidiff_cli.project.project import Project
from unidiff_cli.reports.contact_sheet import contact_sheet

KEY = "unidiff"  # the PNG text chunk that holds what follows


@dataclass(frozen=True)
class GenerationRecord:
    """Everything one image depends on."""

    prompt: str
    seed: int
    steps: int
    guidance: float
    negative: str
    export: str
    fingerprint: str
    size: int
    scheduler: str
    version: str = __version__
    score: float | None = (
        None  # cosine with the prompt by the export's own CLIP, where candidates were ranked
    )


def generate(
    project: Project,
    prompts: Sequence[str],
    options: Generate | None = None,
    *,
    count: int = 4,
    seed: int = 0,
    negative: str = "",
    best_of: int | None = None,
    export: str | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Draws `count` images a prompt and returns their folders, one a prompt.

    Image i has seed + i and depends on nothing else. With `best_of` that many candidates are drawn and the
    `count` nearest to the prompt kept, best first. Raises UsageError, NotReady.
    """
    if best_of is not None and best_of < count:
        raise UsageError(
            f"--best-of {best_of} is fewer than the {count} images asked for.",
            "Raise it, or lower -n.",
        )
    if empty := [p for p in prompts if not p.strip()]:
        raise UsageError(f"{len(empty)} of {len(prompts)} prompts are empty.", "Give each a text.")
    folder = project.export(export)
    receipt = project.receipt("exports", folder.name)
    options = options or sources.generation_settings(folder, project)
    base = loading.load_base(str(folder), receipt.settings["image_size"])
    base.to(machine.device())
    drawn = best_of or count
    plan = [(prompt, seed + i) for prompt in prompts for i in range(drawn)]
    images = generate_images(
        base, [p for p, _ in plan], [s for _, s in plan], steps=options.steps, guidance=options.guidance, negative=negative,
        batch_size=options.batch_size, on_progress=(lambda d, t: on_progress("drawing", d, t)) if on_progress else None,
    )  # fmt: skip
    same = GenerationRecord(
        "", 0, options.steps, options.guidance, negative, folder.name, receipt.figures["fingerprint"],
        base.image_size, type(base.scheduler).__name__,
    )  # fmt: skip
    folders = []
    for prompt in prompts:
        drawings = [
            GenerationRecord(**{**asdict(same), "prompt": prompt, "seed": seed + i})
            for i in range(drawn)
        ]
        pairs = [(next(images), drawing) for drawing in drawings]
        if best_of:
            pairs = _ranked(base, prompt, pairs)[:count]
        folders.append(_keep(project, prompt, pairs))
    return folders


def regenerate(project: Project, file: Path) -> tuple[Path, bool]:
    """Draws the image of a PNG of ours again; its folder, and whether the model is the same one.

    Raises UsageError for an image that does not say how it was drawn.
    """
    drawing = read(file)
    known = drawing.export if drawing.export in project.exports() else None
    options = Generate(steps=drawing.steps, guidance=drawing.guidance)
    [folder] = generate(
        project, [drawing.prompt], options, count=1, seed=drawing.seed,
        negative=drawing.negative, export=known,
    )  # fmt: skip
    return folder, read(folder / "0.png").fingerprint == drawing.fingerprint


def read(file: Path) -> GenerationRecord:
    """How a PNG of ours was drawn. Raises UsageError where it does not say."""
    try:
        with Image.open(file, formats=["PNG"]) as opened:
            found: dict[str, Any] = json.loads(opened.text[KEY])  # type: ignore[attr-defined]
        Generate(steps=found["steps"], guidance=found["guidance"])
        return GenerationRecord(**found)
    except FileNotFoundError as problem:
        raise UsageError(f"There is no image {file}.") from problem
    except Exception as problem:  # not a PNG, no chunk of ours, or not what we write into it
        raise UsageError(
            f"{file} does not say how it was drawn.", "Give a PNG that unidiff generate made."
        ) from problem


def _ranked(
    base: Any, prompt: str, pairs: list[tuple[Image.Image, GenerationRecord]]
) -> list[tuple[Image.Image, GenerationRecord]]:
    text = encoders.embed_captions(base, [prompt])[0]
    scored = [
        (
            p,
            GenerationRecord(
                **{**asdict(d), "score": round(float(encoders.embed_image(base, p) @ text), 4)}
            ),
        )
        for p, d in pairs
    ]
    return sorted(scored, key=lambda pair: -(pair[1].score or 0.0))


def _keep(project: Project, prompt: str, pairs: list[tuple[Image.Image, GenerationRecord]]) -> Path:
    """Writes one prompt's images, their sheet and prompt.json into the next free folder."""
    outputs = project.path("outputs")
    outputs.mkdir(parents=True, exist_ok=True)
    word = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40] or "image"
    number = (
        max((int(p.name[:4]) for p in outputs.iterdir() if p.name[:4].isdigit()), default=0) + 1
    )
    while True:
        folder = outputs / f"{number:04d}-{word}"
        try:
            folder.mkdir()
            break
        except FileExistsError:  # another generate took the number
            number += 1
    for i, (image, drawing) in enumerate(pairs):
        note = PngInfo()
        note.add_text(KEY, json.dumps(asdict(drawing)))
        image.save(folder / f"{i}.png", pnginfo=note)
    labels = [
        f"seed {d.seed}" + (f"  {d.score:.3f}" if d.score is not None else "") for _, d in pairs
    ]
    contact_sheet([p for p, _ in pairs], labels).save(folder / "sheet.png")
    write_json(folder / "prompt.json", {"prompt": prompt, "images": [asdict(d) for _, d in pairs]})
    return folder
