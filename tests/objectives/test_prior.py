"""Prior: the base's own images of general captions, generated once, the same on any processes."""

import pytest
import torch

from tests.support.batches import batch_of, forward_of, with_prior
from tests.support.projects import load_recipe
from tests.support.runs import (
    GRADIENTS,
    Cut,
    assert_equal_gradients,
    assert_resumes_exactly,
    cut_at,
    gradients_of_one_and_two,
    losses,
)
from unidiff_cli import train
from unidiff_cli.data.dataset import BatchPlan, PriorDataset, Samples
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import EnvironmentProblem, NotReady, UsageError
from unidiff_cli.models import loading
from unidiff_cli.objectives.denoise import Denoise
from unidiff_cli.objectives.prior import GENERAL, Prior
from unidiff_cli.sample_catalog import OBJECTS
from unidiff_cli.sample_catalog.vocabulary import TYPES
from unidiff_cli.training.general_images import generate_general
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups

SMALL = ("objectives.prior.images=6", "objectives.prior.every=2", "generate.batch_size=4")


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def module_of(base, tiny_base, *assignments, name="sd-only"):
    recipe = load_recipe(tiny_base, *SMALL, *assignments, name=name)
    return TrainingModule(base, recipe.active(), seed=0), recipe


# ---------------------------------------------------------------- the loss


def test_the_built_in_captions_name_nothing_of_the_probe():
    assert len(Prior().read()) == 200
    captions = Prior(images=400).read()
    assert len(captions) == len(set(captions)) == 400
    words = {word for caption in captions for word in caption.lower().split()}
    # A "top" alone is the top of something.
    named = {word for name in [*OBJECTS, *TYPES] for word in name.split()} - {
        "milk",
        "juice",
        "top",
    }
    assert not words & {word + ending for word in named for ending in ("", "s", "es")}
    assert GENERAL.is_file()


def test_one_text_forward_and_one_more_pass_of_the_denoiser(base, tiny_base, monkeypatch):
    sizes: dict[str, list[int]] = {"encode_text": [], "denoise": []}
    for name in sizes:
        whole = getattr(base, name)

        def counted(first, *more, _name=name, _whole=whole):
            sizes[_name].append(len(first))
            return _whole(first, *more)

        monkeypatch.setattr(base, name, counted)
    module, recipe = module_of(base, tiny_base, name="joint")
    assert "prior" in recipe.active()
    total, _ = module.train()(with_prior(batch_of(8)))
    assert sizes == {"encode_text": [8 + 4 + 1], "denoise": [8, 4]} and torch.isfinite(total)


def assert_is_the_denoise_loss_of_its_rows(base, module, batch):
    with torch.no_grad():
        loss, _ = module.terms["prior"](forward_of(base, batch, module.needs))
        denoise, _ = Denoise().loss(forward_of(base, batch.prior, module.needs))
    assert torch.allclose(loss, denoise, rtol=1e-5)


def test_it_is_the_denoise_loss_of_its_own_rows(base, tiny_base):
    module, _ = module_of(base, tiny_base)
    assert_is_the_denoise_loss_of_its_rows(base, module, with_prior(batch_of(8)))


def test_it_counts_the_samples_that_the_denoiser_sees(base, tiny_base):
    """Of 8 it sees four, numbered 0 to 3: with `every` 2 two of them bring one of these."""
    module, _ = module_of(base, tiny_base)
    batch = batch_of(8)
    batch.denoise_rows, batch.denoise_positions = [1, 3, 5, 7], [0, 1, 2, 3]
    batch.latents = batch.latents[1::2]
    batch.prior = with_prior(batch_of(4)).prior
    assert_is_the_denoise_loss_of_its_rows(base, module, batch)


def test_the_denoiser_trains_on_it_alone(base, tiny_base):
    module, recipe = module_of(base, tiny_base, "objectives.denoise=null")
    groups = parameter_groups(module, recipe.train)
    assert not module.needs.latents and {group["name"] for group in groups} == {"denoiser"}
    module.train()(with_prior(batch_of(4)))[0].backward()
    assert base.unet.conv_out.weight.grad.abs().sum() > 0


def test_a_step_without_a_row_of_it_leaves_a_gradient_of_zero(base, tiny_base):
    module, recipe = module_of(base, tiny_base, "objectives.denoise=null")
    parameter_groups(module, recipe.train)
    module.train()(batch_of(4))[0].backward()
    assert base.unet.conv_in.weight.grad.abs().sum() == 0


# ---------------------------------------------------------------- its images


def stop(label, done, total):
    raise Cut


def test_images_are_generated_once_and_an_interrupted_call_goes_on(project, base, recipe):
    captions, progress = ["a lake", "a fox", "a tram"] * 2, []
    options = load_recipe(recipe.base, *SMALL).generate
    with pytest.raises(Cut):
        generate_general(project, base, "w", captions, options, stop)
    files = generate_general(
        project, base, "w", captions, options, lambda *at: progress.append(at[1:])
    )
    # The first four were kept.
    assert progress == [(6, 6)]
    # Nothing is left to generate.
    generate_general(project, base, "w", captions, options, stop)
    assert PriorDataset(captions, files, 2, 0).arrays["latents"].shape == (6, 8, 8, 8)


