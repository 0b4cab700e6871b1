"""Starts the processes of a training run, passes signals on to them and takes their errors.

Neither torchrun nor accelerate starts them: torchrun listens on every interface and its processes
outlive it, and `accelerate launch --cpu` starts a single process and says nothing (torch 2.14,
accelerate 1.15). accelerate finds the processes by the environment, as torchrun sets it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from unidiff_cli import machine, processes, signals
from unidiff_cli.errors import WorkError
from unidiff_cli.processes import Child

# What the launched processes print.
OUTPUT = "workers.log"
LOOPBACK = "127.0.0.1"
# Seconds between two looks at the processes.
INTERVAL = 0.2
# Seconds that the others have to end by themselves once one has. A signal may find one of them in a
# library that waits for the one that ended, which no signal interrupts. Nothing is lost with it: a
# checkpoint is whole before any process of a run ends at it.
GRACE = 5


def launch(
    module: str,
    arguments: list[str],
    count: int,
    folder: Path,
    poll: Callable[[], None],
    variables: Mapping[str, str] | None = None,
) -> None:
    """Runs the `main` of a module in `count` processes that find each other.

    `variables` are for their environment, beside those by which they meet. `poll` is called five
    times a second. Their output goes to folder/workers.log; a signal to this process is passed on;
    the error that one leaves is raised here.
    """
    (folder / processes.FAILURE).unlink(missing_ok=True)
    output, ranks = folder / OUTPUT, list[Child]()
    with signals.held() as caught, _meeting_point(count) as meeting:
        try:
            for rank in range(count):
                place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                threads = machine.cores() // count
                environment = {**(variables or {}), **meeting, **place}
                ranks.append(
                    processes.start(module, arguments, folder, output, threads, **environment)
                )
            _wait(ranks, caught, poll)
        finally:
            # After an error of this process, or of one of them.
            processes.end(ranks)
        poll()
        if problem := processes.left(folder):
            raise problem
    if failed := [rank.returncode for rank in ranks if rank.returncode]:
        raise WorkError(f"A training process ended with {failed[0]}.", f"Its output: {output}")


@contextmanager
def _meeting_point(count: int) -> Iterator[dict[str, str]]:
    """The variables by which `count` processes find each other, over the loopback address alone."""
    from torch.distributed import TCPStore

    # The store's own socket would listen on every interface.
    listener = socket.create_server((LOOPBACK, 0))
    port = listener.getsockname()[1]
    store = TCPStore(
        LOOPBACK,
        port,
        count,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )
    loopback = machine.interface_of(LOOPBACK)
    yield {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(port),
        # The store is there: none of them opens one.
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
    }
    del store


def _wait(ranks: Sequence[Child], caught: Callable[[], int], poll: Callable[[], None]) -> None:
    """Returns when all ended, or some time after one failed."""
    passed_on, latest = False, float("inf")
    while None in (codes := [rank.poll() for rank in ranks]):
        if caught() and not passed_on:
            passed_on = True
            for rank in ranks:
                rank.send_signal(caught())
        if any(codes):
            latest = min(latest, time.monotonic() + GRACE)
        if time.monotonic() > latest:
            return
        time.sleep(INTERVAL)
        poll()
