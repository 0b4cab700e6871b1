"""Which files of a folder are images: by their endings, else by their first bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from unidiff_cli.data.locations import Location
from unidiff_cli.data.sample import FOREIGN_SUFFIXES, IMAGE_SUFFIXES
from unidiff_cli.project.project import FILE

# How the formats begin that image_files.py opens.
_SIGNS = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
)
# Endings of files that need not be opened to know that they are no images.
OTHERS = frozenset(
    """
    .txt .caption .json .jsonl .ndjson .csv .tsv .parquet .xml .html .htm .md .yaml .yml .toml .ini
    .log .py .ipynb .sh .zip .tar .gz .tgz .7z .rar .npz .npy .pt .pth .safetensors .pdf .doc .docx
    .xls .xlsx .mp4 .mov .avi .webm .mp3 .db .lock .url
    """.split()
)


def is_image(file: Location) -> bool:
    """Whether a file is a row: an image by its ending, or by its first bytes."""
    if file.suffix in IMAGE_SUFFIXES or file.suffix in FOREIGN_SUFFIXES:
        return True
    return file.suffix not in OTHERS and _begins_like_one(file)


def others_by_ending(
    files: Iterable[Location], images: Container[Location], texts: Container[Location]
) -> Counter[str]:
    """Notes that count the files which are neither images nor texts of images."""
    notes: Counter[str] = Counter()
    for file in files:
        if file not in images and file not in texts and file.name != FILE:
            ending = f"ending in {file.suffix[:20]}" if file.suffix else "without an ending"
            notes[f"files {ending}, not read"] += 1
    return notes


def _begins_like_one(file: Location) -> bool:
    if file.kind() != "file":
        return False
    try:
        with file.open() as stream:
            start = stream.read(16)
    except OSError:
        return False
    is_riff = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return start.startswith(_SIGNS) or is_riff or start[4:12] in (b"ftypavif", b"ftypavis")