def test_other_weights_and_other_captions_have_other_files(project, base, recipe):
    captions, options = ["a lake", "a fox"], load_recipe(recipe.base, *SMALL).generate
    files = generate_general(project, base, "w", captions, options)
    for weights, others in (("v", captions), ("w", captions[:1])):
        unlike = generate_general(project, base, weights, others, options)
        assert set(unlike["latents"]).isdisjoint(files["latents"])


def test_another_batch_size_pairs_captions_with_the_same_images(project, base, recipe):
    """An interrupted call goes on with fewer at a time, as one out of memory is told to."""
    captions = [f"place {i}" for i in range(6)]

    def generated(size, on_progress=None):
        options = load_recipe(recipe.base, *SMALL, f"generate.batch_size={size}").generate
        files = generate_general(project, base, "w", captions, options, on_progress)
        return PriorDataset(captions, files, 2, 0).arrays["latents"]

    with pytest.raises(Cut):
        generated(4, stop)
    mixed = generated(2)
    assert len(mixed) == 6 and (mixed == generated(4)).all()
    (folder,) = project.path("cache").glob("*/general")
    for file in folder.glob("*/*.npy"):
        file.unlink()
    again = torch.from_numpy(generated(3)).float()
    assert torch.allclose(again, torch.from_numpy(mixed).float(), atol=2e-2)
    files = {"latents": sorted(folder.glob("latents/*.npy"))[:5]}
    with pytest.raises(EnvironmentProblem, match="holds 5 images of the prior's 6 captions"):
        PriorDataset(captions, files, 2, 0).arrays  # noqa: B018


# ---------------------------------------------------------------- which are seen


@pytest.fixture
def prior_of(project, base, tiny_base):
    """A prior of five captions, one for every so many samples."""
    captions = [f"place {i}" for i in range(5)]
    options = load_recipe(tiny_base, *SMALL).generate
    files = generate_general(project, base, "w", captions, options)
    return lambda every: PriorDataset(captions, files, every, 0)


def test_as_many_are_seen_as_the_denoiser_sees_others(base, prepared, prior_of):
    """With denoise_batch a quarter of 4 of 16, not of all 16."""
    shards, transforms = Shards.open(prepared.path("shards")), base.transforms()
    rows, prior = shards.rows("train"), prior_of(2)
    for world in (1, 2):
        plans = [BatchPlan(16, 0, denoise_batch=4, rank=r, world=world) for r in range(world)]
        shares = [Samples(shards, rows, p, transforms=transforms, prior=prior) for p in plans]
        for step in range(3):
            parts = [share[step].prior for share in shares]
            positions = [p for part in parts if part for p in part.positions]
            assert positions == [-1 - 2 * step, -2 - 2 * step]


def test_which_are_seen_does_not_depend_on_the_processes(prepared, prior_of):
    shards, prior = Shards.open(prepared.path("shards")), prior_of(3)

    def seen(world):
        plans = [BatchPlan(8, 0, rank=rank, world=world) for rank in range(world)]
        shares = [Samples(shards, shards.rows("train"), plan, prior=prior) for plan in plans]
        parts = [share[step].prior for step in range(3) for share in shares]
        return [
            (position, caption, float(latents.sum()))
            for part in parts
            if part
            for position, caption, latents in zip(
                part.positions, part.captions, part.latents, strict=True
            )
        ]

    whole = seen(1)
    assert whole == seen(2) == seen(8)
    assert [position for position, *_ in whole] == [-1 - n for n in range(8)]
    # Each before any comes again.
    assert {caption for _, caption, _ in whole[:5]} == {f"place {i}" for i in range(5)}


# ---------------------------------------------------------------- whole runs


@pytest.fixture
def captions_file(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("# general\na lake\na fox\n")
    return file


@pytest.fixture
def with_captions(recipe, captions_file):
    """A short recipe with a prior of captions of one's own."""
    captions = f"objectives.prior.captions={captions_file}"
    schedule = ("train.steps=3", "train.checkpoint_every=2")
    return load_recipe(recipe.base, *SMALL, captions, *schedule)


@pytest.mark.slow
def test_a_run_with_it_resumes_exactly(project, tmp_path, with_captions):
    labels = set()
    assert_resumes_exactly(
        project, tmp_path, with_captions, last=3, on_progress=lambda label, *at: labels.add(label)
    )
    assert "generating the prior" in labels


def test_a_run_does_not_go_on_with_other_captions(project, with_captions, captions_file):
    with pytest.raises(Cut):
        train(project, with_captions, on_step=cut_at(1))
    captions_file.write_text("a lake\na wolf\n")
    with pytest.raises(NotReady, match="The prior's captions changed since run"):
        train(project, with_captions, resume=True)


def test_a_file_without_captions_is_refused(project, with_captions, captions_file):
    captions_file.write_text("# nothing\n")
    with pytest.raises(UsageError, match="holds no prompt"):
        train(project, with_captions)


@pytest.mark.slow
def test_two_processes_train_with_it(project, recipe):
    """Every step all of it falls to the first process."""
    options = ("objectives.prior.every=8", "train.processes=2", "train.steps=2")
    name, _ = train(project, load_recipe(recipe.base, *SMALL, *options))
    assert sorted(losses(project, name)) == [1, 2]


@pytest.mark.slow
def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base):
    """Samples 0, 3 and 6 bring one each: two of one process, one of the other."""
    prior = ("objectives.prior.weight=1", "objectives.prior.every=3")
    one, two = gradients_of_one_and_two(GRADIENTS, tmp_path, tiny_base, *prior)
    assert_equal_gradients(one, two)
