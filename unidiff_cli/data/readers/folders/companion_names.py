"""What the names of files and folders say of images that belong to others.

A name alone proves nothing: `companions.py` looks for the image that it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from unidiff_cli.data.readers.folders.classes import NO_CLASS, SIZE

MASKS, MAPS = "masks", "depth maps and the like"
THUMBNAILS, SWATCHES = "thumbnails", "swatches"
# Words of a file's name, and what such an image is.
OF_FILES = {
    MASKS: "masklabel mask masks segmentation segm seg parse parsing alpha matte trimap silhouette",
    MAPS: "condlabel conditioning depth depthmap canny openpose dwpose densepose keypoints lineart "
    "softedge scribble hed",
    THUMBNAILS: "thumb thumbs thumbnail thumbnails tn",
    SWATCHES: "swatch",
}
# More words, which a folder may have as its name; a file `a-label.jpg` may show a label.
OF_FOLDERS = {
    MASKS: "mattes alphas segs segmentations segmentationclass segmentationobject parsings trimaps "
    "gt groundtruth silhouettes label labels annotations",
    MAPS: "condition conditions control controls normal normals pose poses depths depthmaps "
    "agnostic edge edges dense",
    THUMBNAILS: "small medium cache resized",
    SWATCHES: "swatches",
}
FILES = {word: kind for kind, words in OF_FILES.items() for word in words.split()}
FOLDERS = FILES | {word: kind for kind, words in OF_FOLDERS.items() for word in words.split()}
# Names of folders that no class has.
SURE = frozenset(
    "masklabel condlabel segm segmentations segmentationclass segmentationobject trimap trimaps "
    "densepose openpose dwpose keypoints depthmap depthmaps softedge lineart conditioning parsing "
    "thumbs thumbnail thumbnails cache resized".split()
)
# Folders of the images that others belong to.
ORIGINALS = NO_CLASS | {"jpg", "jpeg", "original", "originals", "full", "large", "rgb", "target"}
# Words of further photos of a product: views, and colours.
VIEWS = frozenset(
    "front back side sides left right top bottom above below inside outside interior detail "
    "details close closeup up zoom alt alternate main primary first second third model worn on off "
    "body flat lay flatlay ghost mannequin full half rear angle view views look outfit open closed "
    "lifestyle packshot studio hover photo image img pic picture of the and with copy "
    "red blue green black white yellow pink purple orange brown grey gray beige navy gold "
    "silver".split()
)
# Words that say nothing more, as in mask_images, depth_map and image-parse-v3.
FILLERS = frozenset("image images img imgs map maps file files v".split())
_LETTERS = re.compile(r"[^\W\d_]+")
_SEPARATORS = re.compile(r"[-_. @]")
# Separators of a name that are looked at, from each end.
_MOST = 4
# How shops name a scaled copy: 150x150, 480x, 100x100@2x, small, home_default, scaled.
_COPY = re.compile(
    r"(?:\d{2,4}x\d{0,4}|x\d{2,4}|\d{2,4}(?:px|w)|w\d{2,4}|[a-z]+_default|scaled|resized|"
    r"pico|icon|small|compact|medium|large|grande|master)"
    r"(?:_crop_[a-z]+|_cropped)?(?:[@_-]?[1-4]x)?|[1-4]x"
)
_PIXELS = re.compile(r"(\d{2,4})x(\d{0,4})")
# The sides that Shopify gives its words.
_SIDES = {
    **{"pico": 16, "icon": 32, "thumb": 50, "small": 100, "compact": 160, "medium": 240},
    **{"large": 480, "grande": 600},
}


def behind(stem: str) -> Iterator[tuple[str, str]]:
    """The name before each separator and the words behind it: a and mask_0 of a_mask_0."""
    places = [m.start() for m in _SEPARATORS.finditer(stem)]
    for place in reversed(places[-_MOST:]):
        if 0 < place < len(stem) - 1:
            yield stem[:place], stem[place + 1 :]


def before(stem: str) -> Iterator[tuple[str, str]]:
    """The name behind the first separator and the word before it: a and mask of mask_a."""
    match = _SEPARATORS.search(stem)
    if match and 0 < match.start() < len(stem) - 1:
        yield stem[match.end() :], stem[: match.start()]


def words_of(text: str) -> list[str]:
    """The words of a part of a name in lower case, without numbers and fillers."""
    return [word for word in _LETTERS.findall(text.lower()) if word not in FILLERS]


def kind_of_words(text: str, known: Mapping[str, str] = FILES) -> str | None:
    """What an image is by the words that its name has besides that of another."""
    if _COPY.fullmatch(text.lower()):
        return THUMBNAILS
    words = words_of(text)
    return next((known[w] for w in words if w in known), None) if len(words) < 3 else None


def kind_of_folder(name: str) -> str | None:
    """What the images of a folder are by its name, such as masks of mask_images."""
    lower, words = name.lower(), words_of(name)
    if lower in FOLDERS:
        return FOLDERS[lower]
    return FOLDERS.get(words[0]) if len(words) == 1 else None


def is_sure(folder: str) -> bool:
    """Whether a folder has a name that no class has, such as trimaps or openpose_img."""
    return folder.lower() in SURE or (len(words_of(folder)) == 1 and words_of(folder)[0] in SURE)


def owner_of(folder: str) -> tuple[str, str] | None:
    """The folder that another belongs to by its name, and what it holds: cloth of cloth-mask."""
    for owner, rest in behind(folder):
        words = words_of(rest)
        if words and words[0] in FOLDERS:
            return owner.lower(), FOLDERS[words[0]]
    return None


def is_view(text: str) -> bool:
    """Whether words behind a name say that it is a further photo: back, 2, b, side_01."""
    return all(len(word) == 1 or word in VIEWS for word in words_of(text))


def pixels(text: str) -> int | None:
    """The pixels of a copy by its name: 150x150, 480x, small; None for another name."""
    if side := _SIDES.get(text.lower()):
        return side * side
    match = _PIXELS.fullmatch(text.lower())
    return int(match[1]) * int(match[2] or match[1]) if match else None


def size_of_folder(name: str) -> int | None:
    """The size that a folder has as its name, 800x800 or 1200px; None for another name."""
    return int(re.findall(r"\d+", name)[0]) if SIZE.fullmatch(name) else None
