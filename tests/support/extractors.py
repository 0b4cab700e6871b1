"""A script in the place of Inception's file."""

import torch


class MeanLayer(torch.nn.Module):
    """An image's mean as the first of 2,048 features; the others are 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x.mean(dim=(1, 2, 3)).unsqueeze(1), (0, 2047))


class _Script(torch.nn.Module):
    """Called as NVIDIA's file is, whose own forward resizes again."""

    def __init__(self, layers: torch.nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return self.layers(x) * 0 - 1


def script_of(layers: torch.nn.Module) -> torch.jit.ScriptModule:
    """A TorchScript of these layers."""
    return torch.jit.script(_Script(layers).eval())
