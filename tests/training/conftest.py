"""Training tests leave no accelerator behind: the next one may want another precision."""

import pytest


@pytest.fixture(autouse=True)
def fresh_accelerator():
    from accelerate.state import AcceleratorState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)
