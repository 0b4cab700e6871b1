"""`unidiff base`: what a base consists of, and fetching one from a hub that runs here."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save

from tests.support.cli import words
from tests.support.hub import Hub, serving
from unidiff_cli import machine

SD, CLIP = "acme/tiny-sd", "acme/tiny-clip"
# Runs commands in one process: a line of JSON each, its exit code, output and errors.
COMMANDS = """
import contextlib, io, json, sys
from unidiff_cli.cli import program
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["unidiff", *arguments]
    out, err = io.StringIO(), io.StringIO()
    from unidiff_cli.cli import console
    console.out.file, console.err.file = out, err
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = program.run()
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def run(endpoint, home, *commands, offline="0"):
    """The exit codes, outputs and errors of commands that ask a hub, with a cache of their own."""
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HUB_OFFLINE": offline, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        capture_output=True,
        text=True,
        env=env,
        cwd=home,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def files_of(folder, left_out=()):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in left_out
    }


@pytest.fixture
def hub(tiny_base):
    """The tiny base as two repositories, with what real ones hold beside: a safety checker, the
    same weights in half and as a pickle, and the whole in one file."""
    sd, clip = files_of(tiny_base, ("clip", "made", "base.yaml")), files_of(tiny_base / "clip")
    index = json.loads(sd["model_index.json"])
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    sd["model_index.json"] = json.dumps(index).encode()
    weights = "unet/diffusion_pytorch_model"
    extras = (f"{weights}.fp16.safetensors", f"{weights}.bin", "v1-5.safetensors")
    sd |= {name: b"not to be fetched" for name in extras}
    sd["safety_checker/config.json"] = b"{}"
    sd["safety_checker/model.safetensors"] = save({"weight": np.zeros((2, 3), np.float32)})
    return Hub({SD: sd, CLIP: clip}, {SD: "creativeml-openrail-m"})


def test_a_base_is_fetched_with_its_licence_first_and_shown(hub, tmp_path):
    both = (SD, "--clip", CLIP)
    with serving(hub) as endpoint:
        before, fetched, again, after = run(
            endpoint,
            tmp_path,
            ["base", "show", *both, "--json"],
            ["base", "fetch", *both],
            ["base", "fetch", *both],
            ["base", "show", *both],
        )
    facts = json.loads(before[1])
    assert before[0] == 0 and facts["licences"][SD] == "creativeml-openrail-m"
    assert facts["missing"] and facts["text_towers"] == "compared once the weights are here"
    parameters = {part["name"]: part["parameters"] for part in facts["parts"]}
    assert parameters["safety_checker"] == 6
    assert parameters["unet"] > 100_000 and parameters["clip, vision tower"] > 10_000
    code, out, _ = fetched
    lines = out.splitlines()
    assert code == 0 and lines[0] == f"licence of {SD}: creativeml-openrail-m"
    assert lines[1].startswith(f"licence of {CLIP}: none is named there")
    assert lines[-1] == f"{SD} and {CLIP} are here, whole."
    assert again[0] == 0 and f"{SD}: 0.00 GB of" in again[1]
    assert (
        after[0] == 0 and "the same weights, within" in after[1] and "here         yes" in after[1]
    )
    names = [name for name, _ in hub.asked]
    unwanted = ("fp16", ".bin", "v1-5")
    assert "safety_checker/model.safetensors" in names
    assert not [name for name in names if any(word in name for word in unwanted)]


def test_a_fetch_that_broke_off_goes_on_where_it_was(hub, tmp_path):
    weights = "unet/diffusion_pytorch_model.safetensors"
    # huggingface_hub keeps what has come in pieces of 10 MiB.
    size = 24 << 20
    hub.repositories[SD][weights] = bytes(size)
    hub.cut[weights] = 15 << 20
    with serving(hub) as endpoint:
        results = run(endpoint, tmp_path, *[["base", "fetch", SD, "--clip", CLIP]] * 2)
    assert results[-1][0] == 0, results
    # The first answer broke off; what is asked for then is the rest.
    asked = [part for name, part in hub.asked if name == weights]
    assert asked[0] is None and asked[1] == "bytes=10485760-"


def test_without_a_network_it_says_what_is_missing(hub, tmp_path):
    clip = {name: data for name, data in hub.repositories[CLIP].items() if name != "config.json"}
    hub.repositories[CLIP], whole = clip, hub.repositories[CLIP]
    with serving(hub) as endpoint:
        [(code, _, err)] = run(endpoint, tmp_path, ["base", "fetch", SD, "--clip", CLIP])
        assert code == 3 and f"lacks {CLIP}: config.json" in words(err), err
    commands = [["base", name, SD, "--clip", CLIP] for name in ("fetch", "show")]
    for code, _, err in run(endpoint, tmp_path, *commands, offline="1"):
        assert code == 3 and "HF_HUB_OFFLINE is set, and this machine lacks" in words(err)
        assert f"{CLIP}: config.json" in words(err) and "Traceback" not in err
    # The server is gone.
    [(code, _, err)] = run(endpoint, tmp_path, ["base", "fetch", SD, "--clip", CLIP])
    assert code == 3 and f"lacks {CLIP}: config.json" in words(err) and "Traceback" not in err
    assert whole


