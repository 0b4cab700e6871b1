"""Layers added to a base: a named set that trains beside the base's own weights and is saved apart.

DiffDis's dual stream is one kind. An objective says which it trains (`Objective.layers`), training
and export attach them to the base, and the base's family lists those it can read back from a
folder. Adapters of low rank are no such layers: they are merged into the base's weights
(`low_rank.py`), and `Factors` is what a format that keeps them apart stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from unidiff_cli.models.needs import Tower


class AddedLayers(ABC):
    """What is attached beside a base. `name` is its key in `base.added` and its folder's name."""

    name: ClassVar[str]

    @abstractmethod
    def attach(self, base: Any) -> None:
        """Registers the layers with a base, on its device, so that they move and count with it.

        Their parameters are then in the base's state dict. Attaching the same layers again changes
        nothing. Raises UsageError for a base that these layers do not fit.
        """

    @abstractmethod
    def parameters(self) -> Iterator[nn.Parameter]:
        """What trains, at the rate `train.lr.new_layers`."""

    @abstractmethod
    def scales(self) -> list[nn.Parameter]:
        """Logarithms of learned temperatures among them, which training keeps below ln 100."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the layers into the subfolder `name` of a saved base, fp32 safetensors."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self | None:
        """The layers in the subfolder `name` of a saved base; None where there is none."""


@dataclass(frozen=True)
class Factors:
    """The adapters of low rank that a run trained, apart from its base.

    `tensors` have peft's names behind the base's, such as `unet.….to_q.lora_A.weight`, with α/r
    multiplied into B. `towers` are those of the base's layers. `others` are the towers that the run
    trained beside them, which these tensors lack.
    """

    tensors: Mapping[str, Tensor]
    towers: Mapping[str, Tower]
    dora: bool
    others: tuple[Tower, ...] = ()
