"""Workers as processes; what also holds of Ray's is in test_executor.py."""

import tempfile
from pathlib import Path

import pytest

from mrcnn.weights import user_cache
from pipeline.batch.executor import Died
from pipeline.batch.processes import Processes, ThisMachine, default_processes
from pipeline.batch.results_folder import ResultsFolder
from pipeline.segmentation.machine import Machine
from tests.pipeline.batch.fakes import plan_of, settings_of
from tests.pipeline.batch.windows_console import Crash


class Cores(Machine):
    def __init__(self, cores, gpu=False):
        self._cores, self._gpu = cores, gpu

    def cores(self):
        return self._cores

    def gpu_is_likely(self):
        return self._gpu


@pytest.mark.parametrize(
    ("cores", "gpu", "device", "expected"),
    [(1, False, "auto", 1), (2, False, "auto", 1), (9, False, "auto", 4), (9, True, "auto", 1), (9, True, "cpu", 4)],
)
def test_how_many_workers_a_machine_feeds(cores, gpu, device, expected):
    assert default_processes(settings_of(model={"device": device}), Cores(cores, gpu)) == expected


def test_workers_share_the_cores():
    assert [ThisMachine(workers, machine=Cores(8)).cores for workers in (1, 3, 16)] == [8, 2, 1]


@pytest.mark.parametrize(
    ("cores", "threads", "recordings", "workers", "of_each", "engines"),
    [
        (2, 1, 9, 2, 1, 1),  # two engines side by side were faster: two processes
        (2, 2, 9, 1, 2, 1),  # one on both cores was
        (2, 1, 1, 1, 2, 2),  # a single recording gets both engines
        (4, 1, 3, 3, 1, 1),
        (16, 2, 100, 8, 2, 1),
        (16, 2, 1, 2, 8, 4),  # no worker gets more cores than were measured
        (16, 8, 100, 2, 8, 1),
        (4, 8, 9, 1, 4, 1),  # the folder's engine was chosen on a larger machine
        (2, 1, 0, 1, 2, 2),
        (16, 2, None, 8, 2, 1),
    ],
)
def test_workers_follow_from_the_engines_that_were_measured(cores, threads, recordings, workers, of_each, engines):
    place = ThisMachine(None, machine=Cores(cores))
    assert place.cores == min(cores, 8)
    chosen = {"compared": True, "workers": 7, "threads": threads, "precision": "int8"}
    assert place.share(chosen, recordings) == chosen | {"workers": engines}
    assert (place.workers, place.cores) == (workers, of_each)


@pytest.mark.parametrize("chosen", [{"compared": False, "workers": 1, "threads": 8}, {"model": "another network"}])
def test_without_a_measurement_the_number_is_the_given_one(chosen):
    place = ThisMachine(None, 4, Cores(8))
    assert place.share(chosen, 100) == chosen
    assert (place.workers, place.cores) == (4, 2)


def test_a_number_that_the_user_gives_holds():
    place, chosen = ThisMachine(2, machine=Cores(8)), {"compared": True, "workers": 4, "threads": 1}
    assert place.share(chosen, 100) == chosen
    assert (place.workers, place.cores) == (2, 4)


def test_temporary_files_of_a_worker_lie_where_this_process_removes_them(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    user_cache.temporary_cache.cache_clear()
    try:
        made = Path(ThisMachine(1, machine=Cores(2)).call(tempfile.mkdtemp))
        assert made.is_dir()
        assert made.parent.parent == tmp_path
        user_cache.remove_temporary()
        assert not list(tmp_path.iterdir())
    finally:
        user_cache.temporary_cache.cache_clear()


def test_a_crash_is_told_where_standard_error_is_a_console_of_windows(tmp_path):
    ResultsFolder(tmp_path).make()
    workers = Processes(plan_of(tmp_path, make=Crash()), 1)
    workers.start(0)
    try:
        [died] = next(filter(None, (workers.events(1.0) for _ in range(60))))
    finally:
        workers.close()
    assert died == Died(0, "exit code 1: ZeroDivisionError: no network")
