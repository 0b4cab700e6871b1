"""Changed samples: keyed by position, colours left out of captions where images lose theirs."""

import pytest
import torch

from tests.support.shards import ROW_COLOURS, attribute_rows, row_of
from unidiff_cli.config.train import Augment
from unidiff_cli.data.attributes import named_values
from unidiff_cli.data.augmentation import Augmentation
from unidiff_cli.data.dataset import BatchPlan, Samples
from unidiff_cli.data.order import text_id


def samples_of(rows, *, order="shuffled", rank=0, world=1, **shares):
    augmentation = Augmentation(rows, Augment(**shares), seed=3) if shares else None
    plan = BatchPlan(20, 3, order, rank=rank, world=world)
    return Samples(None, rows, plan, augmentation=augmentation)


def names_colour(caption):
    return any(named_values([caption], [colour])[0] for colour in ROW_COLOURS)


def test_images_lose_their_colours_exactly_where_captions_do():
    rows, some = attribute_rows(), []
    samples = samples_of(rows, captions=0.5, colours=0.4)
    for step in range(30):
        batch = samples[step]
        for i, caption in enumerate(batch.captions):
            assert names_colour(caption) == (i not in batch.recoloured)
        some.append(len(batch.recoloured))
    assert sum(some) / 600 == pytest.approx(0.4, abs=0.06)


def test_a_share_of_captions_is_made_of_the_attributes():
    rows = attribute_rows()
    samples = samples_of(rows, captions=0.5)
    captions = [c for step in range(30) for c in samples[step].captions]
    made = [c for c in captions if "Chaz" not in c]
    assert len(made) / 600 == pytest.approx(0.5, abs=0.06) and len(set(made)) > 20
    # The rest is as it was.
    own = {row.captions[0] for row in rows}
    assert all(c in own for c in captions if "Chaz" in c)


def test_a_step_is_the_same_read_alone_and_by_two_processes():
    rows, shares = attribute_rows(), {"captions": 0.5, "colours": 0.4, "crops": 0.3}
    whole = samples_of(rows, **shares)
    batches = [whole[step] for step in range(7)]
    again = samples_of(rows, **shares)[6]
    assert again.captions == batches[6].captions and again.cropped == batches[6].cropped
    parts = [samples_of(rows, rank=rank, world=2, **shares)[6] for rank in range(2)]
    assert [c for part in parts for c in part.captions] == again.captions
    assert torch.equal(torch.cat([part.true_ids for part in parts]), again.true_ids)
    moved = [10 * r + i for r, part in enumerate(parts) for i in part.recoloured]
    assert moved == again.recoloured
    assert batches[3].captions != batches[6].captions


def test_captions_that_say_the_same_have_one_id_and_those_that_are_true_are_known():
    rows = attribute_rows()
    samples = samples_of(rows, captions=0.5)
    batches = [samples[step] for step in range(20)]
    for batch in batches:
        for i, (caption, row) in enumerate(zip(batch.captions, batch.rows, strict=True)):
            kind, colour, whom = (row.attributes[k] for k in ("category", "color", "gender"))
            told = text_id(f"{kind.replace('_', ' ')} in {colour}, {whom}")
            own = text_id(row.captions[0])
            assert int(batch.caption_ids[i]) == (own if "Chaz" in caption else told)
            assert {own, told} <= set(batch.true_ids[i].tolist())


def test_a_kind_that_is_a_colour_leaves_the_rows_own_caption():
    """An orange: nothing is left of the made caption, and the own one still names the product."""
    rows = [
        row_of(n, (f"Chaz {fruit}, {fruit}",), {"category": fruit, "color": fruit})
        for n, fruit in enumerate(["orange", "plum"] * 10)
    ]
    augmentation = Augmentation(rows, Augment(captions=1, colours=1), seed=0)
    shown = [augmentation.shown(n, row.captions[0], n) for n, row in enumerate(rows)]
    assert {s.caption for s in shown} == {"Chaz"} and all(s.recoloured for s in shown)
    assert {s.caption_id for s in shown} == {text_id("Chaz")}


def test_validation_and_a_run_without_changes_see_the_catalogue():
    rows = attribute_rows()
    for batch in (samples_of(rows)[0], samples_of(rows, order="listed")[0]):
        assert batch.captions == [row.captions[0] for row in batch.rows]
        assert batch.true_ids is None and not batch.recoloured and not batch.cropped


def test_without_attributes_nothing_changes_and_that_is_said():
    rows = [row_of(n, (f"thing {n} in red",)) for n in range(40)]
    augmentation = Augmentation(rows, Augment(captions=1, colours=1), seed=0)
    shown = [augmentation.shown(n, row.captions[0], n) for n, row in enumerate(rows)]
    assert [s.caption for s in shown] == [row.captions[0] for row in rows]
    assert not any(s.recoloured for s in shown)
    first, second = augmentation.sentences()
    assert first.startswith("train.augment.captions changes nothing: no column names kinds")
    assert second == "train.augment.colours changes nothing: no column names colours."


def test_what_changes_is_said_with_its_columns():
    augmentation = Augmentation(attribute_rows(), Augment(captions=0.5, colours=0.25), seed=0)
    assert augmentation.sentences() == [
        "50% of captions are made of the columns 'category', 'color', 'gender', such as "
        "'dress in black, women' (12 of them).",
        "25% of images are seen in other colours or in grey, with captions without the values of "
        "'color' (60 of 60 images have one).",
    ]
    assert augmentation.figures() == {"kind": "category", "colour": "color", "details": ["gender"]}
