"""Plain files: opened only when they are none that waits, has no end, or is the kernel's.

A pipe, a device or a socket is recognised before it is opened. One that takes the place of a file
in between is opened without waiting, recognised by its descriptor and closed.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cache
from typing import IO

# Filesystems whose files are made as they are read.
_KERNEL = frozenset(
    """
    autofs binder binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl
    mqueue nsfs proc pstore rpc_pipefs securityfs selinuxfs sysfs tracefs
    """.split()
)
REFUSED = "no plain file: a pipe, a device, a socket or a file of the kernel"


def open_plain(path: str | os.PathLike[str]) -> IO[bytes]:
    """A file for reading. Raises OSError, and for what is no plain file without opening it."""
    _refuse(os.stat(path), path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _refuse(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def is_plain(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and not is_kernels(status)


def is_kernels(status: os.stat_result) -> bool:
    """Whether a file or folder is the kernel's, as all below /proc are."""
    return status.st_dev in _kernel_devices()


def _refuse(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not is_plain(status):
        raise OSError(errno.EINVAL, REFUSED, str(path))


@cache
def _kernel_devices() -> frozenset[int]:
    """The device numbers of the kernel's filesystems; none where the system lists no mounts."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            lines = [line.split() for line in mounts]
    except OSError:
        return frozenset()
    # 36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw
    numbers = (line[2].split(":") for line in lines if line[line.index("-") + 1] in _KERNEL)
    return frozenset(os.makedev(int(major), int(minor)) for major, minor in numbers)
