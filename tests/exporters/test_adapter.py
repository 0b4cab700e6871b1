"""The format of an adapter: what has no place in its files is refused, not left out."""

import pytest

from tests.support.adapters import adapters_in
from unidiff_cli.errors import UsageError
from unidiff_cli.exporters.formats.adapter import Adapter
from unidiff_cli.models import loading


def test_a_family_that_names_no_place_for_its_denoiser_is_refused(tiny_base, monkeypatch):
    base = loading.load_base(str(tiny_base), 32)
    base.adapter = adapters_in(base).factors()
    Adapter().check(base)
    monkeypatch.setattr(type(base), "pipeline_names", property(lambda self: {}))
    with pytest.raises(UsageError, match="No program would find unet.* in an adapter"):
        Adapter().check(base)


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("sd1", {"text_model": "text_encoder.text_model"}),
        ("sdxl second", {
            "text_model": "text_encoder_2.text_model",
            "text_projection": "text_encoder_2.text_projection",
        }),
        # The denoiser reads a tower of its own, so no layer of this CLIP is one of a pipeline.
        ("sd1 apart", {}),
    ],
)  # fmt: skip
def test_layers_of_the_clip_are_named_as_the_pipeline_has_them(load_tiny, name, clip):
    base = load_tiny(name)
    theirs = {f"clip.{ours}.": f"{other}." for ours, other in clip.items()}
    assert base.pipeline_names == {"unet.": "unet.", **theirs}
    # Each name leads to the very module that trains.
    for ours, other in theirs.items():
        module = base.get_submodule(ours.rstrip("."))
        encoder, _, rest = other.rstrip(".").partition(".")
        named = dict(getattr(base.pipeline, encoder).named_parameters())
        own = {id(p) for p in module.parameters()}
        found = {k for k, p in named.items() if id(p) in own}
        assert found and len(found) == len(own), (rest, sorted(found)[:3])
