"""A run of each objective from its first step to its export, and on two processes."""

import pytest
import torch
from safetensors import safe_open

from tests.support.projects import load_recipe
from tests.support.runs import (
    GRADIENTS,
    assert_equal_gradients,
    assert_resumes_exactly,
    gradients_of_one_and_two,
)
from unidiff_cli import export, train
from unidiff_cli.models import loading
from unidiff_cli.project import checkpoints

CAPTION = "objectives.consistency.prompt=caption"
BARELY = "objectives.consistency.max_timestep=600"
MAP = ("objectives.consistency.features=map", "objectives.consistency.same_timestep=true")
# The assignments of a run, and whether its objectives learn something of their own.
RUNS = [
    (("objectives.consistency.kind=relational",), False),
    (("objectives.consistency.kind=relational+anchor",), False),
    (("objectives.consistency.kind=projected",), True),
    (("objectives.consistency.kind=contrastive",), True),
    (("objectives.consistency.kind=cross_modal",), True),
    (("objectives.consistency.kind=decoded",), False),
    (
        ("objectives.consistency.kind=contrastive", CAPTION, "objectives.consistency.layer=up1"),
        True,
    ),
    (("objectives.sigmoid.weight=1", "objectives.contrastive=null"), True),
    (("objectives.anchor.kind=weights",), False),
    ((*MAP, "objectives.consistency.to_denoiser=0"), False),
    (("objectives.consistency=null", "objectives.anchor.kind=image_relations"), False),
]
NAMES = [" ".join(options).replace("objectives.", "") for options, _ in RUNS]


def short(base, options):
    schedule = ("train.steps=3", "train.checkpoint_every=2", "train.validate_every=3")
    return load_recipe(base, *options, *schedule)


# Each takes seven seconds: a few in CI, all in `make test-all`.
QUICK = ("consistency.kind=relational+anchor", "consistency.kind=projected", "anchor.kind=weights")


@pytest.mark.parametrize(
    ("options", "headed"),
    [
        pytest.param(*run, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for run, name in zip(RUNS, NAMES, strict=True)
    ],
)
def test_a_run_resumes_exactly_and_exports_without_heads(
    project, tmp_path, recipe, options, headed
):
    name = assert_resumes_exactly(project, tmp_path, short(recipe.base, options), last=3)
    checkpoint = project.path("runs", name, "checkpoints", "step-000003")
    heads = checkpoints.tensors(checkpoint, "heads")
    assert bool(heads) == headed
    assert checkpoints.tensors(checkpoint, "averaged_heads").keys() == heads.keys()
    exported, _ = export(project, name)
    folder = project.path("exports", exported)
    assert not [key for key in keys_of(folder) if "head" in key or "log_scale" in key]
    loading.load_base(str(folder), 32)


def keys_of(folder):
    """The names of all tensors in a folder."""
    keys = set()
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            keys |= set(opened.keys())
    assert keys
    return keys


# The assignments, and how the names of what an objective learns of its own begin.
SHARED = {
    "contrastive": (("objectives.consistency.kind=contrastive",), "heads."),
    "captioned": (("objectives.consistency.kind=projected", CAPTION, BARELY), "heads."),
    "decoded": (("objectives.consistency.kind=decoded", CAPTION, BARELY), ""),
    "sigmoid": (("objectives.sigmoid.weight=1",), "heads."),
    "cross_modal": (("objectives.consistency.kind=cross_modal",), "heads."),
    "relational+anchor": (("objectives.consistency.kind=relational+anchor",), ""),
    "map": (MAP, ""),
    "image_relations": (("objectives.anchor.kind=image_relations",), ""),
    "text_diffusion": (("objectives.text_diffusion.weight=1",), "dual_stream."),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARED)
def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base, name):
    options, beginning = SHARED[name]
    one, two = gradients_of_one_and_two(GRADIENTS, tmp_path, tiny_base, *options)
    new = {key: gradient for key, gradient in one.items() if key.startswith(beginning)}
    assert any(gradient.abs().max() > 0 for gradient in new.values())
    assert_equal_gradients(one, two)


def test_a_clip_with_a_frozen_text_tower_is_one_key_of_clip_only(project, tiny_base):
    """LiT, DiffDis's rival: the vision tower moves, and no bit of the text tower."""
    options = ("train.trains=[vision]", "train.steps=2")
    name, receipt = train(project, load_recipe(tiny_base, *options, name="clip-only"))
    assert "r1_t2i" in receipt.figures["best"]["figures"]
    export(project, name)
    before, after = (loading.load_base(str(folder), 32) for folder in (tiny_base, project.export()))
    moved = {
        tower: not all(map(torch.equal, parameters, after.parameter_groups()[tower]))
        for tower, parameters in before.parameter_groups().items()
    }
    assert moved == {"vision": True, "text": False, "denoiser": False, "new_layers": False}
