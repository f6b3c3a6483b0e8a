"""The benchmarks of batches, small."""

import re

import pytest

from benchmarks import batches


def test_a_small_cluster_on_a_clock(tmp_path, capsys):
    batches.cluster(tmp_path, (3,))
    assert re.match(r"3 workers, 30 recordings: the driver takes [\d.]+ ms for each", capsys.readouterr().out)


@pytest.mark.slow
def test_a_folder_of_a_few_files(tmp_path, capsys):
    batches.entries(tmp_path, (40,))
    assert re.match(r" +40 files: listed in [\d.]+ s, planned in [\d.]+, resumed in", capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.timeout(250)
def test_workers_that_sleep(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(batches, "LATENCY_S", 0.0)
    batches.workers(tmp_path)
    assert re.search(r"two beside one: [\d.]+\n$", capsys.readouterr().out)
