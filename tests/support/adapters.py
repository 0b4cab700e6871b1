"""Adapters of low rank in a base, moved away from where they start."""

import torch

from unidiff_cli.config.lora import Lora
from unidiff_cli.models.low_rank import LowRank, adaptable_layers


def adapters_in(base, moved=True, **options) -> LowRank:
    """Puts adapters of rank 3 into a base; of `moved` ones the tensors are random."""
    lora = Lora(**{"rank": 3, **options})
    torch.manual_seed(0)
    adapters = LowRank(base, lora, adaptable_layers(base, lora, base.parameter_groups()))
    if moved:
        with torch.no_grad():
            for parameter in adapters.named_parameters().values():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return adapters
