"""What the processes of a run do that do not end by themselves."""

import os
import signal
import threading
import time

import pytest

from unidiff_cli.errors import Interrupted
from unidiff_cli.training.launch import GRACE, launch

# The first process ends by a signal. The second is in a call that no signal interrupts, as in a
# library that waits for the first.
MODULE = """
import os, signal, threading

def main(folder):
    open(f"{folder}/{os.environ['RANK']}", "w").close()
    if os.environ["RANK"] == "1":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Event().wait(120)
"""


def test_a_process_that_hears_no_signal_does_not_hold_up_the_others(tmp_path, monkeypatch):
    (tmp_path / "deaf_run.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def interrupt():
        while not all((tmp_path / rank).exists() for rank in "01"):
            time.sleep(0.1)
        times.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    times, started = [], threading.Thread(target=interrupt)
    started.start()
    with pytest.raises(Interrupted):
        launch("deaf_run", [str(tmp_path)], 2, tmp_path, lambda: None)
    started.join()
    assert time.monotonic() - times[0] < GRACE + 4
