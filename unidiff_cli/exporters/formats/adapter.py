"""The format of an adapter: what diffusers' `load_lora_weights` and peft's `PeftModel` open.

It holds the tensors of low rank alone. α/r and the share of a blend are multiplied into B, so that
no program needs a second number to get the same weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from safetensors.torch import save_file

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.buckets import Size
from unidiff_cli.errors import UsageError
from unidiff_cli.exporters import Exporter
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.sources import resolve_base

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.adapters import Factors
    from unidiff_cli.models.base import BaseModel

# The files' names are those that the libraries look for.
PIPELINE, CLIP, WEIGHTS = "pytorch_lora_weights.safetensors", "clip", "adapter_model.safetensors"
# Where peft has a model in its own, and where a base has its CLIP.
PEFT, OWN_CLIP = "base_model.model.", "clip."

USAGE = """\
```python
from diffusers import StableDiffusionPipeline
from peft import PeftModel
from transformers import CLIPImageProcessor, CLIPModel

folder = {name}
pipe = StableDiffusionPipeline.from_pretrained({diffusion})
pipe.load_lora_weights(folder)
clip = PeftModel.from_pretrained(CLIPModel.from_pretrained({clip}), f"{{folder}}/clip")
processor = CLIPImageProcessor.from_pretrained(f"{{folder}}/clip")
```

It fits the base that it was trained on and no other. The text tower's adapters are in both places.
Where the run trained nothing of a pipeline there is no `{pipeline}`,
and where it trained nothing of CLIP there is no `clip/`."""


class Adapter(Exporter):
    """Adapters of low rank, without the base: for diffusers a file, for CLIP peft's folder."""

    description: ClassVar[str] = "an adapter of its base, for diffusers and, in `clip/`, for peft"
    library_name: ClassVar[str | None] = "peft"
    pipeline_tag: ClassVar[str | None] = "text-to-image"

    def check(self, base: BaseModel) -> None:
        if base.adapter is None:
            raise UsageError(
                "This run trained the weights themselves, so there is no adapter.",
                "Train with --set train.lora.rank=16, or export another format.",
            )
        if others := base.adapter.others:
            raise UsageError(
                f"This run also trained {' and '.join(others)} without adapters, which an adapter "
                "cannot hold.",
                "Export another format.",
            )
        places = (*base.pipeline_names, OWN_CLIP)
        if homeless := [key for key in base.adapter.tensors if not key.startswith(places)]:
            raise UsageError(
                f"No program would find {homeless[0]} in an adapter: the family of this base does "
                "not say where a pipeline has it.",
                "Export another format.",
            )

    def write(self, base: BaseModel, folder: Path) -> None:
        """Raises UsageError for a blend of DoRA's weights."""
        if base.adapter is None:
            raise UsageError(
                "A blend of DoRA's weights with the base's is no DoRA.",
                "Add --alpha 1, or export another format.",
            )
        tensors = base.adapter.tensors
        pipeline = {
            _of_pipeline(f"{theirs}{key.removeprefix(ours)}"): tensor.contiguous()
            for ours, theirs in base.pipeline_names.items()
            for key, tensor in tensors.items()
            if key.startswith(ours)
        }
        if pipeline:
            save_file(pipeline, folder / PIPELINE, metadata={"format": "pt"})
        clip = {k.removeprefix(OWN_CLIP): x for k, x in tensors.items() if k.startswith(OWN_CLIP)}
        if clip:
            _write_peft(clip, base.adapter, base.source.clip, folder / CLIP)
            base.save_preprocessing(folder / CLIP)

    def usage(self, name: str, recipe: Recipe, guidance: Guidance, size: Size) -> str:
        _, source = resolve_base(recipe.base)
        return USAGE.format(
            name=json.dumps(name),
            diffusion=json.dumps(_shown(source.diffusion)),
            clip=json.dumps(_shown(source.clip)),
            pipeline=PIPELINE,
        )


def _of_pipeline(key: str) -> str:
    """A tensor's name as diffusers loads it.

    It hands a text encoder's to transformers, which knows DoRA's magnitudes by their whole name
    only; peft takes both.
    """
    return f"{key}.weight" if re.match(r"text_encoder.*\.lora_magnitude_vector$", key) else key


def _write_peft(tensors: Mapping[str, Tensor], factors: Factors, base: str, folder: Path) -> None:
    """A folder of `PeftModel.from_pretrained`; B (…, r) of each layer says its rank."""
    from peft import LoraConfig

    marks = ".lora_B.weight"
    ranks = {k.removesuffix(marks): x.shape[1] for k, x in tensors.items() if k.endswith(marks)}
    config = LoraConfig(
        target_modules=sorted(ranks),
        rank_pattern=ranks,
        alpha_pattern=dict(ranks),
        use_dora=factors.dora,
        inference_mode=True,
        base_model_name_or_path=_shown(base),
    )
    folder.mkdir()
    config.save_pretrained(str(folder))
    named = {f"{PEFT}{key}": tensor.contiguous() for key, tensor in tensors.items()}
    save_file(named, folder / WEIGHTS, metadata={"format": "pt"})


def _shown(source: str) -> str:
    """A hub id as it is; a folder by its name: a path is of one machine."""
    return source if not Path(source).is_absolute() else Path(source).name
