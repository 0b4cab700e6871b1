"""Where weights may lie: single files, revisions of the hub, and what is said of neither."""

import json

import pytest
from safetensors.torch import load_file, save_file

from tests.support.base import bases
from tests.support.single_file import write_single_file
from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.models import loading, places, sources
from unidiff_cli.models.token_windows import token_window

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache in the place of the user's."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_into(hub, repo, revision, files):
    """Files of a repository's revision in a hub cache, as its client leaves them."""
    folder = hub / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text(COMMIT)
    for name, text in files.items():
        file = folder / "snapshots" / COMMIT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


# ---------------------------------------------------------------- single files


@pytest.fixture
def single_file(tiny_bases, tmp_path):
    """The value of `base` for a tiny base in a single file, and the folder it is made of."""

    def written(name):
        folder = tiny_bases(name)
        base = loading.load_base(str(folder), 32)
        file = write_single_file(base.pipeline, tmp_path / "model.safetensors")
        value = {"diffusion": str(file), "clip": str(folder / "clip"), "config": str(folder)}
        return value if base.shares_text else value | {"text": "apart"}, base

    return written


@pytest.mark.parametrize("name", bases("sdxl second"))
def test_a_single_file_is_the_base_it_was_made_of(single_file, name):
    value, base = single_file(name)
    read = loading.load_base(value, 32)
    assert type(read) is type(base) and read.weights_hash == base.weights_hash
    assert read.schedule.prediction == base.schedule.prediction


@pytest.mark.slow
def test_a_single_file_in_half_precision_loads_in_full(single_file):
    import torch

    value, _ = single_file("sdxl first")
    tensors = {name: weight.half() for name, weight in load_file(value["diffusion"]).items()}
    save_file(tensors, value["diffusion"])
    base = loading.load_base(value, 32)
    assert {p.dtype for p in base.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        pytest.param(
            "model.diffusion_model.out.2.weight",
            "lacks tensors of its denoiser or autoencoder",
            marks=pytest.mark.slow,
        ),
        (
            "cond_stage_model.transformer.text_model.final_layer_norm.bias",
            "lacks 1 of the .* tensors of text_encoder: final_layer_norm.bias",
        ),
    ],
)
def test_a_single_file_without_a_tensor_is_refused(single_file, lost, said):
    value, _ = single_file("sd1")
    tensors = load_file(value["diffusion"])
    del tensors[lost]
    save_file(tensors, value["diffusion"])
    with pytest.raises(EnvironmentProblem, match=said):
        loading.load_base(value, 32)


@pytest.mark.slow
def test_a_single_file_decides_the_numbers_and_the_hash(single_file, tiny_bases):
    value, _ = single_file("sdxl first")
    recipe = sources.load_recipe("fashion", assignments=[f"base={json.dumps(value)}"])
    assert recipe.image_size == 32
    assert token_window(value).limit == token_window(str(tiny_bases("sdxl first"))).limit
    before = sources.files_hash(value)
    tensors = load_file(value["diffusion"])
    save_file({name: weight + 1 for name, weight in tensors.items()}, value["diffusion"])
    assert sources.files_hash(value) != before


@pytest.mark.slow
def test_a_single_file_without_configs_says_what_to_give(single_file, hub):
    value, _ = single_file("sdxl first")
    with pytest.raises(EnvironmentProblem) as refused:
        loading.load_base({**value, "config": None}, 32)
    assert "those of stabilityai/stable-diffusion-xl-base-1.0 are not" in refused.value.fact
    assert "config: FOLDER" in refused.value.action


@pytest.mark.slow
def test_a_single_file_of_sd2_does_not_say_what_it_predicts(single_file):
    value, _ = single_file("sd2")
    with pytest.raises(UsageError, match="does not say whether it predicts the noise"):
        loading.load_base({**value, "config": None}, 32)


@pytest.mark.slow
def test_a_mark_of_v_against_the_config_is_refused(single_file):
    import torch

    value, _ = single_file("sdxl first")
    tensors = load_file(value["diffusion"])
    save_file({**tensors, "v_pred": torch.zeros(0)}, value["diffusion"])
    with pytest.raises(UsageError, match="predicts v, and the scheduler of .* says epsilon"):
        loading.load_base(value, 32)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no safetensors at all", "no header"), (b"", "no header"), (None, "is no single file of")],
)
def test_what_is_no_single_file_of_ours_is_refused(tmp_path, tiny_base, content, said):
    import torch

    file = tmp_path / "model.safetensors"
    # A LoRA; and what else there is.
    save_file({"lora.weight": torch.zeros(1)}, file)
    if content is not None:
        file.write_bytes(content)
    with pytest.raises((EnvironmentProblem, UsageError), match=said):
        loading.load_base({"diffusion": str(file), "clip": str(tiny_base / "clip")}, 32)


def test_a_single_file_alone_has_no_image_tower(single_file):
    value, _ = single_file("sd1")
    with pytest.raises(UsageError, match="without the image tower of a CLIP"):
        sources.resolve_base(value["diffusion"])


# ---------------------------------------------------------------- hub ids


def test_a_revision_is_read_from_the_cache_and_the_branch_is_not(hub):
    put_into(hub, "shop/sdxl", "v2", {"model_index.json": '{"_class_name": "A"}'})
    assert places.cached_file("shop/sdxl@v2", "model_index.json").name == "model_index.json"
    assert places.cached_file(f"shop/sdxl@{COMMIT}", "model_index.json")
    assert places.cached_file("shop/sdxl", "model_index.json") is None
    assert places.hub_id("shop/sdxl@v2") == ("shop/sdxl", "v2")
    assert places.hub_id("shop/sdxl") == ("shop/sdxl", None)


def test_the_family_of_a_hub_id_is_in_its_revision(hub):
    put_into(
        hub, "shop/sdxl", "v2", {"model_index.json": '{"_class_name": "StableDiffusionXLPipeline"}'}
    )
    value = {"diffusion": "shop/sdxl@v2", "clip": "shop/clip"}
    assert sources.resolve_base(value)[1].family() == "stable_diffusion_xl"
    with pytest.raises(EnvironmentProblem, match="The base shop/sdxl cannot be loaded"):
        sources.resolve_base({**value, "diffusion": "shop/sdxl"})[1].family()


def test_another_revision_is_another_base(hub):
    for revision in ("v1", "v2"):
        put_into(hub, f"shop/{revision}", revision, {"model_index.json": "{}"})
    one, two = (
        sources.files_hash({"diffusion": f"shop/{r}@{r}", "clip": "shop/clip"})
        for r in ("v1", "v2")
    )
    assert one != two


def test_the_revision_reaches_from_pretrained():
    asked = []

    class Kind:
        @staticmethod
        def from_pretrained(place, **options):
            asked.append((place, options))

    places.pretrained(Kind, "shop/clip@v2", dtype="fp32")
    places.pretrained(Kind, "shop/clip")
    assert asked == [
        ("shop/clip", {"revision": "v2", "dtype": "fp32"}),
        ("shop/clip", {}),
    ]


def test_a_path_of_nothing_is_no_hub_id(hub):
    assert places.cached_file("./a/b/c", "model_index.json") is None
    assert places.cached_file("/nowhere", "model_index.json") is None
