"""A Ray cluster of two nodes on this machine, one of which a test takes away."""

from contextlib import contextmanager

import pytest


@contextmanager
def two_nodes():
    """Its address, and a call that takes one of its nodes away, at most once."""
    pytest.importorskip("ray", reason="comes with the extra `ray`")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()

    def lose():
        if len(cluster.list_all_nodes()) == 2:
            cluster.remove_node(lost)

    try:
        yield cluster.address, lose
        assert len(cluster.list_all_nodes()) == 1
    finally:
        ray.shutdown()
        cluster.shutdown()
