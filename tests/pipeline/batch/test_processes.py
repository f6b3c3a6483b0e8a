"""Workers as processes; what also holds of Ray's is in test_executor.py."""

import pytest

from pipeline.batch.processes import ThisMachine, default_processes
from pipeline.segmentation.machine import Machine
from tests.pipeline.batch.fakes import settings_of


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
    assert [ThisMachine(workers, Cores(8)).cores for workers in (1, 3, 16)] == [8, 2, 1]
