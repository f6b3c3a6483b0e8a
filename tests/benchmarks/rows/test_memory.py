import mmap

import pytest

from benchmarks import process_state
from benchmarks.options import Options
from benchmarks.rows import memory
from pipeline.errors import InputError


@pytest.mark.slow
def test_samples_are_taken_at_both_ends(monkeypatch):
    monkeypatch.setattr(memory, "WARM", 10)
    monkeypatch.setattr(memory, "QUICK_FRAMES", 40)
    monkeypatch.setattr(memory, "SAMPLE_EVERY", 2)
    scene = memory.playback.scene
    monkeypatch.setattr(memory.playback, "scene", lambda count, objects, size_wh: scene(6, 1, size_wh))
    sizes = iter([100e6] * 5 + [103e6] * 5)
    monkeypatch.setattr(memory, "own_bytes", lambda: next(sizes))
    report = memory.measure(Options(quick=True))
    growth, early, late = report.values
    assert (growth.spread.median, growth.reached) == (3.0, False)
    assert (early.spread.count, late.spread.count) == (5, 5)
    assert (early.spread.median, late.spread.median) == (100, 103)
    assert report.settings["frames"] == 40


def test_a_system_that_does_not_tell_memory_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(process_state, "Path", lambda path: tmp_path / path.removeprefix("/"))
    with pytest.raises(InputError, match="read from /proc, which this system does not have: use Linux"):
        memory.measure(Options(quick=True))


def test_memory_that_is_used_is_seen():
    """From the system itself: the allocator may have freed memory to give again."""
    before = memory.own_bytes()
    with mmap.mmap(-1, 40_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert memory.own_bytes() - before > 30_000_000
