"""Filesystems of other places (S3, Google, Azure, the hub, SFTP, …), which fsspec opens.

Their errors have no common class: `reached` makes OSErrors of them, without credentials.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unidiff_cli.addresses import scheme_of, without_secrets
from unidiff_cli.errors import EnvironmentProblem, UsageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# The extra of this package that reads a scheme.
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
# Schemes of fsspec that are ways to read another address, or no place of files.
WRAPPERS = frozenset(
    """
    async_wrapper asyncwrapper asynclocal blockcache cached data dir filecache generic jlab jupyter
    libarchive pyscript reference simplecache tar zip
    """.split()
)


def filesystem_of(address: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of an address, and its own word for the place.

    Raises UsageError for an address of a kind that is not read, and EnvironmentProblem where a
    package is missing or the place cannot be reached.
    """
    import fsspec

    named, scheme = without_secrets(address), scheme_of(address)
    if "::" in address or scheme in WRAPPERS:
        raise UsageError(f"{named} wraps another address.", "Name the place itself.")
    try:
        filesystem, path = fsspec.url_to_fs(address)
    except ImportError as problem:
        raise _missing(problem, scheme) from problem
    except ValueError as problem:
        raise UsageError(
            f"{named} cannot be read: {without_secrets(str(problem))}.",
            "Known: paths, file:, s3://, gs://, az://, hf://, and what fsspec knows.",
        ) from problem
    # What a filesystem raises when it is made has no common base class.
    except Exception as problem:
        raise EnvironmentProblem(
            f"{named} cannot be reached: {words_of(problem)}.",
            "Check the address, the network, and the credentials of this machine.",
        ) from problem
    return filesystem, path


def _missing(problem: ImportError, scheme: str) -> EnvironmentProblem:
    cause = problem.__cause__ if isinstance(problem.__cause__, ImportError) else problem
    if scheme in EXTRAS and isinstance(cause, ModuleNotFoundError) and cause.name:
        return EnvironmentProblem(
            f"{scheme}:// needs the package {cause.name}, which is not installed.",
            f"Run: pip install 'unidiff-cli[{EXTRAS[scheme]}]'",
        )
    return EnvironmentProblem(
        f"{scheme}:// needs a package that is not installed: {words_of(problem)}.",
        "Install it with pip, beside unidiff-cli.",
    )


@contextmanager
def reached(address: str) -> Iterator[None]:
    """Makes an OSError with few words of whatever a filesystem raises."""
    try:
        yield
    except FileNotFoundError as problem:
        raise FileNotFoundError(errno.ENOENT, "no such file", address) from problem
    except PermissionError as problem:
        raise OSError(errno.EACCES, words_of(problem), address) from problem
    except ImportError:
        raise
    # The libraries of each place have errors of their own.
    except Exception as problem:
        raise OSError(errno.EPROTO, words_of(problem), address) from problem


def words_of(problem: BaseException) -> str:
    """What an error says, short and without secrets."""
    text = str(getattr(problem, "strerror", None) or problem) or type(problem).__name__
    return without_secrets(" ".join(text.split())[:200]).rstrip(".")
