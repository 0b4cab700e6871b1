"""A file system so small that it can be filled."""

from tests.support.disks import small_disk  # noqa: F401
