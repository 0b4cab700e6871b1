"""One text tower between a CLIP and a pipeline: whether both copies are one, and how it is shared.

A pipeline's text encoder has CLIP's layers, all (SD 1.x, SDXL) or all but the last (SD 2.x). It is
made of CLIP's own modules, so that training moves what both read and saving writes one tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from unidiff_cli.errors import UsageError
from unidiff_cli.models import skeleton
from unidiff_cli.models.siglip import is_siglip
from unidiff_cli.models.sources import Source

# Two copies of one text tower, one of them once stored in half precision.
TOLERANCE = 2e-3
# What else than its weights decides what a tower computes.
COMPUTES = ("hidden_act", "num_attention_heads")
PROJECTION = "text_projection.weight"
# Where a forward of this thread leaves what comes out of a watched layer.
_kept: ContextVar[list[Tensor] | None] = ContextVar("kept", default=None)


def share(encoders: Mapping[str, Any], clip: Any, source: Source) -> str | None:
    """Builds the one of a pipeline's text encoders that is CLIP's of its modules; its name.

    None for a CLIP that stands apart. Raises UsageError where none has CLIP's shape, or where the
    weights differ; without weights the first that has the shape is taken.
    """
    if source.text == "apart":
        return None
    fitting = [name for name, encoder in encoders.items() if _fits(encoder, clip)]
    if not fitting:
        raise UsageError(
            f"The text tower of {source.clip} has another shape than the one "
            f"{source.diffusion} was trained with.",
            "SD 1.x needs openai/clip-vit-large-patch14, SD 2.x "
            "laion/CLIP-ViT-H-14-laion2B-s32B-b79K, SDXL the first or "
            "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k; or give the CLIP folder that came with it. "
            "With text: apart any CLIP or SigLIP will do, and the denoiser keeps its own tower.",
        )
    if skeleton.wanted():
        _lend(clip, encoders[fitting[0]])
        return fitting[0]
    gaps = {name: _gap(encoders[name], clip) for name in fitting}
    name = min(fitting, key=lambda name: gaps[name])
    if gaps[name] > TOLERANCE and source.text is None:
        raise UsageError(
            f"The text weights of {source.diffusion} and {source.clip} differ by up to "
            f"{gaps[name]:.3g} (tolerance {TOLERANCE}).",
            "Say which one wins: base: {diffusion: …, clip: …, text: diffusion} (or text: clip).",
        )
    if source.text != "clip":
        for key, weight in _weights(encoders[name]).items():
            _of_clip(clip)[key].copy_(weight)
    _lend(clip, encoders[name])
    return name


def layers_read(encoder: Any) -> int:
    """The layers of a text encoder after which a denoiser reads it, where it reads its output."""
    return len(_inner(encoder).encoder.layers)


def watch(tower: Any, layers: int) -> None:
    """Lets `hidden_states` read a tower's states after so many layers."""
    tower.encoder.layers[layers - 1].register_forward_hook(_keep)


def hidden_states(tower: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """States (n, L, d) of token ids (n, L) after the watched layer, before the final norm.

    And the pooled output (n, d) of all layers, which a projection reads. transformers' own
    `output_hidden_states` counts a layer twice that two models share.
    """
    kept: list[Tensor] = []
    token = _kept.set(kept)
    try:
        pooled = tower(input_ids=ids).pooler_output
    finally:
        _kept.reset(token)
    [states] = kept
    return states, pooled


def _keep(layer: Any, inputs: Any, output: Any) -> None:
    if (kept := _kept.get()) is not None:
        kept.append(output[0] if isinstance(output, tuple) else output)


def _fits(encoder: Any, clip: Any) -> bool:
    """Whether an encoder has the shapes of the first layers of a CLIP's text tower."""
    if is_siglip(clip):
        return False
    known, text = _of_clip(clip), clip.config.text_config
    shapes = (
        key in known and known[key].shape == weight.shape
        for key, weight in _weights(encoder).items()
    )
    return all(shapes) and all(getattr(encoder.config, k) == getattr(text, k) for k in COMPUTES)


def _gap(encoder: Any, clip: Any) -> float:
    """The largest difference of two copies' weights."""
    known = _of_clip(clip)
    return max(float((known[key] - w).abs().max()) for key, w in _weights(encoder).items())


def _lend(clip: Any, encoder: Any) -> None:
    """Puts CLIP's modules in the place of an encoder's own."""
    tower, inner = clip.text_model, _inner(encoder)
    inner.embeddings, inner.final_layer_norm = tower.embeddings, tower.final_layer_norm
    for number in range(layers_read(encoder)):
        inner.encoder.layers[number] = tower.encoder.layers[number]
    if hasattr(encoder, "text_projection"):
        encoder.text_projection = clip.text_projection


def _inner(encoder: Any) -> Any:
    """The transformer of a text encoder, with a projection above it or without."""
    return getattr(encoder, "text_model", encoder)


def _weights(encoder: nn.Module) -> dict[str, Tensor]:
    """An encoder's weights by the names that CLIP's tower has for them."""
    state = encoder.state_dict()
    return {k.removeprefix("text_model."): w for k, w in state.items() if w.is_floating_point()}


def _of_clip(clip: Any) -> dict[str, Tensor]:
    """The weights of a CLIP's text tower and of its projection."""
    projection = getattr(clip.text_projection, "weight", None)
    own = {} if projection is None else {PROJECTION: projection.detach()}
    return {**_weights(clip.text_model), **own}
