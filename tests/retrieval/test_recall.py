"""Recall by hand: an image is no answer to itself, and of equal scores any is right."""

import numpy as np
import pytest

from unidiff_cli.retrieval import recall
from unidiff_cli.retrieval.exact import nearest_rows
from unidiff_cli.retrieval.recall import Neighbours, Questions

# On a circle, ten degrees apart.
ANGLES = np.deg2rad(10 * np.arange(9))
EMBEDDINGS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)


@pytest.fixture(autouse=True)
def two_nearest(monkeypatch):
    monkeypatch.setattr(recall, "K", 2)


def exactly(queries, k):
    return nearest_rows(EMBEDDINGS, queries, k)


def answering(*rows):
    """A search that answers with these rows."""

    def search(queries, k):
        answers = np.array(rows)[:, :k]
        return Neighbours(answers, np.einsum("qkd,qd->qk", EMBEDDINGS[answers], queries))

    return search


def test_what_an_exact_search_finds_is_all():
    images = Questions.ask(exactly, EMBEDDINGS, np.arange(9))
    assert images.recall(exactly) == 1
    assert Questions.ask(exactly, EMBEDDINGS[:3]).recall(exactly) == 1


def test_an_image_is_no_answer_to_itself():
    question = Questions.ask(exactly, EMBEDDINGS[[0]], np.array([0]))
    assert question.recall(answering([0, 1, 2])) == 1
    assert question.recall(answering([0, 1, 5])) == 0.5
    # It is not even among the answers.
    assert question.recall(answering([1, 2, 3])) == 1
    assert question.recall(answering([0, 7, 8])) == 0


def test_a_caption_has_no_row_of_its_own():
    question = Questions.ask(exactly, EMBEDDINGS[[0]])
    assert question.recall(answering([0, 1, 2])) == 1
    assert question.recall(answering([0, 2, 3])) == 0.5


def test_of_equal_scores_any_is_right():
    # Ten and ten degrees away, and the second nearest is one of two.
    question = Questions.ask(exactly, EMBEDDINGS[[4]], np.array([4]))
    assert question.recall(answering([4, 3, 5])) == question.recall(answering([4, 5, 3])) == 1


def test_a_catalogue_of_one_image_has_nothing_to_find():
    def one(queries, k):
        return nearest_rows(EMBEDDINGS[:1], queries, k)

    assert Questions.ask(one, EMBEDDINGS[:1], np.array([0])).recall(one) == 1
