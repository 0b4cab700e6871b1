"""The stage `generate`: prompts and an export, as images in `outputs/NNNN-prompt/`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from unidiff_cli.config.schema import Generate
from unidiff_cli.data.caption_length import warn_of_cut
from unidiff_cli.errors import UsageError
from unidiff_cli.generation.generator import GeneratedImage, Generator
from unidiff_cli.generation.record import GenerationRecord, read_record, write_image
from unidiff_cli.progress import Progress
from unidiff_cli.project.files import atomic_folder, write_json
from unidiff_cli.project.numbered import next_number
from unidiff_cli.project.project import Project
from unidiff_cli.reports.contact_sheet import contact_sheet
from unidiff_cli.system import naming

logger = logging.getLogger("unidiff")


def generate(
    project: Project,
    prompts: Sequence[str],
    options: Generate | None = None,
    *,
    count: int = 4,
    seed: int = 0,
    negative: str = "",
    size: tuple[int, int] | None = None,
    best_of: int | None = None,
    export: str | None = None,
    on_progress: Progress | None = None,
) -> list[Path]:
    """Generates `count` images for each prompt and returns their folders, one for each prompt.

    Image i has seed + i and depends on nothing else of the call. `size` is width and height in
    pixels, by default the model's own. With `best_of` that many are
    generated, and the `count` nearest to the prompt stay, best first. Raises UsageError, NotReady.
    """
    if best_of is not None and best_of < count:
        raise UsageError(
            f"--best-of {best_of} is fewer than the {count} images asked for.",
            "Raise it, or lower -n.",
        )
    if empty := [prompt for prompt in prompts if not prompt.strip()]:
        raise UsageError(f"{len(empty)} of {len(prompts)} prompts are empty.", "Give each a text.")
    generator = Generator.open(project, export, options)
    warn_of_cut(generator.base.prompt_window, prompts, "prompt")
    warn_of_cut(generator.base.prompt_window, [negative], "negative prompt")
    guidance, why = generator.guidance()
    logger.info(f"guidance {guidance}: {why}")
    candidates = best_of or count
    plan = [(prompt, seed + i) for prompt in prompts for i in range(candidates)]
    images = generator.generate(
        [prompt for prompt, _ in plan],
        [seed for _, seed in plan],
        negative=negative,
        size=size,
        on_progress=on_progress,
    )
    folders = []
    for prompt in prompts:
        of_prompt = list(islice(images, candidates))
        if best_of:
            of_prompt = generator.rank(prompt, of_prompt)[:count]
        _warn_of_flagged(prompt, of_prompt)
        folders.append(_write(project, prompt, of_prompt))
    return folders


def _warn_of_flagged(prompt: str, images: Sequence[GeneratedImage]) -> None:
    """Says how many images the base's safety checker flagged; they are written as they are."""
    if count := sum(bool(record.flagged) for _, record in images):
        logger.warning(
            f"{count} of {len(images)} images of '{prompt}' are flagged by the base's safety "
            'checker. They are written as they are; prompt.json says which: "flagged": true'
        )


def regenerate(
    project: Project, file: Path, on_progress: Progress | None = None
) -> tuple[Path, bool]:
    """Generates the image of a PNG of ours again: its folder, and whether the weights are the same.

    The export that made it is used where it still is there, else the current one. Raises
    UsageError for an image without a record.
    """
    record = read_record(file)
    export = record.export if record.export in project.exports() else None
    generator = Generator.open(project, export)
    images = generator.generate(
        [record.prompt],
        [record.seed],
        Generate(steps=record.steps),
        guidance=record.guided,
        negative=record.negative,
        size=record.width_height,
        on_progress=on_progress,
    )
    folder = _write(project, record.prompt, list(images))
    return folder, read_record(folder / "0.png").weights_hash == record.weights_hash


def _write(project: Project, prompt: str, images: Sequence[GeneratedImage]) -> Path:
    """Writes one prompt's images, their contact sheet and prompt.json into a new folder."""
    with _new_folder(project.folder("outputs"), prompt) as (folder, fresh), naming(folder):
        for i, (image, record) in enumerate(images):
            write_image(fresh / f"{i}.png", image, record)
        labels = [_label(record) for _, record in images]
        contact_sheet([image for image, _ in images], labels).save(fresh / "sheet.png")
        records = [record.plain() for _, record in images]
        write_json(fresh / "prompt.json", {"prompt": prompt, "images": records})
    return folder


@contextmanager
def _new_folder(outputs: Path, prompt: str) -> Iterator[tuple[Path, Path]]:
    """A folder named by the next free number and the prompt's words, and where to write its files.

    It takes its place whole; after an error there is none.
    """
    folder = _free_folder(outputs, prompt)
    try:
        # It is new, so there is nothing to replace.
        with atomic_folder(folder, lambda folder: None) as fresh:
            yield folder, fresh
    except BaseException:
        # The one that holds the number; a whole one stays.
        with suppress(OSError):
            folder.rmdir()
        raise


def _free_folder(outputs: Path, prompt: str) -> Path:
    """An empty folder named by the next free number and the prompt's words."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40] or "image"
    number = next_number(path.name for path in outputs.iterdir())
    while True:
        folder = outputs / f"{number:04d}-{words}"
        try:
            folder.mkdir()
            return folder
        # Another generate took the number.
        except FileExistsError:
            number += 1


def _label(record: GenerationRecord) -> str:
    score = "" if record.score is None else f"  {record.score:.3f}"
    return f"seed {record.seed}{score}"
