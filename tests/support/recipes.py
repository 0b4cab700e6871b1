"""A small valid recipe, and the problems that a wrong one has."""

import pytest

from unidiff_cli.errors import RecipeError

# What a test adds begins on line 4.
GOOD = "schema_version: 2\nobjectives:\n  contrastive: {weight: 1.0}\n"


def problems(read, *args, **kwargs):
    """The sentences of the RecipeError that a call raises."""
    with pytest.raises(RecipeError) as caught:
        read(*args, **kwargs)
    assert caught.value.exit_code == 2
    return caught.value.problems
