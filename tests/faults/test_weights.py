"""A base that is not whole is refused by its tensors' names, never filled with random ones."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.exports import exported_project
from unidiff_cli import Retriever, train
from unidiff_cli.errors import Damaged, EnvironmentProblem
from unidiff_cli.models import encoders, loading
from unidiff_cli.models.clip import Clip

CLIP, UNET, VAE, TEXT = (
    ("clip", "model"),
    ("unet", "diffusion_pytorch_model"),
    ("vae", "diffusion_pytorch_model"),
    ("text_encoder", "model"),
)


@pytest.fixture
def base(tmp_path, tiny_base):
    return shutil.copytree(tiny_base, tmp_path / "base")


def change(base, part, edit):
    """Writes one model's tensors as `edit` gives them back."""
    file = base / part[0] / f"{part[1]}.safetensors"
    save_file(edit(load_file(file)), file, metadata={"format": "pt"})


def without(piece):
    return lambda tensors: {k: v for k, v in tensors.items() if piece not in k}


def cut(piece):
    return lambda tensors: {k: torch.zeros(3) if piece in k else v for k, v in tensors.items()}


def with_one(name):
    return lambda tensors: {**tensors, name: torch.zeros(3)}


@pytest.mark.parametrize(
    ("part", "piece"),
    [
        (CLIP, "vision_model"),
        (CLIP, "text_model"),
        (CLIP, "visual_projection"),
        (CLIP, "logit_scale"),
        (CLIP, ""),
        (UNET, "mid_block"),
        (UNET, "conv_in.bias"),
        (VAE, "decoder"),
        (VAE, "quant_conv"),
        (TEXT, "layers.1"),
        (TEXT, "token_embedding"),
    ],
)
def test_missing_tensors_are_named(base, part, piece):
    change(base, part, without(piece))
    with pytest.raises(EnvironmentProblem, match=r"lacks \d+ of its \d+ tensors") as caught:
        loading.load_base(str(base), 32)
    assert piece in caught.value.fact and str(base / part[0]) in caught.value.fact


@pytest.mark.parametrize(
    ("part", "piece"),
    [(CLIP, "patch_embedding"), (UNET, "conv_out.bias"), (VAE, "conv_in"), (TEXT, "fc1.bias")],
)
def test_tensors_of_another_shape_are_named(base, part, piece):
    change(base, part, cut(piece))
    with pytest.raises(EnvironmentProblem, match=r"in another shape: .*" + piece):
        loading.load_base(str(base), 32)


@pytest.mark.parametrize("part", [CLIP, UNET, VAE, TEXT])
def test_tensors_of_another_model_are_named(base, part):
    change(base, part, with_one("stranger.weight"))
    with pytest.raises(EnvironmentProblem, match="does not know: stranger.weight"):
        loading.load_base(str(base), 32)


def test_old_files_that_hold_positions_load_alike(base, tiny_base):
    """Stable Diffusion 1.5's text encoder and OpenAI's CLIP hold them, newer files do not."""
    ids = {"text": torch.arange(24)[None], "vision": torch.arange(17)[None]}
    positions = {f"{tower}_model.embeddings.position_ids": ids[tower] for tower in ids}
    change(base, CLIP, lambda tensors: tensors | positions)
    change(
        base,
        TEXT,
        lambda tensors: {
            **{f"text_model.{k}": v for k, v in tensors.items()},
            "text_model.embeddings.position_ids": ids["text"],
        },
    )
    old, new = (loading.load_base(str(folder), 32) for folder in (base, tiny_base))
    assert old.weights_hash == new.weights_hash


def test_a_train_on_half_a_base_begins_no_run(base, project, recipe):
    change(base, CLIP, without("vision_model"))
    halved = recipe.model_copy(update={"base": str(base)})
    with pytest.raises(EnvironmentProblem, match="lacks 39 of its 78 tensors: vision_model"):
        train(project, halved)
    assert not project.runs()


def test_an_export_that_is_not_whole_names_its_command(tmp_path, prepared, tiny_base):
    project = exported_project(prepared, tmp_path, tiny_base)
    folder = project.path("exports", "001-tiny")
    change(folder, CLIP, without("visual_projection"))
    for read in (
        lambda: Clip.read(folder / "clip"),
        lambda: loading.load_base(str(folder), 32),
        lambda: encoders.load_encoder(project, folder),
    ):
        with pytest.raises(Damaged, match="unidiff export --force"):
            read()


# ---------------------------------------------------------------- what goes with the weights


