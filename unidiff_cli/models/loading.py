"""A base by what a recipe names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base

from unidiff_cli import registry
from unidiff_cli.models.sources import resolve_base


def load_base(base: Any, image_size: int) -> Base:
    """The base itself, on the CPU in fp32. Raises UsageError, EnvironmentProblem (weights not here)."""
    _, source = resolve_base(base)
    family: Any = registry.load("models", source.family())
    return family.load(source, image_size)
