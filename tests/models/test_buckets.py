"""A denoiser in buckets: every part takes every shape, and a group of rows counts as its rows."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.base import bases
from tests.support.batches import batch_of, forward_of, in_shapes
from tests.support.projects import load_recipe
from unidiff_cli.data.buckets import Size
from unidiff_cli.data.by_shape import ByShape, parts_of
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models import loading
from unidiff_cli.models.buckets_file import FILE, read_buckets
from unidiff_cli.models.dual_stream import DualStream
from unidiff_cli.models.encoders import DIFFDIS, encoder_of
from unidiff_cli.models.features import FeatureQuery
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.training.module import TrainingModule

RED = (200, 0, 0)


def marked(size, band=4):
    """A white image whose upper edge is red."""
    image = Image.new("RGB", size, "white")
    image.paste(RED, (0, 0, size[0], band))
    return image


@pytest.fixture(scope="module")
def nano():
    return loading.load_base("nano", 128)


def test_a_garment_s_edge_is_drawn_in_a_bucket_and_not_in_a_square(nano):
    photo = marked((96, 144), band=16)
    nano.use_buckets(True)
    ((tall, rows),) = parts_of(nano.learned_pixels([photo]))
    assert rows == [0] and tall.shape == (1, 3, 152, 104)
    cut = nano.diffusion_pixels([photo])
    assert cut.shape == (1, 3, 128, 128) and (cut == 255).all()
    drawn = nano.decode_latents(nano.encode_latents(tall).mean)[0]
    assert drawn.shape == (3, 152, 104)
    # Red above, white below.
    assert drawn[0, :8].mean() > 150 > 80 > drawn[1:, :8].mean() and drawn[1:, 80:].mean() > 200


def test_nano_s_own_parts_take_every_size(nano):
    nano.use_buckets(True)
    text = nano.encode_text(["red dress"])
    with torch.no_grad():
        for size in nano.buckets.sizes:
            pixels = nano.diffusion_pixels([marked((96, 144))], size)
            z, t = nano.encode_latents(pixels).mean, torch.tensor([500])
            whole, maps = nano.denoise_with_features(z, t, text)
            assert whole.shape == z.shape == (1, 16, size.height // 8, size.width // 8)
            for layer, expected in maps.items():
                half = nano.features(z, t, text, layer)
                assert torch.allclose(half, expected, atol=1e-4)


def test_a_square_image_is_as_it_was(load_tiny):
    base, image = load_tiny("sd1"), marked((48, 47))
    before = base.learned_pixels([image])
    base.use_buckets(True)
    ((part, _),) = parts_of(base.learned_pixels([image]))
    assert torch.equal(part, before) and torch.equal(part, base.diffusion_pixels([image]))


@pytest.mark.parametrize("name", bases())
def test_a_family_denoises_and_generates_sizes(load_tiny, name):
    base, size = load_tiny(name), Size(24, 40)
    images = base.generate(["a hat"], [3], steps=2, guidance=Guidance(2.0), size=size)
    assert [image.size for image in images] == [size]
    base.keep_untuned()
    other = base.generate(
        ["a hat"], [3], steps=2, guidance=Guidance(2.0, unconditional="base"), size=size
    )
    assert other[0].size == size
    base.default_size = size
    [default] = base.generate(["a hat"], [3], steps=2, guidance=Guidance(2.0))
    assert default.tobytes() == images[0].tobytes()


def test_sdxl_reads_the_size_as_its_pipeline_says_it(load_tiny):
    base, size = load_tiny("sdxl second"), Size(24, 40)
    prompt = {"prompt": "red dress", "num_inference_steps": 2, "guidance_scale": 2.0}

    def theirs(**sizes):
        generator = torch.Generator("cpu").manual_seed(3)
        of = {"width": size.width, "height": size.height, "generator": generator}
        return np.asarray(base.pipeline(**prompt, **of, **sizes).images[0], int)

    [ours] = base.generate(["red dress"], [3], steps=2, guidance=Guidance(2.0), size=size)
    # A processor may round a value the other way.
    assert np.abs(ours - theirs()).max() <= 1
    other = theirs(original_size=(24, 40), target_size=(24, 40))
    assert np.abs(ours - other).max() > 1
    z = torch.zeros(1, 4, 10, 6)
    assert base.unet_text(base.encode_text(["x"]), base.size_of(z)).sizes.tolist() == [
        [40, 24, 0, 0, 40, 24]
    ]


# ---------------------------------------------------------------- training


def alone(batch, row):
    """The batch of one row."""
    part, own = next((part, own) for part, own in parts_of(batch.latents) if row in own)
    one = batch_of(1)
    one.positions, one.captions = [batch.positions[row]], [batch.captions[row]]
    one.clip_pixels = batch.clip_pixels[[row]]
    one.latents = ByShape([part[[own.index(row)]]], [[0]])
    return one


def test_rows_in_groups_have_the_gradient_of_row_by_row(load_tiny, tiny_base):
    module = TrainingModule(
        load_tiny("sd1"), load_recipe(tiny_base, name="sd-only").active(), seed=0
    )
    module.double().train()
    batch = in_shapes(batch_of(5))
    parameters = module.base.parameter_groups()["denoiser"]
    grouped = torch.autograd.grad(module(batch)[0], parameters)
    total = sum(module(alone(batch, row))[0] for row in range(5)) / 5
    for one, other in zip(grouped, torch.autograd.grad(total, parameters), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", ["mean", "map"])
@pytest.mark.parametrize("prompt", [None, "caption"])
def test_features_of_every_shape_compare(load_tiny, tiny_base, form, prompt):
    base, batch = load_tiny("sd1"), in_shapes(batch_of(5))
    module = TrainingModule(base, load_recipe(tiny_base).active(), seed=0)
    query = FeatureQuery("up1", 300, prompt, form)
    with torch.no_grad():
        whole = forward_of(base, batch, module.needs).denoiser_features(query)
        for row in range(5):
            one = forward_of(base, alone(batch, row), module.needs).denoiser_features(query)
            assert torch.allclose(whole[row], one[0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("fashion", ()),
        ("joint", ("objectives.consistency.kind=decoded",)),
        ("joint", ("objectives.consistency.features=map",)),
        ("diffdis", ()),
    ],
)
def test_every_term_takes_several_shapes(load_tiny, tiny_base, name, changes):
    recipe = load_recipe(tiny_base, *changes, name=name)
    module = TrainingModule(load_tiny("sd1"), recipe.active(), seed=0).train()
    total, parts = module(in_shapes(batch_of(6)))
    total.backward()
    assert torch.isfinite(total) and set(module.objectives) <= set(parts)
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


def test_diffdis_sees_images_as_it_learned_them(load_tiny):
    base = load_tiny("sd1")
    base.attach(DualStream.for_base(base))
    base.use_buckets(True)
    encoder = encoder_of(base.eval(), DIFFDIS)
    images = [marked(size) for size in ((40, 60), (48, 48), (60, 40), (40, 61))]
    pixels = encoder.pixels(images)
    assert sorted(map(len, pixels.rows)) == [1, 1, 2]
    whole = encoder.embed(images)
    for row, image in enumerate(images):
        assert torch.allclose(whole[row], encoder.embed([image])[0], atol=1e-5)
    squares = load_tiny("sd1")
    squares.attach(base.added["dual_stream"])
    seen = encoder_of(squares.eval(), DIFFDIS).embed(images)
    assert torch.allclose(seen[1], whole[1], atol=1e-5)
    assert not torch.allclose(seen[0], whole[0], atol=1e-3)


# ---------------------------------------------------------------- what an export says


def test_the_most_common_size_is_the_default(tmp_path):
    assert read_buckets(tmp_path) is None
    (tmp_path / FILE).write_text(json.dumps({"images": {"32x32": 3, "24x40": 9}}))
    assert read_buckets(tmp_path).size == (24, 40)


@pytest.mark.parametrize("text", ["", "{}", '{"images": {}}', '{"images": {"big": 1}}', "[1]"])
def test_a_file_that_says_nothing_is_refused(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(EnvironmentProblem, match="does not hold buckets"):
        read_buckets(tmp_path)
