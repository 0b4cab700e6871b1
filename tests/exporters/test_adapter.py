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
