"""A module in float64 for a script that compares the gradients of one and of two processes."""

import os

import torch

from tests.support.projects import load_recipe
from unidiff_cli.models.loading import load_base
from unidiff_cli.training.adapter import adapted
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups, trained_parameters


def processes():
    """How many processes there are, and which this one is."""
    return int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))


def moved_module(folder, assignments, recipe=None):
    """A module ready to train, its parameters a little off the base's.

    An anchor is flat at the base; off it every term has a gradient.
    """
    recipe = recipe or load_recipe(folder, *assignments)
    base = load_base(folder, 32)
    options, adapters = recipe.train, adapted(base, recipe)
    module = TrainingModule(base, recipe.active(), 0, options.chunk, adapters=adapters)
    module.double().train()
    parameter_groups(module, options)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trained_parameters(module).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return module
