"""Errors are the same in another process."""

import pickle
import signal

import pytest

from unidiff_cli import errors

RAISED = [
    errors.UsageError("This is wrong.", "Do that."),
    errors.Problems(["One.", "Two."], "Do that."),
    errors.RecipeError(["a.yaml:1: wrong", "a.yaml:2: wrong"]),
    errors.EnvironmentProblem("No disk."),
    errors.Interrupted(signal.SIGTERM, "Stopped.", "Go on."),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: type(raised).__name__)
def test_an_error_is_the_same_after_a_pool_of_processes_brought_it(raised):
    brought = pickle.loads(pickle.dumps(raised))
    assert type(brought) is type(raised)
    assert (str(brought), vars(brought)) == (str(raised), vars(raised))
    assert brought.exit_code == raised.exit_code
