"""A process that `processes.start` starts and that does not end with its parent."""

import ctypes
import time

from unidiff_cli.processes import PR_SET_PDEATHSIG


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)
    print("lives on", flush=True)
    time.sleep(60)
