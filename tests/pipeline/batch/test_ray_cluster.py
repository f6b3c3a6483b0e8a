"""How a cluster is shared, and what is said where there is none; what Ray's workers do is in test_executor.py."""

import builtins

import pytest

from pipeline.batch.ray_cluster import RayCluster, Share, share_of
from pipeline.errors import InputError
from tests.pipeline.batch.driver_process import run
from tests.pipeline.batch.fakes import Here, outputs_in, settings_of, summary_in, write_recordings

CPUS = {"CPU": 2.0, "memory": 1e9}


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "expected"),
    [
        ([CPUS], None, True, Share(1, 2, 0)),
        ([CPUS], 2, True, Share(2, 1, 0)),
        ([CPUS], 8, True, Share(2, 1, 0)),  # no more than there are cores
        ([{"CPU": 9.0}, {"CPU": 4.0}], None, True, Share(6, 2, 0)),
        ([{"CPU": 9.0}, {"CPU": 4.0}], 3, True, Share(3, 4, 0)),  # 4 and 4 of the first, 4 of the second
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}], None, True, Share(4, 4, 1)),
        ([{"CPU": 16.0, "GPU": 2.0}], 1, True, Share(1, 8, 1)),
        ([{"CPU": 16.0, "GPU": 2.0}], None, False, Share(8, 2, 0)),
        ([{"CPU": 1.0}], None, True, Share(1, 2, 0)),
    ],
)
def test_shares_of_a_cluster(nodes, workers, gpus, expected):
    assert share_of(nodes, workers, gpus) == expected


def test_without_ray_a_line_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def importing(name, *more):
        if name == "ray":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(InputError, match=r'--ray needs the package ray: pip install -e "\.\[ray\]"'):
        RayCluster("auto", None, settings_of())


@pytest.mark.slow
def test_no_cluster_is_one_line(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match=r"--ray auto: no cluster \(.*\); `ray start --head` starts one"):
        RayCluster("auto", None, settings_of())


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_node_that_is_killed_costs_what_it_had_under_way(tmp_path, monkeypatch):
    """Three nodes on this machine, two of which have room for a worker; one of these is killed in the middle."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("STREAM_SEGMENT_TEST_FRAME_S", "0.05")
    recordings = write_recordings(tmp_path / "in", *(f"{number}.mp4" for number in range(6)))
    run(recordings, tmp_path / "whole", Here())
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        place = RayCluster(cluster.address, 2, settings_of(model={"device": "cpu"}))
        assert place.workers == 2
        happened = []
        hold = tmp_path / "out" / "hold"

        def note(what, **fields):
            happened.append((what, fields.get("name")))
            if what == "done" and len(nodes) == 2:
                hold.touch()  # nobody finishes before Ray has noticed
                cluster.remove_node(nodes.pop(), allow_graceful=False)
            if what == "worker_ended":
                hold.unlink(missing_ok=True)

        batch = run(recordings, tmp_path / "out", place, note)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert batch.state.done == 6
    started = [name for what, name in happened if what == "started"]
    assert 6 <= len(started) <= 7  # one of them was under way on the node, if any was
    assert ("worker_ended", None) in happened
    assert outputs_in(tmp_path / "out") == outputs_in(tmp_path / "whole")
    assert summary_in(tmp_path / "out") == summary_in(tmp_path / "whole")
