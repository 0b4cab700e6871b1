"""How much of a caption a text tower reads, by nano's tokenizer: 40 tokens, two of them marks."""

import logging
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.parts.tokenizer import write_tokenizer
from unidiff_cli.config.schema import Evaluate, Generate, Recipe
from unidiff_cli.config.train import Train
from unidiff_cli.config.values import Section
from unidiff_cli.data.caption_length import count_tokens, divide_captions, warn_of_cut
from unidiff_cli.data.distinct_order import DistinctOrder
from unidiff_cli.data.order import text_id
from unidiff_cli.data.shards import Row
from unidiff_cli.data.token_window import TokenWindow
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.models.sources import SCORER
from unidiff_cli.models.token_windows import token_window

START = " ".join(["this very fine garment of our house is made with care"] * 9)
LONG = [f"{START}, a red dress number {n}" for n in range(4)]


@pytest.fixture(scope="module")
def window() -> TokenWindow:
    return token_window("nano")


@pytest.fixture
def warnings(caplog, monkeypatch):
    """What the package's logger says."""
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    return caplog


def row(n: int, *captions: str) -> Row:
    return Row(f"{n}", f"{n}", "train", f"g{n}", captions, {})


def test_the_window_is_that_of_the_model(window):
    from unidiff_cli.models.clip import Clip

    clip = Clip.read(SCORER)
    captions = ["a red dress", LONG[0], "café 红色连衣裙", ""]
    ids = clip.token_ids(captions).tolist()
    assert (window.limit, window.name) == (40, "nano")
    for caption, padded in zip(captions, ids, strict=True):
        count = min(clip.window.limit, clip.window.count(caption))
        # The end is also what it is padded with.
        assert padded[1 : count - 1] == [int(i) for i in clip.window.same(caption).split()]
        assert len(padded) == clip.window.limit


def test_a_caption_is_cut_where_the_tower_stops(window):
    read, rest = window.cut(LONG[0])
    assert read + rest == LONG[0] and rest and window.fits(read) and not window.fits(LONG[0])
    assert window.cut("a red dress") == ("a red dress", "") and window.count("a red dress") == 5
    assert window.cut("") == ("", "")


def test_captions_that_are_cut_alike_are_equal(window):
    assert len({window.same(caption) for caption in LONG}) == 1
    assert window.same("Red  dress") == window.same("red dress ") != window.same("red dresses")
    assert len({text_id(caption, window.same) for caption in LONG}) == 1
    assert len({text_id(caption) for caption in LONG}) == 4


def test_a_batch_holds_no_two_captions_that_are_cut_alike(window):
    rows = [row(n, LONG[n % 4] if n % 2 else f"hat {n}") for n in range(8)]
    order = DistinctOrder(rows, 2, 0, window.same)
    for epoch in range(3):
        for start in range(0, 8, 2):
            batch = [order(8 * epoch + start + k) for k in range(2)]
            assert sum(number % 2 for number in batch) == 1


def test_a_window_goes_to_other_processes(window):
    copy = pickle.loads(pickle.dumps(window))
    assert copy.same(LONG[0]) == window.same(LONG[0]) and copy.limit == window.limit


# ---------------------------------------------------------------- long captions


@pytest.mark.parametrize(
    "caption",
    [
        LONG[0],
        "A dress. " * 60,
        "red, blue, green, " * 30,
        "x" * 300,
        "红色的连衣裙。" * 20,
        "👗" * 50,
        "word " * 200,
        "lined (with silk) and – by hand – " * 12,
    ],
)
def test_parts_hold_the_whole_caption_and_fit(window, caption):
    parts = window.parts(caption)
    assert len(parts) > 1 and all(window.fits(part) and part.strip() for part in parts)
    assert "".join("".join(parts).split()) == "".join(caption.split())


def test_parts_end_where_sentences_and_phrases_do(window):
    sentence = (
        "The long dress is made of soft wool and lined with silk of the best kind from our house."
    )
    assert window.parts(f"{sentence} {sentence} {sentence}") == [sentence] * 3
    phrase = (
        "with one long red ribbon made of silk and wool around the whole of the waist and back,"
    )
    assert window.parts(f"{phrase} {phrase} {phrase}") == [phrase] * 3
    assert window.parts("a red dress. a hat") == ["a red dress. a hat"]


def test_what_tells_rows_apart_becomes_their_first_caption(window):
    divided = divide_captions([row(n, caption) for n, caption in enumerate(LONG)], window)
    assert len({window.same(r.captions[0]) for r in divided}) == 4
    assert all(f"number {n}" in r.captions[0] for n, r in enumerate(divided))
    short = [row(0, "a hat", "a cap")]
    assert divide_captions(short, window) == short


