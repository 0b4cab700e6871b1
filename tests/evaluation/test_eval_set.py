"""The eval set: captions, prompts and their order; the probe."""

import json

import pytest

from tests.support.catalogue import SHAPES, render_thing
from tests.support.evaluation import eval_set_of, rows_of
from unidiff_cli.errors import UsageError
from unidiff_cli.evaluation.probe import ProbeSet


def test_equal_captions_are_one():
    eval_set = eval_set_of(rows_of(("a", "b"), "B", "c"))
    assert eval_set.captions == ["a", "b", "c"]
    assert eval_set.pairs.tolist() == [[0, 0], [1, 0], [1, 1], [2, 2]]
    assert eval_set.caption_of.tolist() == [0, 1, 2]
    assert eval_set.groups == ["0", "1", "2"]
    assert eval_set.caption_groups == ["0", "0", "2"]


def test_prompts_go_round_the_split():
    eval_set = eval_set_of(rows_of(("a1", "a2"), "b", "c"), images=7)
    assert sorted(eval_set.prompts[:3]) == ["a1", "b", "c"]
    assert sorted(eval_set.prompts[3:6]) == ["a2", "b", "c"]
    assert [r.id for r in eval_set.generated_rows[:3]] == [r.id for r in eval_set.real_rows]


def test_prompts_are_seeded():
    rows = rows_of(("a1", "a2"), "b", "c")
    first, again, other = (eval_set_of(rows, images=7, seed=seed) for seed in (0, 0, 1))
    assert first.prompts == again.prompts
    assert first.seeds == list(range(7)) and other.seeds == list(range(1, 8))


# ---------------------------------------------------------------- the probe


def test_everyday_objects_are_rendered_alike():
    probe, again = ProbeSet.everyday_objects(), ProbeSet.everyday_objects()
    assert len(probe.images) == len(probe.labels) == 10 * len(probe.classes)
    assert len(probe.prompts) == len(probe.classes)
    assert probe.images_hash == again.images_hash


def write_photos(folder, split=True):
    """A catalogue of a photo for each shape, for testing and for training."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for i, shape in enumerate(SHAPES):
        render_thing("red", shape, i).save(folder / "images" / f"{i}.png")
        row = {"image": f"images/{i}.png", "class": shape, "caption": f"a photo of a {shape}"}
        lines += [row | {"split": "test"}, row | {"split": "train"}] if split else [row]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.mark.parametrize("split", [True, False])
def test_photos_have_the_classes_of_their_catalogue(tmp_path, split):
    photos = ProbeSet.from_catalogue(str(write_photos(tmp_path / "photos", split)))
    assert len(photos.images) == 3 and photos.classes == sorted(SHAPES)
    assert photos.prompts == [f"a photo of a {shape}" for shape in sorted(SHAPES)]


def test_photos_without_classes_are_refused(tmp_path):
    folder = write_photos(tmp_path / "photos")
    text = (folder / "captions.jsonl").read_text().replace('"class"', '"kind"')
    (folder / "captions.jsonl").write_text(text)
    with pytest.raises(UsageError, match="has test photos of 0 classes"):
        ProbeSet.from_catalogue(str(folder))


def test_a_folder_of_photos_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="There is no evaluate.probe"):
        ProbeSet.from_catalogue(str(tmp_path / "nowhere"))