@pytest.mark.parametrize("folder", ["clip", "tokenizer"])
def test_a_lost_tokenizer_is_not_an_empty_one(base, folder):
    for file in ("tokenizer.json", "vocab.json", "merges.txt"):
        (base / folder / file).unlink(missing_ok=True)
    with pytest.raises(EnvironmentProblem, match="a tokenizer of 2 tokens"):
        loading.load_base(str(base), 32) if folder == "tokenizer" else Clip.read(base / folder)


def test_a_tokenizer_without_its_length_is_refused(base):
    (base / "clip" / "tokenizer_config.json").unlink()
    with pytest.raises(EnvironmentProblem, match="lacks model_max_length 24"):
        Clip.read(base / "clip")


def test_preprocessing_of_another_size_is_refused(base):
    (base / "clip" / "preprocessor_config.json").write_text("{}")
    with pytest.raises(EnvironmentProblem, match="224×224 px for a tower of 32"):
        Clip.read(base / "clip")


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '"x"', "{}", "[" * 2000, "\x00", "{"])
@pytest.mark.parametrize(
    "file",
    [
        "model_index.json",
        "clip/config.json",
        "clip/tokenizer.json",
        "clip/tokenizer_config.json",
        "clip/preprocessor_config.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_config_of_another_kind_is_a_sentence(base, file, text):
    """Or loads, where the library's own defaults are what the file held."""
    (base / file).write_text(text)
    try:
        loading.load_base(str(base), 32)
        Clip.read(base / "clip")
    except EnvironmentProblem as problem:
        assert str(base) in problem.fact and "\n" not in problem.fact
    else:
        assert text == "{}" and file in ("scheduler/scheduler_config.json", "model_index.json")


# ---------------------------------------------------------------- the index


def headers():
    """Headers of safetensors files: of other kinds, and whole ones of other arrays."""

    def file(header, data=b""):
        text = json.dumps(header).encode() if not isinstance(header, bytes) else header
        return len(text).to_bytes(8, "little") + text + data

    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    yield "empty", b""
    yield "short", b"\x01\x02"
    yield "huge", (2**63).to_bytes(8, "little") + b"{}"
    for kind in ([], None, 3, "x", {}, {"embeddings": None}, {"embeddings": []}):
        yield f"kind {kind!r}", file(kind)
    yield "not JSON", file(b"{")
    yield "not UTF-8", file(b'{"\xff": 1}')
    for key, value in {"dtype": "X9", "shape": [-1], "data_offsets": [0, 99]}.items():
        yield f"{key} {value}", file({"embeddings": entry | {key: value}}, bytes(16))
    for key, value in {"dtype": "I32", "shape": [4]}.items():
        yield f"{key} {value}", file({"embeddings": entry | {key: value}}, bytes(16))
    half = {"dtype": "BF16", "shape": [2, 4], "data_offsets": [0, 16]}
    yield "bfloat16", file({"embeddings": half}, bytes(16))
    yield "other name", file({"embedding": entry}, bytes(16))
    yield "deep", file(b"[" * 100_000)


@pytest.mark.parametrize(("data"), [data for _, data in headers()], ids=[n for n, _ in headers()])
def test_an_index_of_another_header_is_damaged(tmp_path, data):
    from unidiff_cli.retrieval.embedding_file import FILE
    from unidiff_cli.retrieval.indexes.flat import Flat

    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(Damaged, match="unidiff index --force"):
        Flat().open(tmp_path)


def test_a_retriever_says_so(finished, tmp_path):
    from tests.support.projects import copy_project

    project = copy_project(finished, tmp_path)
    kinds = (".arrow", ".safetensors", ".sqlite")
    files = [file for file in project.path("index").rglob("*") if file.suffix in kinds]
    assert len(files) == 3
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[:100])
        with pytest.raises(Damaged, match="unidiff index"):
            Retriever.open(project)
        file.write_bytes(whole)


def test_old_names_of_a_vae_load_alike(tmp_path):
    """Stable Diffusion 1.5's attention has the names of old diffusers."""
    from diffusers import AutoencoderKL

    from unidiff_cli.models.reading import read_model

    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    tensors, old = load_file(file), {}
    for key, tensor in tensors.items():
        for new, name in names.items():
            key = key.replace(new, name)
        old[key] = tensor
    assert old.keys() != tensors.keys()
    save_file(old, file, metadata={"format": "pt"})
    state = read_model(AutoencoderKL, "The base's", tmp_path).state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in tensors.items())
