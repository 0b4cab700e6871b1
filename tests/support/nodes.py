"""Two machines that share a disk: namespaces with processes, a name and a network of their own."""

import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

# Their addresses in the network between them.
ADDRESSES = ("10.213.0.1", "10.213.0.2")
OWN = ["-n", "-u", "-p", "--fork", "--kill-child", "--mount-proc", "sleep", "86400"]


class Nodes:
    """Starts commands on one of two machines. Each has a process 1, and a `localhost`."""

    def __init__(self, inside: list[int]) -> None:
        self._inside = inside

    def start(self, node: int, *arguments: str, **options) -> subprocess.Popen:
        """A Python command on a machine."""
        command = [*_enter(self._inside[node], "-n", "-u", "-p", "-m"), sys.executable, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, **{**pipes, **options})


@contextmanager
def two_nodes():
    """The machines, where this one may make namespaces; else the test is skipped."""
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("unshare, nsenter and ip are not here")
    with ExitStack() as stack:
        first = _inside(stack, ["unshare", "-U", "-r", *OWN])
        second = _inside(stack, [*_enter(first), "unshare", *OWN])
        net = [*_enter(first, "-n"), "ip", "link", "add", "v0", "type", "veth", "peer", "name"]
        _run(*net, "v1", "netns", str(second))
        for node, inside in enumerate((first, second)):
            ip = [*_enter(inside, "-n"), "ip"]
            _run(*_enter(inside, "-u"), "hostname", f"node{node}")
            _run(*ip, "address", "add", f"{ADDRESSES[node]}/24", "dev", f"v{node}")
            for device in ("lo", f"v{node}"):
                _run(*ip, "link", "set", device, "up")
        yield Nodes([first, second])


def _enter(process: int, *namespaces: str) -> list[str]:
    return ["nsenter", "-t", str(process), "-U", "--preserve-credentials", *namespaces]


def _inside(stack: ExitStack, command: list[str]) -> int:
    """The process 1 of a new machine, as it is called here."""
    process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
    stack.callback(process.kill)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + 5
    while process.poll() is None and time.monotonic() < until:
        if found := children.read_text().split():
            child = Path("/proc", found[0])
            if (child / "comm").read_text().strip() == "sleep":
                return int(found[0])
        time.sleep(0.02)
    pytest.skip("no namespaces can be made here")


def _run(*command: str) -> None:
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"not allowed here: {' '.join(command[-6:])}")
