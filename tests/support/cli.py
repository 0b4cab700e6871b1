"""The command line as a person meets it: in this process, and as a process that gets signals."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.projects import FASHION
from unidiff_cli.project import run_log

UNIDIFF = str(Path(sys.executable).parent / "unidiff")
PROJECT_FILE = """\
schema_version: 2
recipe: {fashion}
base: {base}
prepare: {{near_duplicates: 0, workers: 1}}
evaluate: {{metrics: [recall]}}
"""
# A training that goes on until a signal ends it.
LONG = (
    "train.steps=5000",
    "train.checkpoint_every=5000",
    "train.validate_every=5000",
    "train.warmup=1",
)


def on_tiny_base(project, base):
    """The project, whose own file now names the tiny base: commands can be typed as they are."""
    project.file.write_text(PROJECT_FILE.format(fashion=FASHION, base=base))
    return project


def words(text: str) -> str:
    """The text without its line breaks."""
    return " ".join(text.split())


class Training:
    """`unidiff train` in a process of its own."""

    def __init__(self, project, *arguments):
        self.run = project.path("runs", "001-fashion")
        # A shell may have started the tests with SIGINT ignored, and nohup with SIGHUP.
        code = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
            "from unidiff_cli.cli import main; main()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "-C", str(project.root), "train", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def steps(self):
        """The steps that the run logged."""
        return [line["step"] for line in run_log.read(self.run) if "loss" in line]

    def until(self, reached):
        """Waits until a condition holds of the logged steps."""
        deadline = time.monotonic() + 150
        while not reached(self.steps()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "no step in time"
            time.sleep(0.02)

    def until_step(self, step):
        self.until(lambda steps: max(steps, default=0) >= step)

    def send(self, signum):
        """Sends a signal; the exit code, standard output and standard error."""
        self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=90)
        return self.process.returncode, out, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
