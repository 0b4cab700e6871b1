"""A recipe file in a temporary folder."""

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a recipe file and gives its path as `read_recipe` takes it."""

    def write(text, name="mine.yaml"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(file)

    return write
