"""Texts by kind: what the words of captions find that embeddings do not, and the other way round.

    python -m benchmarks.words PROJECT [--base]

Each kind of text is asked for the products of one split, among all images of the catalogue: R@1
and the share of right images among the first ten, of the cosine alone and of ways to take words in.
`rare` is what `retrieve` does: images with rare words first, by how rare they are, then by the
cosine. `first` does so with all words by BM25, `sum` adds BM25 and the cosine standardised over
the catalogue, `fused` adds 1/(60 + rank) of both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.embedded import Embedded, arguments, embed_split, open_encoder
from unidiff_cli.data.attributes import COLOURS, KINDS, column_for
from unidiff_cli.retrieval.words import Words, words_of, write_words

# Added to a rank before it is turned into a score (Cormack et al., SIGIR 2009).
RANK = 60
# A text, and how right each row is, (N,): 1 or 0, and −1 for one that is no answer.
Question = tuple[str, np.ndarray]


def questions(everything: Embedded, split: str) -> dict[str, list[Question]]:
    """The texts of each kind, with their right answers."""
    rows = [row for row in everything.rows if row.split == split]
    columns = list(rows[0].attributes)
    colour, kind = column_for(columns, COLOURS) or "", column_for(columns, KINDS) or ""
    groups, names = everything.groups, everything.values("name")
    colours, kinds = everything.values(colour), everything.values(kind)
    first_names = np.array([name.split(" ")[0] for name in names], object)

    def looks(text: str) -> list[Question]:
        pairs = sorted({(str(r.attributes[colour]), str(r.attributes[kind])) for r in rows})
        return [
            (text.format(colour=c, kind=k), ((colours == c) & (kinds == k)) * 1)
            for c, k in pairs
            if c
        ]

    return {
        "SKU": [(group, (groups == group) * 1) for group in sorted({row.group for row in rows})],
        "name": [(n, (names == n) * 1) for n in sorted({str(r.attributes["name"]) for r in rows})],
        "first word of the name": [
            (n, (first_names == n) * 1)
            for n in sorted({str(r.attributes["name"]).split(" ")[0] for r in rows})
        ],
        "caption of another image": [
            (row.captions[0], others)
            for number, row in enumerate(everything.rows)
            if row.split == split and (others := other_views(groups, colours, number)).max() == 1
        ],
        "colour and kind": looks("{colour} {kind}"),
        "the same in a sentence": looks("I am looking for a {colour} {kind} for my friend"),
        "colour in other letters": looks("{colour}ish thing"),
    }


def other_views(groups: np.ndarray, colours: np.ndarray, number: int) -> np.ndarray:
    """The other images of a row's product in its colour are right, and the row is no answer."""
    right = ((groups == groups[number]) & (colours == colours[number])).astype(int)
    right[number] = -1
    return right


def ways(
    words: Words, groups: np.ndarray, images: np.ndarray, text: str, query: np.ndarray
) -> dict[str, np.ndarray]:
    """The scores (N,) of all images in each way."""
    cosines, fits, rare = images @ query, np.zeros(len(images)), np.zeros(len(images))
    matches = words.search(text, groups)
    rare[matches.rows] = matches.scores
    for row, score in bm25(words, text):
        fits[row] = score
    by_words = _ranks(fits)
    return {
        "cosine": cosines,
        "rare": rare + 1e-6 * cosines,
        "first": fits + 1e-6 * cosines,
        "sum": _standardised(cosines) + _standardised(fits),
        "fused": 1 / (RANK + _ranks(cosines)) + np.where(fits > 0, 1 / (RANK + by_words), 0),
    }


def bm25(words: Words, text: str) -> list[tuple[int, float]]:
    """The rows that hold any word of a text, with SQLite's BM25, larger for better."""
    asked = " OR ".join(f'"{word}"' for word in words_of(text))
    query = "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ?"
    return words._database.execute(query, [asked]).fetchall() if asked else []


def _ranks(scores: np.ndarray) -> np.ndarray:
    """How many scores are larger, (N,)."""
    return np.searchsorted(np.sort(-scores), -scores)


def _standardised(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean()) / (scores.std() or 1)


def measure(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Whether the first image is right, and the share of the first ten."""
    scores = np.where(right < 0, -np.inf, scores)
    order = np.argsort(-scores, kind="stable")
    return float(right[order[0]]), float(right[order[:10]].mean())


def main() -> None:
    options = arguments(__doc__.splitlines()[0]).parse_args()
    encoder = open_encoder(options)
    everything = embed_split(options, encoder, None)
    with tempfile.TemporaryDirectory() as folder:
        write_words(Path(folder), everything.rows)
        words = Words.open(Path(folder))
        codes = np.unique(everything.groups.astype(str), return_inverse=True)[1]
        for split in ("val", "test"):
            for kind, asked in questions(everything, split).items():
                embeds = encoder.embed_captions([text for text, _ in asked])
                results: dict[str, list[tuple[float, float]]] = {}
                for (text, right), query in zip(asked, embeds, strict=True):
                    for name, scores in ways(words, codes, everything.images, text, query).items():
                        results.setdefault(name, []).append(measure(scores, right))
                figures = _printed(results)
                print(f"{split:4} {kind:25} n={len(asked):3}  {figures}")


def _printed(results: dict[str, list[tuple[float, float]]]) -> str:
    percent: Callable[[float], str] = lambda share: f"{100 * share:.0f}"  # noqa: E731
    return "  ".join(
        f"{name} {' / '.join(map(percent, np.mean(values, axis=0)))}"
        for name, values in results.items()
    )


if __name__ == "__main__":
    main()
