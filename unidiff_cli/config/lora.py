"""The keys of `train.lora`: adapters of low rank, and in which layers they lie."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
)

from unidiff_cli.config.values import Positive, Section

# Kinds of layers, or ends of their names.
Targets = Annotated[tuple[str, ...], Field(min_length=1)]


class TowerLora(Section):
    """What one tower's adapter has of its own; null: as `train.lora` says for all."""

    rank: Positive | None = Field(None, description="the tower's own rank")
    targets: Targets | None = Field(None, description="the tower's own targets")


class Lora(Section):
    """Adapters of low rank, through peft: they train, and the weights beside them stay."""

    rank: Positive = Field(
        16, description="the rank r of each adapter; train.lora: null trains the weights instead"
    )
    alpha: Annotated[float, Field(gt=0)] | None = Field(
        None, description="an adapter's product counts alpha / rank; null: as the rank, so once"
    )
    dora: bool = Field(
        False, description="DoRA: the size of each output's weights trains apart from its direction"
    )
    targets: Targets = Field(
        ("linear",),
        description="layers with an adapter: attention, linear, convolutions, or names as in peft",
    )
    lr_factor: Annotated[float, Field(gt=0)] = Field(
        10, description="an adapter trains at so many times its tower's train.lr"
    )
    towers: tuple[Literal["vision", "text", "denoiser"], ...] = Field(
        ("vision", "text", "denoiser"),
        description="the towers that train by adapters; others train their weights",
    )
    vision: TowerLora = TowerLora()
    text: TowerLora = TowerLora()
    denoiser: TowerLora = TowerLora()

    @field_validator("towers")
    @classmethod
    def _one_at_least(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name a tower, or set train.lora to null")
        return value

    @property
    def kind(self) -> str:
        """What people call it."""
        return "DoRA" if self.dora else "LoRA"

    def rank_of(self, tower: str) -> int:
        """The rank of a tower's adapters."""
        return self._own(tower).rank or self.rank

    def targets_of(self, tower: str) -> tuple[str, ...]:
        """The layers of a tower that have one."""
        return self._own(tower).targets or self.targets

    def scale_of(self, tower: str) -> float:
        """α/r, what multiplies an adapter's product."""
        return 1.0 if self.alpha is None else self.alpha / self.rank_of(tower)

    def _own(self, tower: str) -> TowerLora:
        return getattr(self, tower)
