"""The extractors: one contract for both kinds, and how images reach them."""

import numpy as np
import pytest
from PIL import Image

from tests.support.extractors import MeanLayer, script_of
from unidiff_cli.config.schema import Evaluate
from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.evaluation.array_cache import ArrayCache
from unidiff_cli.evaluation.extractors import load_extractors, scorer
from unidiff_cli.evaluation.extractors.inception import BATCH, Inception
from unidiff_cli.evaluation.image_features import extract_features


@pytest.fixture(scope="module")
def inception():
    """The extractor over a script that gives the mean of an image in place of the network."""
    return Inception(script_of(MeanLayer()), "mean")


@pytest.fixture(params=["scorer", "inception"])
def extractor(request):
    return scorer() if request.param == "scorer" else request.getfixturevalue("inception")


def images(count, side=40):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side + n, 3)).astype(np.uint8) for n in range(count)]


# ---------------------------------------------------------------- the contract


def test_an_extractor_says_what_it_is(extractor):
    assert extractor.name and extractor.weights_hash
    assert extractor.caution == "" or extractor.caution.startswith(", ")
    assert extractor.image_size > 0 and extractor.feature_size > 0


def test_features_have_a_row_for_each_image(extractor):
    features = extractor.features(images(5))
    assert features.shape == (5, extractor.feature_size) and features.dtype == np.float32


def test_no_image_gives_no_feature(extractor):
    assert extractor.features([]).shape == (0, extractor.feature_size)


def test_features_do_not_depend_on_the_other_images(extractor):
    several = extractor.features(images(BATCH + 3))
    alone = np.concatenate([extractor.features([image]) for image in images(BATCH + 3)])
    assert several == pytest.approx(alone, abs=1e-4)


def test_arrays_files_and_iterators_give_equal_features(extractor, tmp_path):
    array = images(1)[0]
    Image.fromarray(array).save(tmp_path / "image.png")
    expected = extractor.features([array])
    assert (extractor.features([Image.open(tmp_path / "image.png")]) == expected).all()
    assert (extractor.features(iter([array])) == expected).all()


# ---------------------------------------------------------------- which one


def test_the_scorer_is_loaded_once():
    assert scorer() is scorer()
    assert load_extractors(Evaluate()) == {"nano_scorer": scorer()}


def test_inception_needs_its_file(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_extractors(Evaluate(inception=str(tmp_path / "inception-2015-12-05.pt")))


def test_another_file_than_inceptions_is_not_run(tmp_path):
    file = tmp_path / "inception-2015-12-05.pt"
    file.write_bytes(b"print('run me')")
    with pytest.raises(EnvironmentProblem, match="is not inception-2015-12-05.pt"):
        load_extractors(Evaluate(inception=str(file)))


# ---------------------------------------------------------------- features of many images


def test_images_are_read_a_batch_at_a_time():
    alive = []

    class Counted(np.ndarray):
        def __del__(self):
            alive.remove(1)

    def counted_images():
        for _ in range(40):
            alive.append(1)
            assert len(alive) <= 10, "a batch of 4, and not all"
            yield np.zeros((32, 32, 3), np.uint8).view(Counted)

    extractors = {"scorer": scorer()}
    features = extract_features(
        counted_images(), [], ArrayCache(), extractors, scorer(), batch_size=4
    )
    assert len(features.features["scorer"]) == len(features.embeds) == 40


def test_features_of_another_extractor_stand_beside_the_scorers_embeddings(inception):
    batch = images(3)
    features = extract_features(
        batch,
        [],
        ArrayCache(),
        {"inception": inception, "nano_scorer": scorer()},
        scorer(),
        batch_size=2,
    )
    assert (features.features["inception"] == inception.features(batch)).all()
    pooled, embeds = scorer().embed_images(batch)
    assert features.features["nano_scorer"] == pytest.approx(pooled, abs=1e-4)
    assert features.embeds == pytest.approx(embeds, abs=1e-5)


def test_stored_features_need_no_image(tmp_path):
    arrays = ArrayCache(tmp_path)
    eye = {"nano_scorer": scorer()}
    first = extract_features(images(3), [1], arrays, eye, scorer(), batch_size=2)
    again = extract_features([], [1], arrays, eye, scorer(), batch_size=2)
    assert (again.features["nano_scorer"] == first.features["nano_scorer"]).all()
    assert (again.embeds == first.embeds).all()