def test_an_eval_set_holds_the_captions_that_the_models_tell_apart(window):
    rows = [row(n, caption) for n, caption in enumerate(LONG)]
    shards = SimpleNamespace(rows=lambda split: rows)
    eval_set = EvalSet.of(shards, Recipe(), window, Path())
    assert len(eval_set.captions) == 1 and eval_set.caption_of.tolist() == [0] * 4
    assert len(EvalSet(shards, rows, Evaluate(), Generate()).captions) == 4
    split = EvalSet.of(shards, Recipe(train=Train(long_captions="split")), window, Path())
    assert len(set(split.caption_of.tolist())) == 4
    assert all(window.fits(caption) for caption in split.captions)


def test_a_run_trains_on_parts_or_on_what_is_read(window):
    from unidiff_cli.training.job import Job

    rows = [row(n, caption) for n, caption in enumerate(LONG)]
    shards = SimpleNamespace(rows=lambda split: rows)
    base = SimpleNamespace(window=window, transforms=dict, buckets=None)
    computed = SimpleNamespace(arrays={})

    def samples(**train):
        options = Train(batch_size=4, no_duplicates=True, **train)
        recipe = Recipe(train=options, objectives=Section())
        job = Job(None, "", recipe, None, shards, computed)
        vars(job)["prior"] = None
        return job.training_samples(base, 0, 1)

    cut, split = samples(), samples(long_captions="split")
    assert cut.rows == rows and len(set(cut.batch(0, {}).caption_ids.tolist())) == 1
    assert all(len(r.captions) > 1 for r in split.rows)
    seen = {caption for step in range(40) for caption in split.batch(step, {}).captions}
    assert all(window.fits(caption) for caption in seen)
    assert {r.captions[0] for r in split.rows} <= seen


# ---------------------------------------------------------------- counts


def test_captions_are_counted_by_the_tokenizer(window):
    tokens = count_tokens(window, [LONG, ["a hat", "A  hat"], ["a bag"]])
    assert (tokens.base, tokens.limit, tokens.captions, tokens.cut) == ("nano", 40, 7, 4)
    assert (tokens.distinct, tokens.distinct_read, tokens.unknown) == (6, 3, 0)
    assert len(tokens.cut_examples) == 3
    read, rest = tokens.cut_examples[0]
    assert LONG[0].startswith(read[-50:], len(window.cut(LONG[0])[0]) - 50) and rest
    (doubt,) = tokens.doubts()
    assert "4 of 7 captions (57%)" in doubt.fact and "3 captions differ" in doubt.fact
    assert not doubt.stops and "long_captions=split" in doubt.action


def test_short_captions_raise_no_doubt(window):
    tokens = count_tokens(window, [["a red dress of wool"]] * 40 + [["a café hat"]])
    assert tokens.doubts() == [] and tokens.cut_examples == [] and 0 < tokens.unknown < 0.05
    assert tokens.unknown_letters == ["é"] and tokens.most == 8


@pytest.mark.parametrize(
    "caption",
    ["红色连衣裙", "赤いドレス", "فستان أحمر", "लाल पोशाक", "빨간 드레스", "👗❤️", "κόκκινο φόρεμα"],
)
def test_letters_that_the_tokenizer_does_not_know_are_said(window, caption):
    tokens = count_tokens(window, [[caption]])
    assert tokens.unknown > 0.5
    (doubt,) = tokens.doubts()
    assert caption[0] in doubt.fact and "nano" in doubt.fact


def test_texts_that_are_cut_are_said_with_their_words(window, warnings):
    warn_of_cut(window, ["a red dress", "hat " * 50, "hat " * 50], "prompt")
    (line,) = warnings.messages
    assert line == (
        "The prompt has 52 tokens and nano reads 40. These words are not read: "
        + " ".join(["hat"] * 12)
    )


def test_many_long_texts_are_counted(window, warnings):
    warn_of_cut(window, [f"{START} {n}" for n in range(9)], "prompt")
    assert len(warnings.messages) == 6 and warnings.messages[-1].startswith("4 more prompts")


# ---------------------------------------------------------------- whose tokenizer


@pytest.mark.parametrize("fetch", [False, True])
def test_a_tokenizer_that_is_not_here_is_said(monkeypatch, fetch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentProblem, match="tokenizer of nobody/model is not on this"):
        token_window({"diffusion": "nobody/model", "clip": "nobody/clip"}, fetch)


def test_a_base_of_words_and_merges_has_a_window(tmp_path: Path):
    write_tokenizer(tmp_path / "tokenizer", 24)
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text('{"model_max_length": 24}')
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text("{}")
    window = token_window(str(tmp_path))
    assert (window.limit, window.room, window.name) == (24, 22, str(tmp_path))
    assert window.cut("x" * 30) == ("x" * 22, "x" * 8)
