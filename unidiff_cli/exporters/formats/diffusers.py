"""The format of diffusers and transformers: what plain `from_pretrained` loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.buckets import Size
from unidiff_cli.exporters import Exporter
from unidiff_cli.models.guidance import ALWAYS, Guidance
from unidiff_cli.models.sources import NUMBERS

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

USAGE = """\
```python
from diffusers import DiffusionPipeline
from transformers import CLIPModel, CLIPProcessor

folder = {name}
pipe = DiffusionPipeline.from_pretrained(folder)
clip = CLIPModel.from_pretrained(f"{{folder}}/clip")
processor = CLIPProcessor.from_pretrained(f"{{folder}}/clip")

options = {{"num_inference_steps": {steps}, {guidance}}}
image = pipe("red dress", height={height}, width={width}, **options).images[0]
```
{notes}
One text tower serves both: a text encoder of the pipeline has CLIP's layers."""

# A pipeline of diffusers has no argument for these two.
INTERVAL = """
`unidiff generate` guides between {low:.0%} and {high:.0%} of the noise only. These options guide
all the way, so their images differ from its own.
"""

FROM_BASE = """
The guidance of `unidiff generate` starts from what the base predicts without a caption, by its
denoiser in `untuned/`. Here it starts from the tuned model's own, so images differ.
"""


class Diffusers(Exporter):
    """A diffusers pipeline with a transformers CLIPModel in `clip/`, as fp32 safetensors."""

    description: ClassVar[str] = "a diffusers pipeline with a transformers CLIPModel in `clip/`"
    library_name: ClassVar[str | None] = "diffusers"
    pipeline_tag: ClassVar[str | None] = "text-to-image"
    is_base: ClassVar[bool] = True

    def write(self, base: BaseModel, folder: Path) -> None:
        base.save(folder)
        # The base's own numbers suit what was made of it.
        numbers = Path(base.source.diffusion) / NUMBERS
        if numbers.is_file():
            shutil.copyfile(numbers, folder / NUMBERS)

    def usage(self, name: str, recipe: Recipe, guidance: Guidance, size: Size) -> str:
        arguments = f'"guidance_scale": {guidance.scale:g}'
        if guidance.rescale:
            arguments += f', "guidance_rescale": {guidance.rescale:g}'
        return USAGE.format(
            name=json.dumps(name),
            steps=recipe.generate.steps,
            guidance=arguments,
            notes=_notes(guidance),
            width=size.width,
            height=size.height,
        )


def _notes(guidance: Guidance) -> str:
    """What a pipeline of diffusers cannot do of a guidance."""
    low, high = guidance.interval
    limited = INTERVAL.format(low=low, high=high) if guidance.interval != ALWAYS else ""
    return limited + (FROM_BASE if guidance.unconditional == "base" else "")