def test_what_the_hub_refuses_is_a_sentence(hub, tmp_path):
    hub.gated.add(CLIP)
    with serving(hub) as endpoint:
        gated, unknown = run(
            endpoint,
            tmp_path,
            ["base", "fetch", SD, "--clip", CLIP],
            ["base", "fetch", "acme/nothing", "--clip", CLIP],
        )
    assert gated[0] == 3 and f"{CLIP} is gated" in gated[2] and "hf auth login" in gated[2]
    assert unknown[0] == 2 and "The hub has no acme/nothing" in unknown[2]


# ---------------------------------------------------------------- bases of this machine


def test_a_folder_is_shown_and_nothing_is_fetched(unidiff, tiny_base, workplace):
    code, out, _ = unidiff("base", "show", tiny_base)
    assert code == 0 and "text towers  the same weights, within 0" in out
    assert "here         yes" in out and "UNet2DConditionModel" in out
    code, out, _ = unidiff("base", "fetch", tiny_base)
    assert code == 0 and "nothing is to fetch" in out


@pytest.mark.slow
def test_the_memory_of_each_recipe_is_estimated(unidiff, tiny_base, workplace):
    facts = json.loads(unidiff("base", "show", tiny_base, "--memory", "--json")[1])
    parameters = {part["name"]: part["parameters"] for part in facts["parts"]}
    assert facts["memory_bytes"]["sd-only"]["gradients"] == 4 * parameters["unet"]
    out = unidiff("base", "show", tiny_base, "--memory")[1]
    assert "GB of memory, estimated" in out and "sd-only" in out


def test_nano_has_a_licence(unidiff, workplace):
    facts = json.loads(unidiff("base", "show", "nano", "--json")[1])
    assert list(facts["licences"].values()) == ["apache-2.0"] and not facts["missing"]
    counts = {part["name"]: part["parameters"] for part in facts["parts"]}
    assert counts["unet"] == 7_698_256
    assert counts["clip, vision tower"] + counts["clip, text tower"] == 6_458_113


def test_a_full_disk_is_said_before_anything_is_fetched(monkeypatch, tmp_path):
    from unidiff_cli.errors import EnvironmentProblem
    from unidiff_cli.models.hub import refuse_small_disk

    monkeypatch.setattr(machine, "free_bytes", lambda folder: 10**9)
    with pytest.raises(EnvironmentProblem, match="takes 5.00 GB more, and 1.00 GB are free"):
        refuse_small_disk(tmp_path, 5 * 10**9, "acme/sd")
    refuse_small_disk(tmp_path, 10**9, "acme/sd")


# ---------------------------------------------------------------- a GPU without its weights


@pytest.fixture
def gpu(monkeypatch, project):
    """A machine with a GPU, and a project whose recipe names no base."""
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    text = project.file.read_text()
    project.file.write_text("".join(x for x in text.splitlines(True) if not x.startswith("base")))
    return project


def test_a_gpu_without_weights_does_not_train_nano_by_itself(unidiff, gpu):
    for command in (("train",), ("train", "--dry-run"), ("train", "--base", "auto")):
        code, _, err = unidiff("-C", gpu.root, *command)
        assert code == 3 and "is not in the hub cache" in err, err
        assert "unidiff base fetch stable-diffusion-v1-5/" in err and "--base nano" in err
    assert not gpu.runs() and "base:" not in gpu.file.read_text()


@pytest.mark.slow
def test_nano_is_trained_where_it_is_named_and_stays_named(unidiff, gpu):
    options = ("--set", "train.steps=1", "--set", "train.batch_size=8", "--dry-run")
    code, out, err = unidiff("-C", gpu.root, "train", "--base", "nano", *options)
    assert code == 0 and "base nano: embedded in the package" in err and "base: nano\n" in out
    assert "base:" not in gpu.file.read_text(), "a dry run writes nothing"


@pytest.mark.slow
def test_the_base_of_a_run_is_kept_in_the_projects_file(unidiff, gpu, tiny_base, monkeypatch):
    steps = ("--set", "train.steps=1", "--set", "train.validate_every=5")
    assert unidiff("-C", gpu.root, "train", "--base", tiny_base, *steps)[0] == 0
    assert f"base: {tiny_base}\n" in gpu.file.read_text()


def test_a_catalogue_is_prepared_on_a_gpu_without_weights(unidiff, gpu, catalogue):
    code, _, err = unidiff("-C", gpu.root, "prepare", catalogue, "--force")
    assert code == 0 and "The captions' tokens are not counted" in err
