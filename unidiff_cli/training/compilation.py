"""torch.compile of what a base's towers repeat: their blocks, one by one.

Blocks alike share their kernels, and a pass that ends inside a tower still works. What is between
blocks is little.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from unidiff_cli.config.train import Train
from unidiff_cli.errors import EnvironmentProblem

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

# The classes of blocks in diffusers' UNet, in transformers' CLIP and in its SigLIP.
BLOCKS = {"ResnetBlock2D", "BasicTransformerBlock", "CLIPEncoderLayer", "SiglipEncoderLayer"}
COMPILERS = ("g++", "clang++", "cl")


def require(options: Train) -> None:
    """Raises EnvironmentProblem where a run is to be compiled and there is no C++ compiler."""
    named = [os.environ["CXX"]] if os.environ.get("CXX") else COMPILERS
    if options.compile and not any(map(shutil.which, named)):
        raise EnvironmentProblem(
            f"train.compile needs a C++ compiler, and {' or '.join(named)} is not here.",
            "Install one, as with: apt install g++; or leave train.compile out.",
        )


def compile_blocks(base: BaseModel) -> None:
    """Compiles the blocks that train, each when it is first used. Names of weights stay."""
    towers = (p for parameters in base.parameter_groups().values() for p in parameters)
    own = {id(p) for p in towers}
    for module in base.modules():
        # The autoencoder has such blocks too.
        if type(module).__name__ in BLOCKS and any(id(p) in own for p in module.parameters()):
            module.compile()
