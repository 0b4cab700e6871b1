"""An export that is opened once: what an image depends on, and what it does not."""

import numpy as np
import pytest

from unidiff_cli import Generator
from unidiff_cli.config.schema import Generate
from unidiff_cli.errors import UsageError
from unidiff_cli.generation.record import GenerationRecord
from unidiff_cli.project.receipt import Receipt


@pytest.fixture(scope="module")
def generator(finished):
    return Generator.open(finished)


def images(generator, prompts, seeds, options=None, **more):
    """The images as arrays of integers, so that differences do not wrap around."""
    return [
        np.asarray(generated.image).astype(int)
        for generated in generator.generate(prompts, seeds, options, **more)
    ]


def test_an_image_depends_on_its_prompt_and_seed_and_not_on_the_others(generator):
    prompts, seeds = ["red dress", "blue hat", "red dress"], [3, 5, 5]
    together = images(generator, prompts, seeds)
    for prompt, seed, image in zip(prompts, seeds, together, strict=True):
        [alone] = images(generator, [prompt], [seed])
        # A batch of another size rounds otherwise.
        assert abs(image - alone).max() <= 1
    for other in (together[0], together[1]):
        assert abs(together[2] - other).max() > 1


def test_the_batch_size_changes_no_image(generator):
    steps = {"steps": 3, "guidance": 2.0}
    single = images(generator, ["red dress"] * 3, [0, 1, 2], Generate(batch_size=1, **steps))
    whole = images(generator, ["red dress"] * 3, [0, 1, 2], Generate(batch_size=3, **steps))
    assert max(abs(one - other).max() for one, other in zip(single, whole, strict=True)) <= 1


def test_the_same_call_gives_the_same_bits(generator):
    first, second = (images(generator, ["red dress"] * 2, [0, 1]) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_negative_prompt_changes_the_image(generator):
    [plain] = images(generator, ["red dress"], [0])
    [without] = images(generator, ["red dress"], [0], negative="blue")
    assert (plain != without).any()


def test_the_options_of_a_call_replace_those_of_the_project(generator):
    [default] = generator.generate(["red dress"], [0])
    [other] = generator.generate(["red dress"], [0], Generate(steps=2, guidance=1.0))
    assert (default.record.steps, default.record.guidance) == (3, 2.0)
    assert (other.record.steps, other.record.guidance) == (2, 1.0)


def test_a_record_holds_all_that_the_image_depends_on(generator, finished):
    [generated] = generator.generate(["blue hat"], [9], negative="red")
    record, receipt = generated.record, Receipt.read(finished.export())
    assert (record.prompt, record.seed, record.negative) == ("blue hat", 9, "red")
    assert (record.export, record.size) == ("001-fashion", 32)
    assert record.weights_hash == receipt.figures["weights_hash"]
    assert record.scheduler == "DDIMScheduler" and record.score is None


def test_an_image_of_another_size_is_made_again_from_its_record(generator):
    [tall] = generator.generate(["red dress"], [0], size=(24, 40))
    assert tall.image.size == (24, 40) and tall.record.plain()["size"] == [24, 40]
    again = GenerationRecord.model_validate_json(tall.record.model_dump_json(), strict=True)
    [same] = generator.generate(["red dress"], [0], size=again.width_height)
    assert same.image.tobytes() == tall.image.tobytes() and same.record == tall.record
    assert generator.rank("red dress", [tall])[0].record.score is not None


@pytest.mark.parametrize("size", [(30, 32), (20, 44), (16, 12), (64, 64)])
def test_a_size_that_the_model_does_not_draw_is_refused(generator, size):
    with pytest.raises(UsageError, match="Images of .* are not generated"):
        list(generator.generate(["red dress"], [0], size=size))


def test_ranked_images_fall_in_their_score_and_say_it(generator):
    ranked = generator.rank("red dress", list(generator.generate(["red dress"] * 4, range(4))))
    scores = [generated.record.score for generated in ranked]
    assert scores == sorted(scores, reverse=True)
    assert {generated.record.seed for generated in ranked} == {0, 1, 2, 3}


def test_progress_ends_at_the_number_of_images(generator):
    lines = []
    options = Generate(steps=2, guidance=1.0, batch_size=2)
    made = generator.generate(
        ["hat"] * 3, [0, 1, 2], options, on_progress=lambda *line: lines.append(line)
    )
    assert len(list(made)) == 3
    assert lines == [("generating", 2, 3), ("generating", 3, 3)]
