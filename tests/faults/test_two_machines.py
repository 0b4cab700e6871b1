"""Two machines that share a project's folder: parts of `prepare` and `index`, a training, a lock.

They are namespaces of this one: their processes have equal numbers, and neither sees the other's.
"""

import os

import pytest

from tests.support.catalogue import write_photos
from tests.support.cli import on_tiny_base
from tests.support.exports import write_export
from tests.support.nodes import ADDRESSES, two_nodes
from tests.support.projects import load_recipe
from tests.support.runs import contrastive
from unidiff_cli import Project, index, prepare
from unidiff_cli.project.receipt import Receipt

pytestmark = pytest.mark.slow

CLI = ("-m", "unidiff_cli.cli")
IMAGES = 1500


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("machines") / "shop", IMAGES)


def on_both(nodes, *arguments):
    """Runs a command of a project on both machines at once, "{part}" in it the part of each."""
    started = [
        nodes.start(node, *CLI, *(word.format(part=f"{node + 1}/2") for word in arguments))
        for node in (0, 1)
    ]
    for process in started:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, (out, err)


def hashes(project, name):
    return {file: record.sha256 for file, record in project.receipt(name).files.items()}


def test_parts_of_two_machines_give_what_one_gives(nodes, tmp_path, tiny_base, shop):
    alone, shared = (Project(tmp_path / name) for name in ("alone", "shared"))
    for project in (alone, shared):
        project.create()
        on_tiny_base(project, tiny_base)
    recipe = load_recipe(tiny_base)
    prepare(alone, recipe, shop)
    write_export(alone, tiny_base)
    index(alone)

    at = ("-C", str(shared.root))
    on_both(nodes, *at, "prepare", str(shop), "--part", "{part}")
    prepare(shared, recipe, shop)
    assert hashes(shared, "shards") == hashes(alone, "shards")
    write_export(shared, tiny_base)
    on_both(nodes, *at, "index", "--part", "{part}")
    index(shared)
    assert hashes(shared, "index") == hashes(alone, "index")


def test_a_project_that_one_machine_writes_is_refused_to_the_other(nodes, tmp_path, shop):
    project = Project(tmp_path / "project")
    project.create()
    holding = "import sys; from unidiff_cli import Project\n" + (
        "with Project(sys.argv[1]).lock(): print('held', flush=True); input()"
    )
    first = nodes.start(0, "-c", holding, str(project.root), stdin=-1)
    assert first.stdout.readline() == "held\n"
    second = nodes.start(1, *CLI, "-C", str(project.root), "prepare", str(shop))
    _, err = second.communicate(timeout=120)
    assert second.returncode == 1 and "Another unidiff" in err, err
    first.communicate("\n", timeout=60)
    assert first.returncode == 0 and not project.path("shards").exists()


def test_a_training_of_two_machines(nodes, project, finished, tiny_base):
    """torchrun on each: one run, with the losses of one process."""
    on_tiny_base(project, tiny_base)
    launcher = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    launcher += [f"--master-addr={ADDRESSES[0]}", "--master-port=29511"]
    started = [
        nodes.start(
            node,
            *launcher,
            f"--node-rank={node}",
            *CLI,
            "-C",
            str(project.root),
            "train",
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": f"v{node}"},
        )
        for node in (0, 1)
    ]
    for process in started:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, (out, err)
    [name] = project.runs()
    assert project.exports() == [name] and Receipt.read(project.path("index"))
    assert contrastive(project) == pytest.approx(contrastive(finished), rel=1e-3)
