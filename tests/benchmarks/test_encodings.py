"""The comparison of detectors: its texts are what they say, and ours reads all that have rows."""

import pytest

from benchmarks.encodings import FRESH, TITLES, detectors, is_right, texts


@pytest.mark.parametrize("titles", [TITLES, FRESH], ids=["known", "fresh"])
def test_every_text_of_a_dozen_rows_is_read_as_it_was_written(titles):
    ours = detectors()["ours"]
    samples = list(texts(12, titles))
    assert len(samples) > 250
    assert [
        encoding for encoding, data in samples if not is_right(data, encoding, ours(data))
    ] == []
