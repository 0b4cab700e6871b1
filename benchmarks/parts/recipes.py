"""The recipes that training is measured with: shipped ones on nano, in fp32."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unidiff_cli.config.schema import Recipe


def recipe_of(name: str, batch: int, *assignments: str) -> "Recipe":
    """A shipped recipe at a batch size.

    The cosine of the gradients is measured by itself.
    """
    from unidiff_cli import load_recipe

    fixed = (
        "base=nano",
        f"train.batch_size={batch}",
        "train.measure_gradients_every=0",
        "train.precision=fp32",
    )
    return load_recipe(name, assignments=[*fixed, *assignments])
