"""The upper ends of CLIP's towers: what trains there, and how fast."""

import pytest

from tests.support.projects import load_recipe
from unidiff_cli.errors import UsageError
from unidiff_cli.models.loading import load_base
from unidiff_cli.training.depth import depths
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups, trained_weights


def groups_of(tiny_base, *assignments):
    """The optimiser's groups of a recipe on the tiny base, whose towers have two blocks."""
    recipe = load_recipe(tiny_base, *assignments)
    module = TrainingModule(load_base(str(tiny_base), 32), recipe.active(), 0)
    return parameter_groups(module, recipe.train), module


def test_depths_count_the_blocks_above():
    names = ["a.embed.w", "a.norm.b", "a.encoder.layers.0.w", "a.encoder.layers.1.q.lora_A.w"]
    after = ["a.final.w", "b.embed.w", "b.encoder.layers.0.w", "projection.w"]
    found = depths([*names, *after])
    assert list(found.values()) == [2, 2, 1, 0, 0, 1, 0, 0]


def test_only_the_last_layers_train(tiny_base):
    _, module = groups_of(tiny_base, "train.last_layers.vision=1", "train.last_layers.text=2")
    trained = set(trained_weights(module))
    vision = {name for name in trained if "vision" in name or "visual" in name}
    assert {n.split(".")[4] for n in vision if ".layers." in n} == {"1"}
    assert {"clip.visual_projection.weight", "clip.vision_model.post_layernorm.bias"} <= vision
    assert not any("embeddings" in name or "pre_layrnorm" in name for name in trained)
    assert {n.split(".")[4] for n in trained if "text_model" in n and ".layers." in n} == {"0", "1"}
    assert "unet.conv_in.weight" in trained


def test_each_block_trains_slower_than_the_one_above(tiny_base):
    groups, module = groups_of(tiny_base, "train.layer_decay=0.5", "train.lr.vision=1e-3")
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    names = {name: rates[id(p)] for name, p in trained_weights(module).items()}
    vision = "clip.vision_model."
    assert names[f"{vision}encoder.layers.1.mlp.fc1.weight"] == 1e-3 == rates_of_first(groups)
    assert names[f"{vision}encoder.layers.0.mlp.fc1.bias"] == pytest.approx(5e-4)
    assert names[f"{vision}embeddings.patch_embedding.weight"] == pytest.approx(2.5e-4)
    assert names["unet.conv_in.weight"] == 1e-3


def rates_of_first(groups):
    """The rate that the log shows."""
    return groups[0]["lr"]


def test_more_last_layers_than_the_tower_has_are_refused(tiny_base):
    with pytest.raises(UsageError, match="train.last_layers.text is 3, and the tower has 2 blocks"):
        groups_of(tiny_base, "train.last_layers.text=3")
