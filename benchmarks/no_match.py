"""Whether the best score tells that a catalogue has nothing like a query.

    python -m benchmarks.no_match PROJECT [--base] [--photos CATALOGUE]

The threshold is what 95 % of the validation queries reach whose product is in the catalogue. On
test queries: how many are called no good match although their product is there, how many of them
once their product is taken out, and how many queries for other things: renderings of everyday
objects with their names, and the images and captions of another catalogue (a folder with
`captions.jsonl`). Images have their best cosine with another image. Texts have three scores: the
best cosine with an image, that with a caption, and whether some word is in no caption.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.embedded import Embedded, arguments, embed_split, open_encoder
from unidiff_cli.evaluation.probe import ProbeSet
from unidiff_cli.retrieval.thresholds import WRONG
from unidiff_cli.retrieval.words import Words, words_of, write_words

# Images of another catalogue.
PHOTOS = 200
Scores = dict[str, np.ndarray]


def of_images(everything: Embedded, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The best scores of a split's images with their product in the catalogue, and without."""
    groups, images = everything.groups, everything.images
    contents = np.array([row.content for row in everything.rows], object)
    present, absent = [], []
    for number, row in enumerate(everything.rows):
        others = contents != row.content
        if row.split == split and (others & (groups == row.group)).any():
            scores = images @ images[number]
            present.append(scores[others].max())
            absent.append(scores[groups != row.group].max())
    return np.array(present), np.array(absent)


def pieces(captions: list[str]) -> list[str]:
    """One to three words that stand together in each caption."""
    chance, cut = random.Random(0), []
    for caption in captions:
        words = words_of(caption)
        count = min(chance.choice((1, 2, 3)), len(words))
        start = chance.randrange(len(words) - count + 1)
        cut.append(" ".join(words[start : start + count]))
    return cut


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="another catalogue, with captions.jsonl")
    options = parser.parse_args()
    encoder, probe = open_encoder(options), ProbeSet.everyday_objects()
    everything = embed_split(options, encoder, None)
    images, groups = everything.images, everything.groups
    pictures = {"objects": list(probe.images)}
    texts = {"objects": list(probe.classes)}
    if options.photos:
        lines = (options.photos / "captions.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        chosen = random.Random(0).sample(rows, min(PHOTOS, len(rows)))
        pictures["photos"] = [
            Image.open(options.photos / r["image"]).convert("RGB") for r in chosen
        ]
        texts["photos"] = sorted({row["caption"] for row in rows})

    others = {name: (encoder.embed_images(p) @ images.T).max(1) for name, p in pictures.items()}
    show("image", of_images(everything, "val")[0], *of_images(everything, "test"), others)

    # ---- texts
    captions = sorted({(c, row.group) for row in everything.rows for c in row.captions})
    caption_embeds = encoder.embed_captions([c for c, _ in captions])
    caption_groups = np.array([group for _, group in captions], object)

    def of_texts(split: str) -> tuple[Scores, Scores]:
        rows = [row for row in everything.rows if row.split == split]
        asked = sorted({(row.captions[0], row.group) for row in rows})
        found: tuple[dict[str, list[float]], ...] = ({}, {})
        for (caption, group), query in zip(
            asked, encoder.embed_captions([c for c, _ in asked]), strict=True
        ):
            same = np.array([text == caption for text, _ in captions])
            by_image, by_caption = images @ query, caption_embeds @ query
            for place, (rows_left, captions_left) in enumerate(
                [(groups == groups, ~same), (groups != group, caption_groups != group)]
            ):
                found[place].setdefault("image", []).append(by_image[rows_left].max())
                found[place].setdefault("caption", []).append(by_caption[captions_left].max())
        present, absent = ({k: np.array(v) for k, v in each.items()} for each in found)
        return present, absent

    # What somebody types is shorter than a caption.
    texts["pieces of captions"] = pieces(
        [r.captions[0] for r in everything.rows if r.split == "test"]
    )
    validation, (present, absent) = of_texts("val")[0], of_texts("test")
    embeds = {name: encoder.embed_captions(each) for name, each in texts.items()}
    for kind, answers in (("image", images), ("caption", caption_embeds)):
        others = {name: (each @ answers.T).max(1) for name, each in embeds.items()}
        show(f"text by {kind}", validation[kind], present[kind], absent[kind], others)
    with tempfile.TemporaryDirectory() as folder:
        write_words(Path(folder), everything.rows)
        words = Words.open(Path(folder))
        shares = {n: np.mean([bool(words.missing(t)) for t in each]) for n, each in texts.items()}
        print(
            "text by words:", *(f"{n} noticed {100 * share:.0f} %" for n, share in shares.items())
        )


def show(
    kind: str,
    validation: np.ndarray,
    present: np.ndarray,
    absent: np.ndarray,
    others: dict[str, np.ndarray],
) -> None:
    """Prints the shares of test queries below the threshold that validation queries give."""
    threshold = np.quantile(validation, WRONG)
    shares = {"there": present, "taken out": absent, **others}
    below = "  ".join(f"{n} {100 * (s < threshold).mean():.1f} %" for n, s in shares.items())
    print(f"{kind}: {len(validation)} choose {threshold:.3f}; of {len(present)} below it: {below}")


if __name__ == "__main__":
    main()
