"""How deep a parameter of CLIP's towers lies, for training their upper ends or these faster."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from unidiff_cli.config.train import Train
from unidiff_cli.errors import UsageError
from unidiff_cli.models.needs import Tower

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

# A parameter of a block as transformers names it: the tower, its stack of blocks, the number.
BLOCK = re.compile(r"(?P<tower>.*\.)\w+\.layers\.(?P<number>\d+)\.")


def depths(names: Sequence[str]) -> dict[str, int]:
    """How many blocks lie above each parameter, by its name; names in the order of the modules.

    0 of the last block and of all behind it (norms, projections, scales); the number of blocks of
    what comes before the first (embeddings). A tower may consist of several, one after the other.
    """
    blocks = {name: match for name in names if (match := BLOCK.match(name))}
    counts: dict[str, int] = {}
    for match in blocks.values():
        tower = match["tower"]
        counts[tower] = max(counts.get(tower, 0), int(match["number"]) + 1)
    entered, found = set[str](), dict[str, int]()
    for name in names:
        if match := blocks.get(name):
            entered.add(match["tower"])
            found[name] = counts[match["tower"]] - 1 - int(match["number"])
        else:
            ahead = (tower for tower in counts.keys() - entered if name.startswith(tower))
            found[name] = max((counts[tower] for tower in ahead), default=0)
    return found


def upper_part(base: BaseModel, tower: Tower, options: Train) -> list[tuple[nn.Parameter, float]]:
    """The parameters of a tower that `train.last_layers` lets train, highest first, each with the
    share of the tower's rate that `train.layer_decay` gives it.

    Raises UsageError for more blocks than the tower has.
    """
    parameters = base.parameter_groups()[tower]
    last = getattr(options.last_layers, tower, 0)
    if tower not in ("vision", "text") or not (last or options.layer_decay < 1):
        return [(p, 1.0) for p in parameters]
    names = {id(p): name for name, p in base.named_parameters()}
    deep = depths([names[id(p)] for p in parameters])
    blocks = max(deep.values())
    if last > blocks:
        raise UsageError(
            f"train.last_layers.{tower} is {last}, and the tower has {blocks} blocks.",
            f"Take at most {blocks}, or 0 for the whole tower.",
        )
    upper = [(p, deep[names[id(p)]]) for p in parameters]
    upper.sort(key=lambda pair: pair[1])
    return [(p, options.layer_decay**d) for p, d in upper if not last or d < last]
