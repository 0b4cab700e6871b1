"""Processes that are killed where they use files, or in the write that makes one too large."""

import os
import resource
import signal
import sys

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree")


class Killer:
    """Kills this process before its n-th event below a folder; counts them."""

    def __init__(self, root, at=0):
        self.root, self.at, self.count = str(root), at, 0
        fsync = os.fsync

        def syncing(handle):
            self.happen(os.readlink(f"/proc/self/fd/{handle}"))
            fsync(handle)

        os.fsync = syncing
        sys.addaudithook(self.hear)

    def hear(self, event, arguments):
        writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE)
        if event in EVENTS and writes and isinstance(arguments[0], str | os.PathLike):
            self.happen(os.fspath(arguments[0]))

    def happen(self, path):
        if path.startswith(self.root) and ".unidiff.lock" not in path:
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)


def in_a_child(call, root, at=0, size=0):
    """The events of a call below a folder, in a fork; None where it was killed.

    That happens before its event `at`, or in the write that makes a file larger than `size` bytes.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            killer = Killer(root, at)
            if size:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            call()
            os.write(writing, str(killer.count).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as stream:
        count = stream.read()
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == (signal.SIGXFSZ if size else signal.SIGKILL)
        return None
    assert os.waitstatus_to_exitcode(status) == 0
    return int(count)


def kill_at_rename(number: int) -> None:
    """From now on this process is killed before its rename of a folder that has this number."""
    replace, renamed = os.replace, []

    def killing(source, target):
        if os.path.isdir(source):
            renamed.append(target)
            if len(renamed) == number:
                os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = killing
