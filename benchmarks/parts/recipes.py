"""The recipes that training is measured with: shipped ones on nano, in fp32."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unidiff_cli.config.schema import Recipe

# The side of nano's images.
SIDE = 128


def recipe_of(name: str, batch: int, *assignments: str) -> "Recipe":
    """A shipped recipe at a batch size, with the terms that peers or control have, and consistency.

    The cosine of the gradients is measured by itself.
    """
    from unidiff_cli import load_recipe

    extra = ("image_contrast", "prior", "anchor")
    fixed = (
        "base=nano",
        f"train.batch_size={batch}",
        # Only nano's own number of steps is known.
        "train.steps=85",
        "train.measure_gradients_every=0",
        "train.precision=fp32",
        *(f"objectives.{term}=null" for term in extra),
    )
    return load_recipe(name, assignments=[*fixed, *assignments])
