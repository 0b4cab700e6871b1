"""An export that is opened once and generates images often."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from unidiff_cli import machine
from unidiff_cli.config.schema import Generate
from unidiff_cli.data.buckets import Size, check_size
from unidiff_cli.generation.record import GenerationRecord
from unidiff_cli.models import encoders, loading, sources
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.guidance_file import guidance_in_force
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.progress import Progress
from unidiff_cli.project.project import Project

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel


class GeneratedImage(NamedTuple):
    """An image and everything it depends on."""

    image: Image.Image
    record: GenerationRecord


class Generator:
    """Generates images with one export: `open` loads the model, `generate` only samples."""

    def __init__(self, base: BaseModel, export: str, weights_hash: str, options: Generate) -> None:
        self.base, self.options = base, options
        self.export, self.weights_hash = export, weights_hash

    @classmethod
    def open(
        cls, project: Project, export: str | None = None, options: Generate | None = None
    ) -> Generator:
        """The generator of a project's export, the current one by default.

        `options` are for calls that give none; by default they are the project's. Raises NotReady,
        UsageError for an unknown export.
        """
        folder = project.export(export)
        receipt = project.receipt("exports", folder.name)
        options = options or sources.generation_settings(folder, project)
        base = loading.load_base(str(folder), receipt.settings["image_size"])
        base.to(machine.device())
        return cls(base, folder.name, receipt.figures["weights_hash"], options)

    def guidance(self, options: Generate | None = None) -> tuple[Guidance, str]:
        """How images are guided with these options or the generator's own, and why."""
        return guidance_in_force(options or self.options, self.base.source)

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        options: Generate | None = None,
        *,
        guidance: Guidance | None = None,
        negative: str = "",
        size: tuple[int, int] | None = None,
        on_progress: Progress | None = None,
        on_step: Callable[[], None] | None = None,
    ) -> Iterator[GeneratedImage]:
        """One image for each prompt and its seed, in order, sampled as they are asked for.

        An image depends on its record only, not on the others of the call. `guidance` is that of
        the options by default, and `size`, width and height in pixels, is the model's own.
        `on_step` is called after each denoising step of a batch; what it raises ends the sampling.
        Raises UsageError for a size that the model does not generate.
        """
        options = options or self.options
        guidance = guidance or self.guidance(options)[0]
        of = Size(*size) if size else self.base.default_size
        check_size(of, self.base.image_size, self.base.latent_factor)
        images = generate_images(
            self.base,
            prompts,
            seeds,
            steps=options.steps,
            guidance=guidance,
            negative=negative,
            size=of,
            batch_size=options.batch_size,
            on_progress=partial(on_progress, "generating") if on_progress else None,
            on_step=on_step,
        )
        for prompt, seed, image in zip(prompts, seeds, images, strict=True):
            verdict = self.base.flagged([image])
            record = GenerationRecord(
                prompt=prompt,
                seed=seed,
                steps=options.steps,
                guidance=guidance.scale,
                guidance_interval=guidance.interval,
                guidance_rescale=guidance.rescale,
                guidance_unconditional="own" if negative else guidance.unconditional,
                negative=negative,
                export=self.export,
                weights_hash=self.weights_hash,
                size=of.width if of.is_square else (of.width, of.height),
                scheduler=self.base.sampler_name,
                flagged=verdict[0] if verdict else None,
            )
            yield GeneratedImage(image, record)

    def rank(self, prompt: str, images: Sequence[GeneratedImage]) -> list[GeneratedImage]:
        """Images by their cosine with the prompt, best first, by the export's own CLIP."""
        encoder = encoders.encoder_of(self.base)
        text = encoder.embed_captions([prompt])[0]
        scored = []
        for image, record in images:
            score = round(float(encoder.embed_images([image])[0] @ text), 4)
            ranked = record.model_copy(update={"score": score})
            scored.append((score, GeneratedImage(image, ranked)))
        return [image for _, image in sorted(scored, key=lambda pair: -pair[0])]
