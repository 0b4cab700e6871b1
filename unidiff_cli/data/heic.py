"""HEIC, the format of phones: read where the package pillow-heif is installed.

It is an extra, since its wheel brings libheif (LGPL) and x265 (GPL).
"""

from __future__ import annotations

from functools import cache

FORMAT = "HEIF"
PIP = "pip install 'unidiff-cli[heic]'"
# How the brands of HEVC in HEIF begin, and those of any content; `avif` is Pillow's own.
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_heic(data: bytes) -> bool:
    """Whether a file says that it is a HEIC image."""
    box = data[: min(64, int.from_bytes(data[:4], "big"))]
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS and b"avif" not in box


@cache
def can_read_heic() -> bool:
    """Makes Pillow read HEIC; False where the package is missing."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True
