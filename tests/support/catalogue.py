"""Small catalogues, images and tars, rendered here."""

import io
import json
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from unidiff_cli.data.image_files import ImageBounds

COLORS = {
    "red": (200, 30, 30),
    "green": (40, 160, 60),
    "blue": (40, 60, 200),
    "black": (20, 20, 20),
    "yellow": (230, 210, 40),
}
SHAPES = ("dress", "hat", "bag")


# ---------------------------------------------------------------- images


def render_thing(color: str, shape: str, seed: int, side: int = 48) -> Image.Image:
    """A simple shape in one colour on a light background."""
    rng = random.Random(f"{color}{shape}{seed}")
    image = Image.new("RGB", (side, side), tuple(rng.randint(215, 255) for _ in range(3)))
    pen, (x, y) = ImageDraw.Draw(image), (rng.randint(4, 12), rng.randint(4, 12))
    fill = tuple(max(0, min(255, c + rng.randint(-20, 20))) for c in COLORS[color])
    if shape == "dress":
        pen.polygon([(x + 10, y), (x + 20, y), (x + 30, y + 30), (x, y + 30)], fill=fill)
    elif shape == "hat":
        pen.ellipse((x, y + 14, x + 30, y + 24), fill=fill)
        pen.ellipse((x + 8, y + 4, x + 22, y + 20), fill=fill)
    else:
        pen.rectangle((x, y + 8, x + 30, y + 30), fill=fill)
    # A texture of its own, so that no two are near-duplicates.
    for _ in range(40):
        a, b = rng.randrange(side), rng.randrange(side)
        image.putpixel((a, b), (rng.randrange(256), rng.randrange(256), rng.randrange(256)))
    return image


def photo(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """An image with structure of its own: coloured fields, enlarged softly."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """An image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def jpeg(color: str = "red", size: tuple[int, int] = (32, 32)) -> bytes:
    """A JPEG of one colour."""
    return encoded(Image.new("RGB", size, color))


def bounds(pixels: int = 10**6) -> ImageBounds:
    """What an image of these tests may have at most."""
    return ImageBounds(pixels, bytes=1 << 24, scans=100)


# ---------------------------------------------------------------- files


def put(path: Path, data: bytes | str = b"") -> Path:
    """Writes a file and its folders: text, bytes, or a JPEG where nothing is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data or jpeg())
    return path


def write_catalogue(folder: Path, products: int = 30, views: int = 2) -> Path:
    """A table with images: `products` things in one colour each, seen `views` times."""
    (folder / "images").mkdir(parents=True)
    lines = ["image,caption,product,color,shape"]
    for p in range(products):
        color, shape = list(COLORS)[p % len(COLORS)], SHAPES[p % len(SHAPES)]
        for v in range(views):
            name = f"images/p{p:03d}-{v}.png"
            render_thing(color, shape, 10 * p + v).save(folder / name)
            lines.append(f"{name},{color} {shape} number {p},P{p:03d},{color},{shape}")
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_photos(folder: Path, count: int = 30, **columns) -> Path:
    """captions.jsonl and photos, three of each product; a column is a function of the number."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for n in range(count):
        (folder / "images" / f"{n}.jpg").write_bytes(encoded(photo(n)))
        row = {"image": f"images/{n}.jpg", "caption": f"thing {n}", "product": f"p{n // 3}"}
        rows.append(row | {name: value(n) for name, value in columns.items()})
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tar_of(
    path: Path,
    entries: Iterable[tuple[str, bytes] | tarfile.TarInfo],
    mode: str = "w",
    kind: int = tarfile.USTAR_FORMAT,
) -> Path:
    """A tar of (name, data) and of entries without data."""
    with tarfile.open(path, mode, format=kind) as tar:
        for entry in entries:
            name, data = entry if isinstance(entry, tuple) else (entry.name, b"")
            info = tarfile.TarInfo(name) if isinstance(entry, tuple) else entry
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def tar_entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    """A tar entry that is no plain file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a folder with its bytes and time of change."""
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }
