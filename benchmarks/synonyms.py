"""Words that stand for an attribute's value: how often they are right, and what a filter finds.

    python -m benchmarks.synonyms PROJECT [--base]

Words are learnt from the captions of training rows. Each is then looked up in the captions of the
other rows: the share of those images that have the value says how often the offered filter keeps
what is meant. As queries, the word alone and with each kind of thing ("plaid skirt") are asked for
all images of the value: R@1 and the share of right images among the first ten, as it is, with the
value's name in place of the word, and with the filter.
"""

from __future__ import annotations

import numpy as np

from benchmarks.embedded import Embedded, arguments, embed_split, open_encoder
from unidiff_cli.data.attributes import KINDS, column_for
from unidiff_cli.retrieval.synonyms import Synonym, learn
from unidiff_cli.retrieval.words import words_of


def held_out(everything: Embedded, known: dict[str, Synonym]) -> None:
    """Prints of each word how many held-out images whose captions hold it have the value."""
    rows = [row for row in everything.rows if row.split != "train"]
    words = [set(words_of(" ".join(row.captions))) for row in rows]
    right = total = 0
    for word, synonym in sorted(known.items()):
        have = [
            str(row.attributes.get(synonym.column)).casefold() == synonym.value.casefold()
            for row, held in zip(rows, words, strict=True)
            if word in held
        ]
        right, total = right + sum(have), total + len(have)
        print(
            f"{word!r} stands for {synonym.column} {synonym.value!r}: learnt from {synonym.images}"
            f" of {synonym.of}, held-out images {sum(have)} of {len(have)}"
        )
    print(f"held-out images in all: {right} of {total}")


def queries(everything: Embedded, known: dict[str, Synonym]) -> list[tuple[str, str, np.ndarray]]:
    """Each word with each kind of thing, the same with the value's name, and what is right (N,)."""
    kind = column_for(everything.rows[0].attributes, KINDS) or ""
    kinds, asked = everything.values(kind), []
    for word, synonym in sorted(known.items()):
        values = everything.values(synonym.column)
        meant = np.array([v.casefold() == synonym.value.casefold() for v in values])
        others = [] if synonym.column == kind else sorted(set(kinds[meant]) - {""})
        for other in ["", *others]:
            right = meant & (kinds == other) if other else meant
            if right.sum() >= 3:
                texts = [f"{each} {other}".strip() for each in (word, synonym.value)]
                asked.append((*texts, right))
    return asked


def main() -> None:
    options = arguments(__doc__.splitlines()[0]).parse_args()
    encoder = open_encoder(options)
    everything = embed_split(options, encoder, None)
    known = learn([row for row in everything.rows if row.split == "train"])
    held_out(everything, known)
    results: dict[str, list[tuple[float, float]]] = {}
    asked = queries(everything, known)
    if not asked:
        return
    embeds = [encoder.embed_captions([query[place] for query in asked]) for place in (0, 1)]
    for (word, name, right), by_word, by_name in zip(asked, *embeds, strict=True):
        synonym = next(known[each] for each in words_of(word) if each in known)
        values = everything.values(synonym.column)
        meant = np.array([v.casefold() == synonym.value.casefold() for v in values])
        ways = {
            "the word": everything.images @ by_word,
            "the value's name": everything.images @ by_name,
            "the word, filtered": np.where(meant, everything.images @ by_word, -2),
        }
        print(f"  {word!r} ({name!r}): {int(right.sum())} right", end="")
        for way, scores in ways.items():
            order = np.argsort(-scores, kind="stable")
            best = min(10, int(right.sum()))
            result = float(right[order[0]]), float(right[order[:best]].mean())
            results.setdefault(way, []).append(result)
            print(f"  {way} {result[0]:.0f}/{result[1]:.2f}", end="")
        print()
    for way, figures in results.items():
        first, ten = 100 * np.mean(figures, axis=0)
        print(f"{way:20} n={len(figures)}  R@1 {first:.0f}  of the first ten {ten:.0f}")


if __name__ == "__main__":
    main()
