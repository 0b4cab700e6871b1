"""The guidance that belongs to a model: chosen when it was exported, or its base's. No torch.

An export holds `guidance.json`. A base may have a scale in its `base.yaml`, as
`generate: {guidance: 4.0}`. The key `generate.guidance` of a recipe, where it is a number, stands
above both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from unidiff_cli.config.schema import Generate
from unidiff_cli.config.sources import read_yaml
from unidiff_cli.config.values import Count, GuidanceScale, Section, Share
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.reading import broken
from unidiff_cli.models.sources import NUMBERS, Source

FILE = "guidance.json"
# Of a base that says nothing: those of diffusers' pipelines, by their class.
DEFAULT = Guidance(7.5)
DEFAULTS = {"StableDiffusionXLPipeline": Guidance(5.0)}


class MeasuredGuidance(Section):
    """A guidance that was tried at an export, and what its images were like.

    `above_lowest` is its KID less the lowest, and `standard_error` that of this difference.
    `clip_score` is the scorer's mean cosine of images and captions.
    """

    guidance: Guidance
    kid: float
    above_lowest: float
    standard_error: float
    coverage: Share
    clip_score: float


class GuidanceFile(Section):
    """guidance.json of an export: its guidance, why it is that, and all that were tried.

    `images` of each were generated, from captions of the validation split, and compared with `real`
    images of it by the features of `extractor`.
    """

    guidance: Guidance
    reason: str
    images: Count = 0
    real: Count = 0
    extractor: str = ""
    measured: tuple[MeasuredGuidance, ...] = ()


def guidance_in_force(options: Generate, source: Source) -> tuple[Guidance, str]:
    """How the images of the model at a source are guided, and why.

    Raises Damaged or EnvironmentProblem for a file that cannot be read.
    """
    if options.guidance != "auto":
        return Guidance(options.guidance), "set by generate.guidance"
    return own_guidance(source)


def own_guidance(source: Source) -> tuple[Guidance, str]:
    """A model's own guidance, and where it is from. Raises as `guidance_in_force`."""
    folder = Path(source.diffusion)
    if (folder / FILE).is_file():
        chosen = read_guidance(folder)
        return chosen.guidance, chosen.reason
    if (folder / NUMBERS).is_file():
        numbers = read_yaml(folder / NUMBERS).data.get("generate")
        if isinstance(numbers, Mapping) and "guidance" in numbers:
            return Guidance(_scale(folder / NUMBERS, numbers["guidance"])), "the base's own"
    kind = source.pipeline_class()
    return DEFAULTS.get(kind, DEFAULT), f"the default of {kind}"


def _scale(file: Path, value: Any) -> float:
    try:
        return TypeAdapter(GuidanceScale).validate_python(value)
    except ValueError as problem:
        raise broken("The base's", file, f"has a generate.guidance of {value!r}") from problem


def read_guidance(folder: Path) -> GuidanceFile:
    """The guidance.json of an export. Raises Damaged or EnvironmentProblem."""
    try:
        return GuidanceFile.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValueError) as problem:
        raise broken("The export", folder / FILE, "does not hold a guidance") from problem
