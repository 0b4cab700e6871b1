"""A catalogue of simple shapes with captions, products and views."""

import random
from pathlib import Path

from PIL import Image, ImageDraw

COLORS = {
    "red": (200, 30, 30),
    "green": (40, 160, 60),
    "blue": (40, 60, 200),
    "black": (20, 20, 20),
    "yellow": (230, 210, 40),
}
SHAPES = ("dress", "hat", "bag")


def draw_thing(color: str, shape: str, seed: int, side: int = 48) -> Image.Image:
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
    for _ in range(40):  # a texture of its own, so that no two are near-duplicates
        a, b = rng.randrange(side), rng.randrange(side)
        image.putpixel((a, b), (rng.randrange(256), rng.randrange(256), rng.randrange(256)))
    return image


def write_catalogue(folder: Path, products: int = 30, views: int = 2) -> Path:
    """A table with images: `products` things in one colour each, seen `views` times."""
    (folder / "images").mkdir(parents=True)
    lines = ["image,caption,product,color,shape"]
    for p in range(products):
        color, shape = list(COLORS)[p % len(COLORS)], SHAPES[p % len(SHAPES)]
        for v in range(views):
            name = f"images/p{p:03d}-{v}.png"
            draw_thing(color, shape, 10 * p + v).save(folder / name)
            lines.append(f"{name},{color} {shape} number {p},P{p:03d},{color},{shape}")
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    return folder
