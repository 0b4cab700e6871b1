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


def leaves(model, prefix=""):
    """Every key of a model that is no section: its dotted name and its field."""
    for key, field in model.model_fields.items():
        options = getattr(field.annotation, "__args__", (field.annotation,))
        sections = [kind for kind in options if hasattr(kind, "model_fields")]
        for section in sections:
            yield from leaves(section, f"{prefix}{key}.")
        if not sections or len(options) > len(sections) + (type(None) in options):
            yield f"{prefix}{key}", field
