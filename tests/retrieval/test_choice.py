"""Which kind of index a catalogue gets, and what is said of it."""

import pytest

from tests.support.plugins import installed
from unidiff_cli import registry
from unidiff_cli.errors import UsageError
from unidiff_cli.retrieval.choice import choose_kind

LEAST = registry.load("indexes", "ivf").images_from


@pytest.mark.parametrize(
    ("images", "kind", "how"),
    [(0, "flat", "exact"), (LEAST - 1, "flat", "exact"), (LEAST, "ivf", "approximate")],
)
def test_auto_takes_the_kind_by_the_number_of_images(images, kind, how):
    chosen, sentence = choose_kind("auto", images)
    assert chosen == kind and f"{kind}, {how}" in sentence and f"{LEAST:,} images" in sentence


def test_a_kind_that_is_named_is_taken():
    assert choose_kind("ivf", 5)[0] == "ivf" and choose_kind("flat", 10**9)[0] == "flat"
    with pytest.raises(UsageError, match="no index named 'flatt'. Did you mean 'flat'"):
        choose_kind("flatt", 5)


OTHER = """
    from unidiff_cli.retrieval.indexes.flat import Flat

    class {}(Flat):
        images_from = {}
"""


@pytest.mark.parametrize(
    ("other", "least", "kind"), [("third", 3, "third"), ("fourth", None, "flat")]
)
def test_a_kind_of_another_package_takes_part_where_it_wants_to(
    other, least, kind, tmp_path, monkeypatch
):
    source = OTHER.format(other.capitalize(), least)
    with installed(monkeypatch, tmp_path, "indexes", other, source):
        assert choose_kind("auto", 5)[0] == kind
