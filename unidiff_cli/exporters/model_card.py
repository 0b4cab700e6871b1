"""TODO docstring."""

from __future__ import annotations

from unidiff_cli import __version__
from unidiff_cli.config import schema
from unidiff_cli.project.receipt import Receipt

CARD = """\
---
library_name: diffusers
pipeline_tag: text-to-image
tags: [clip, stable-diffusion, image-text-retrieval, unidiff]
---
# {name}

CLIP and Stable Diffusion adapted together to one catalogue by unidiff {version}, recipe `{recipe}`.
One text tower serves both: this folder is a diffusers pipeline, `clip/` a transformers CLIPModel.

```python
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel, CLIPProcessor

pipe = StableDiffusionPipeline.from_pretrained("{name}")
image = pipe("{prompt}", num_inference_steps={steps}, guidance_scale={guidance}, height={size}, width={size}).images[0]
clip, processor = CLIPModel.from_pretrained("{name}/clip"), CLIPProcessor.from_pretrained("{name}/clip")
```

| what | |
|---|---|
| base | {base} |
| data | {train} training and {val} validation images of one catalogue; its photos are not in this folder |
| objectives | {objectives} |
| schedule | {train_steps} steps of {batch_size}; these are the averaged weights of step {best}{blend} |
| validation at that step | {figures} |

Licence: that of the base's weights; look it up before you publish. Measured against the base on held-out
products: see the project's `report/` (`unidiff evaluate`). Images are drawn by a model: check them before a
customer sees them.
"""
BLEND = (
    ", {alpha:g} of them and {rest:g} of the base's, weight by weight (WiSE-FT, arXiv 2109.01903); "
    "the figures below are of the unblended ones"
)


def _card(name: str, recipe: schema.Recipe, receipt: Receipt) -> str:
    figures = receipt.figures["validation"]
    return CARD.format(
        name=name, version=__version__, recipe=recipe.name, prompt="red dress",
        steps=recipe.generate.steps, guidance=recipe.generate.guidance, size=recipe.image_size,
        base=recipe.base, train=receipt.counts["train"], val=receipt.counts["val"],
        objectives=", ".join(f"{k} × {v.weight:g}" for k, v in recipe.active().items()),
        train_steps=recipe.train.steps, batch_size=recipe.train.batch_size, best=receipt.figures["step"],
        blend=BLEND.format(alpha=alpha, rest=1 - alpha) if (alpha := receipt.settings["alpha"]) < 1 else "",
        figures=", ".join(f"{k} {v:.3g}" for k, v in figures.items()) or "no validation split",
    )  # fmt: skip
