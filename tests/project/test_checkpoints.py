"""Checkpoints: whole or not there, damage noticed, an older one taken, a full disk a sentence."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unidiff_cli.errors import Damaged, EnvironmentProblem
from unidiff_cli.project import checkpoints

ROOT = Path(__file__).parents[2]
PARTS = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)},
    "averaged": {"a": torch.zeros(2, 3), "b": torch.zeros(4)},
}


def save(folder, step, **more):
    return checkpoints.save(folder, f"step-{step:06d}", PARTS, {"step": step, "best": {}, **more})


def steps(folder):
    return [int(p.name[-6:]) for p in checkpoints.committed(folder)]


def whole(folder):
    """The steps `latest` would take, newest first, and those it refuses."""
    pairs = list(checkpoints.latest(folder))
    good = [state["step"] for _, state in pairs if isinstance(state, dict)]
    return good, [path.name for path, state in pairs if isinstance(state, Damaged)]


def test_what_was_saved_comes_back(tmp_path):
    folder = save(tmp_path / "checkpoints", 5)
    assert sorted(p.name for p in folder.iterdir()) == [
        "averaged.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    state = checkpoints.verified(folder)
    assert state["step"] == 5 and state["best"] == {}
    for part, group in PARTS.items():
        tensors = checkpoints.tensors(folder, part)
        assert tensors.keys() == group.keys()
        assert all(torch.equal(tensors[k], v) for k, v in group.items())


def test_views_and_shared_tensors_are_saved_as_what_they_show(tmp_path):
    whole_one = torch.arange(12.0).reshape(3, 4)
    parts = {
        "weights": {
            "turned": whole_one.T,
            "row": whole_one[1],
            "same": whole_one,
            "again": whole_one,
        }
    }
    folder = checkpoints.save(tmp_path, "step-000001", parts, {"step": 1})
    tensors = checkpoints.tensors(folder, "weights")
    assert all(torch.equal(tensors[k], v) for k, v in parts["weights"].items())


def test_saving_again_replaces(tmp_path):
    save(tmp_path, 5, note="old")
    save(tmp_path, 5, note="new")
    assert checkpoints.verified(tmp_path / "step-000005")["note"] == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["step-000005"]


def test_prune_keeps_the_newest_and_the_best(tmp_path):
    for step in (10, 5, 20, 15):
        save(tmp_path, step)
    checkpoints.save(tmp_path, checkpoints.BEST, PARTS, {"step": 5})
    # Without a state: begun, never committed.
    (tmp_path / "step-000099").mkdir()
    checkpoints.prune(tmp_path, 2)
    assert steps(tmp_path) == [15, 20] and (tmp_path / checkpoints.BEST).is_dir()


def test_nothing_there(tmp_path):
    assert whole(tmp_path / "none") == ([], [])
    with pytest.raises(Damaged):
        checkpoints.verified(tmp_path / "none")


def test_the_older_one_is_taken(tmp_path):
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    (tmp_path / "step-000004" / "weights.safetensors").unlink()
    (tmp_path / "step-000003" / "state.json").write_text("{")
    assert whole(tmp_path) == ([2, 1], ["step-000004", "step-000003"])


@pytest.mark.parametrize("text", ["", "{", "{}", '{"files": {"weights.safetensors": 5}}'])
def test_a_state_that_is_none_is_damage(tmp_path, text):
    folder = save(tmp_path, 1)
    (folder / "state.json").write_text(text)
    with pytest.raises(Damaged):
        checkpoints.verified(folder)


def test_one_that_lost_its_state_is_named_and_replaced(tmp_path):
    for step in (1, 2):
        save(tmp_path, step)
    (tmp_path / "step-000002" / "state.json").unlink()
    (_, problem), (_, older) = checkpoints.latest(tmp_path)
    assert "step-000002/state.json" in problem.fact and older["step"] == 1
    save(tmp_path, 2, note="again")
    assert whole(tmp_path) == ([2, 1], [])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000001", "step-000002"]


def test_a_damaged_state_is_not_believed(tmp_path):
    """It may say that another file is wrong."""
    file = save(tmp_path, 1) / "state.json"
    sha256 = checkpoints.digests(tmp_path)["step-000001/weights.safetensors"]
    file.write_text(file.read_text().replace(sha256, sha256[::-1]))
    with pytest.raises(Damaged, match=r"state\.json is not what was written"):
        checkpoints.verified(file.parent)


@pytest.mark.parametrize("text", ["null", "[]", "5", '{"files": []}'])
def test_a_state_of_another_shape_is_damage(tmp_path, text):
    folder = save(tmp_path, 1)
    (folder / "state.json").write_text(text)
    with pytest.raises(Damaged):
        checkpoints.verified(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "averaged.safetensors", "state.json"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_flipped_byte_anywhere_is_noticed(tmp_path, name, data):
    folder = tmp_path / "step-000007"
    if not folder.exists():
        save(tmp_path, 7)
    file = folder / name
    good = file.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    bit = data.draw(st.integers(0, 7))
    file.write_bytes(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
    try:
        assert whole(tmp_path) == ([], ["step-000007"])
    finally:
        file.write_bytes(good)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_cut_file_is_noticed(tmp_path, cut):
    file = save(tmp_path, 7) / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    assert whole(tmp_path) == ([], ["step-000007"])


# ---------------------------------------------------------------- the disk


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_names_the_path_and_the_size_and_keeps_the_others(
    tmp_path, monkeypatch, wrapped
):
    save(tmp_path, 1)
    before = checkpoints.verified(tmp_path / "step-000001")
    written = []

    def full(tensors, file, *args):
        # The first file fits.
        if written:
            text = f"No space left on device (os error {errno.ENOSPC})"
            raise (
                safetensors.SafetensorError(text)
                if wrapped
                else OSError(errno.ENOSPC, text, str(file))
            )
        written.append(file)
        save_file(tensors, file)

    save_file = safetensors.torch.save_file
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    for step in (1, 2):
        written.clear()
        with pytest.raises(EnvironmentProblem) as caught:
            save(tmp_path, step)
        assert caught.value.exit_code == 3
        assert (
            str(tmp_path) in caught.value.fact
            and "MB" in caught.value.fact
            and f"step-{step:06d}" in caught.value.fact
        )
        assert "train --resume" in caught.value.action
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
    assert checkpoints.verified(tmp_path / "step-000001") == before


def test_a_disk_that_is_really_full(small_disk):
    save(small_disk, 1)
    big = {"weights": {"a": torch.zeros(1_000_000)}}  # 4 MB
    with pytest.raises(
        EnvironmentProblem, match=r"step-000002 \(4 MB\) does not fit .*disk: [12] MB are free"
    ):
        checkpoints.save(small_disk, "step-000002", big, {"step": 2})
    assert whole(small_disk) == ([1], []) and not list(small_disk.glob(".*"))


def test_what_is_not_the_disk_is_not_called_so(tmp_path):
    with pytest.raises((TypeError, AttributeError)):
        checkpoints.save(tmp_path, "step-000001", {"weights": {"a": torch.ones(2)}}, {object(): 1})
    assert not list(tmp_path.iterdir())


KILLED = """
import sys
from pathlib import Path
import torch
from tests.support.kills import kill_at_rename
from unidiff_cli.project import checkpoints
kill_at_rename(int(sys.argv[2]))
parts = {"weights": {"a": torch.ones(2)}}
checkpoints.save(Path(sys.argv[1]), "step-000001", parts, {"step": 1, "note": "new"})
"""


@pytest.mark.parametrize(("at", "note"), [(1, "old"), (2, "new")])
def test_a_kill_at_the_renames_leaves_a_whole_checkpoint(tmp_path, at, note):
    save(tmp_path, 1, note="old")
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(at)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert whole(tmp_path) == ([1], [])
    assert checkpoints.verified(tmp_path / "step-000001")["note"] == note
    save(tmp_path, 1, note="next")
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
