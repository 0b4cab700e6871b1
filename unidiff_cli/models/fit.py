"""How CLIP sees an image that is not square, in the words of its own preprocessing.

transformers' processors know three ways, so an export needs no code of ours to see images as its
training did: `preprocessor_config.json` says it.
"""

from __future__ import annotations

from typing import Any, Literal

# crop: the shortest side is scaled, the middle stays. pad: the longest side is scaled, the rest is
# black. stretch: both sides are scaled to the same length.
Fit = Literal["crop", "pad", "stretch"]


def fitted(processor: Any, fit: Fit, side: int) -> Any:
    """A processor of transformers that makes squares of a side in this way, else the same."""
    square = {"height": side, "width": side}
    sizes = {
        "crop": {"shortest_edge": side},
        "pad": {"max_height": side, "max_width": side},
        "stretch": square,
    }
    changes = {
        "size": sizes[fit],
        "crop_size": square,
        "do_resize": True,
        # A centre crop larger than the image fills it up with black.
        "do_center_crop": fit != "stretch",
    }
    return type(processor).from_dict({**processor.to_dict(), **changes})


def fit_of(processor: Any) -> Fit:
    """How a processor makes squares."""
    if "max_height" in processor.size:
        return "pad"
    return "crop" if "shortest_edge" in processor.size else "stretch"
