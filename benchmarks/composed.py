"""An image and "in COLOUR": which sum of the two embeddings finds the product in that colour.

    python -m benchmarks.composed PROJECT [--base] [--words "in {}"]

A query is an image of a product with another colour of that product; right are the product's images
in the colour. Each way of adding takes the text's weight that has the best mean average precision
on the validation rows, and is reported on the test rows. The index holds one split at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.embedded import Embedded, arguments, embed_split, open_encoder
from unidiff_cli.data.attributes import COLOURS, column_for
from unidiff_cli.evaluation.ranking import hits, rank_answers
from unidiff_cli.evaluation.statistics import paired
from unidiff_cli.models.encoders import ClipEncoder

WEIGHTS = (0.125, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0)


@dataclass(frozen=True)
class Questions:
    """Q queries: the images that ask, their texts' embeddings (Q, D), and the right answers."""

    embedded: Embedded
    images: np.ndarray
    texts: np.ndarray
    pairs: np.ndarray
    # Means that a text and an image scatter around, and the covariance of the images.
    text_mean: np.ndarray
    image_mean: np.ndarray
    covariance: np.ndarray


Compose = Callable[[Questions, float], np.ndarray]


def questions(
    embedded: Embedded, encoder: ClipEncoder, everything: Embedded, words: str
) -> Questions:
    """Every image with every other colour of its product."""
    colours = embedded.values(column_for(embedded.rows[0].attributes, COLOURS) or "color")
    groups = embedded.groups
    asked = [
        (n, colour)
        for n in range(len(groups))
        for colour in sorted(set(colours[groups == groups[n]]) - {colours[n], ""})
        if colours[n]
    ]
    names = sorted({colour for _, colour in asked})
    texts = dict(
        zip(names, encoder.embed_captions([words.format(name) for name in names]), strict=True)
    )
    pairs = [
        (q, answer)
        for q, (n, colour) in enumerate(asked)
        for answer in np.flatnonzero((groups == groups[n]) & (colours == colour))
    ]
    captions = sorted({row.captions[0] for row in everything.rows})
    return Questions(
        embedded,
        np.array([n for n, _ in asked]),
        np.stack([texts[colour] for _, colour in asked]),
        np.array(pairs),
        encoder.embed_captions(captions).mean(0),
        everything.images.mean(0),
        np.cov(everything.images.T, bias=True),
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def image_alone(asked: Questions, weight: float) -> np.ndarray:
    return asked.embedded.images[asked.images]


def text_alone(asked: Questions, weight: float) -> np.ndarray:
    return asked.texts


def weighted_mean(asked: Questions, weight: float) -> np.ndarray:
    return unit(image_alone(asked, 0) + weight * asked.texts)


def standardised(asked: Questions, weight: float) -> np.ndarray:
    """Each part over the deviation of its scores."""

    def over_deviation(parts: np.ndarray) -> np.ndarray:
        deviations = np.sqrt(np.einsum("qd,de,qe->q", parts, asked.covariance, parts))
        return parts / deviations[:, None]

    return unit(over_deviation(image_alone(asked, 0)) + weight * over_deviation(asked.texts))


def centred(asked: Questions, weight: float) -> np.ndarray:
    """Each part as its direction from the mean of its kind."""
    images = unit(image_alone(asked, 0) - asked.image_mean)
    return unit(images + weight * unit(asked.texts - asked.text_mean))


WAYS: dict[str, tuple[Compose, tuple[float, ...]]] = {
    "image alone": (image_alone, (0.0,)),
    "text alone": (text_alone, (0.0,)),
    "mean": (weighted_mean, (1.0,)),
    "mean, weighted": (weighted_mean, WEIGHTS),
    "standardised": (standardised, (1.0,)),
    "standardised, weighted": (standardised, WEIGHTS),
    "centred": (centred, (1.0,)),
    "centred, weighted": (centred, WEIGHTS),
}


def measure(asked: Questions, compose: Compose, weight: float) -> dict[str, np.ndarray]:
    """R@1, R@5 and average precision of each query, (Q,)."""
    ranking = rank_answers(
        compose(asked, weight), asked.embedded.images, asked.pairs, itself=asked.images
    )
    recall = {f"R@{k}": hits(ranking.rank, k) for k in (1, 5)}
    return recall | {"mAP": ranking.average_precision}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--words", default="in {}", help="the text, {} in place of the colour")
    options = parser.parse_args()
    encoder = open_encoder(options)
    everything = embed_split(options, encoder, None)

    def asked_of(split: str) -> Questions:
        chosen = np.array([row.split == split for row in everything.rows])
        rows = [row for row in everything.rows if row.split == split]
        embedded = Embedded(rows, everything.images[chosen])
        return questions(embedded, encoder, everything, options.words)

    validation, test = asked_of("val"), asked_of("test")
    groups = test.embedded.groups[test.images]
    print(
        f"{len(validation.images)} queries choose, {len(test.images)} of {len(set(groups))} "
        f"products among {len(test.embedded.rows)} images report"
    )
    results = {}
    for name, (compose, weights) in WAYS.items():
        scores = [measure(validation, compose, w)["mAP"].mean() for w in weights]
        weight = weights[int(np.argmax(scores))]
        results[name] = measure(test, compose, weight)
        figures = "  ".join(f"{k} {100 * v.mean():5.1f}" for k, v in results[name].items())
        print(f"{name:23} text^{weight:<5} val mAP {100 * max(scores):5.1f}  test {figures}")
    for name, values in results.items():
        for control in ("image alone", "mean", "standardised"):
            if name == control:
                continue
            test_of = paired(results[control]["mAP"], values["mAP"], groups=groups)
            print(
                f"{name} − {control}: mAP {100 * test_of.difference:+.1f} "
                f"[{100 * (test_of.low or 0):+.1f}, {100 * (test_of.high or 0):+.1f}] "
                f"p = {test_of.p:.3f}"
            )


if __name__ == "__main__":
    main()
