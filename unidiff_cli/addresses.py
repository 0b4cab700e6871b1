"""Addresses as text: a path or a URL, which scheme it has, and how it is shown without secrets."""

from __future__ import annotations

import re
from urllib.parse import unquote

# Schemes of files of this machine, and of the web.
LOCAL, WEB = ("file", "local"), ("http", "https")
# A scheme of one letter is a drive of Windows.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)(?:://|::\S+://)|(file|data):", re.IGNORECASE)
# A name with a password before a host, and parts of a query that let anybody in.
_LOGIN = re.compile(r"(?<=://)[^/\s@:]*:[^/\s]*@")
_SECRET = re.compile(
    r"([?&;](?:[^=&;#\s]*[-_.])?"
    r"(?:sig|signature|\w*token|secret|password|passwd|pwd|\w*key|\w*keyid|auth|credential|policy)"
    r"(?:[-_.][^=&;#\s]*)?=)[^&;#\s]+",
    re.IGNORECASE,
)


def scheme_of(address: str) -> str:
    """s3 of s3://shop/a.jpg, in lower case; "" where it is a path."""
    match = _SCHEME.match(address)
    return (match[1] or match[2]).lower() if match else ""


def file_path(address: str) -> str:
    """The path that an address such as file:///shop/a%20b.jpg names. Raises ValueError."""
    path = address.partition(":")[2]
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise ValueError(f"it names a file of another machine, {host}")
        path = slash + path
    return unquote(path, errors="surrogateescape")


def without_secrets(text: str) -> str:
    """A text whose addresses show no passwords, keys, tokens and signatures."""
    return _SECRET.sub(r"\1…", _LOGIN.sub("", text))
