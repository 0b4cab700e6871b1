"""Figures by part, and what each is to reach."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Figures = dict[str, float]


@dataclass(frozen=True)
class Target:
    """A bound of a figure: at least, or at most."""

    bound: float
    at_least: bool = True

    def reached(self, value: float) -> bool:
        """Whether a value is on the right side of the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


# By "part.name".
TARGETS = {
    "autoencoder.luma_psnr_db": Target(29.0),
    "autoencoder.luma_hue_error_degrees": Target(8.0, at_least=False),
    "autoencoder.photos_psnr_db": Target(29.0),
    "autoencoder.photos_hue_error_degrees": Target(8.0, at_least=False),
    "clip.photos": Target(0.75),
    "clip.text_to_image_r@1": Target(0.60),
    "clip.objects": Target(0.85),
    # What the scorer of 2026-11-22 has.
    "clip.photos_neighbours": Target(0.414),
    "clip.grocery_neighbours": Target(0.475),
    "generation.color": Target(0.95),
    "generation.pattern": Target(0.80),
    "generation.probe_unseen": Target(0.95),
    "generation.type": Target(0.92),
    "generation.type_held_out": Target(0.75),
    "speed.eight_images_seconds": Target(4.0, at_least=False),
    "speed.loading_seconds": Target(1.5, at_least=False),
}


def lines(figures: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """A line for every figure of every part, with its target and whether it is reached."""
    for part, values in figures.items():
        for name, value in values.items():
            line = f"{part}.{name:<{38 - len(part)}} {value:>12.4g}"
            if target := TARGETS.get(f"{part}.{name}"):
                sign, verdict = ">=" if target.at_least else "<=", target.reached(value)
                line += f"  target {sign} {target.bound:g}: {'reached' if verdict else 'missed'}"
            yield line
