"""How time and memory are measured: in turns, on all cores, in fresh processes. Linux only."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from unidiff_cli.machine import cores, processor

PEERS = ("clean-fid", "torch-fidelity", "torch", "scipy", "numpy", "pillow")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


# ---------------------------------------------------------------- the machine


def machine_facts() -> dict[str, Any]:
    """The processor, its cores, the versions, and the load.

    A load well under one a core is needed, or others take part in the times.
    """
    return {
        "processor": processor(),
        "cores": cores(),
        "python": platform.python_version(),
        **{name: version(name) for name in PEERS},
        "load_before": os.getloadavg()[0],
    }


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Sets environment variables for processes started here, and puts back what was before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})


@contextmanager
def all_cores() -> Iterator[None]:
    """Processes started here use as many threads as there are cores, in every library alike."""
    with environment(**dict.fromkeys(THREADS, str(cores()))):
        yield


def in_fresh_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What work returns in a process of its own.

    Nothing that ran before is in its memory, or its threads.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


# ---------------------------------------------------------------- time


def seconds(
    work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, Any]:
    """The seconds that work takes, and what it returns.

    By `time.process_time` they are those that this process computed, whoever else does.
    """
    start = clock()
    result = work()
    return clock() - start, result


def in_turns(
    candidates: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Seconds (rounds,) of each candidate, a, b, c, a, b, c, and what each returned at last."""
    spent: dict[str, list[float]] = {name: [] for name in candidates}
    results = {}
    for _ in range(rounds):
        for name, work in candidates.items():
            took, results[name] = seconds(work, clock)
            spent[name].append(took)
    return {name: np.array(values) for name, values in spent.items()}, results


def ratio(name: str, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """The median over rounds of a/b, and the least and the most."""
    values = a / b
    median = float(np.median(values))
    return {name: median, f"{name}_least": values.min(), f"{name}_most": values.max()}


def medians(spent: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The median seconds of each candidate."""
    return {f"{name}_seconds": statistics.median(values) for name, values in spent.items()}


def pace(side: int = 1024, times: int = 20) -> float:
    """GFLOP/s of a float32 product on all cores, the best of some.

    That is the bound of all that is made of products.
    """
    x, y = np.random.default_rng(0).random((2, side, side), np.float32)
    return 2 * side**3 / min(seconds(lambda: x @ y)[0] for _ in range(times)) / 1e9


def with_pace(work: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Figures, with the machine's pace before and after: what is not `steady` was disturbed."""
    before = pace()
    figures = work()
    after = pace()
    steady = min(before, after) / max(before, after)
    return figures | {"gemm_gflops": max(before, after), "steady": steady}


# ---------------------------------------------------------------- memory


def peak_growth(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """By how many MB the peak of resident memory passes what was resident before.

    Then the seconds, and what work returns.
    """
    # The peak starts again from here.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    took, result = seconds(work)
    return resident("VmHWM") - before, took, result


def resident(name: str = "VmRSS") -> float:
    """MB of this process now, or the most there were (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


# ---------------------------------------------------------------- outputs


def relative_difference(x: np.ndarray, y: np.ndarray) -> float:
    """The largest difference, over the largest of y."""
    return float(np.abs(x - y).max() / np.abs(y).max())
