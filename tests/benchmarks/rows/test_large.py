"""The whole row with small pictures: decoded, drawn and encoded, with a fake for the network."""

from benchmarks.options import Options
from benchmarks.rows import large, live
from tests.benchmarks.rows.fakes import by_name


def test_a_camera_and_a_file_with_where_the_time_goes(monkeypatch):
    monkeypatch.setattr(large, "SIZES", {"tiny": ((320, 192), 20)})
    monkeypatch.setattr(large, "FILE_FRAMES", 80)
    monkeypatch.setattr(large, "FILE_WARM", 25)  # more than lie between the threads
    monkeypatch.setattr(live, "WARM_S", 0.5)
    monkeypatch.setattr(live, "TAKES_S", 0.02)
    report = large.measure(Options(quick=True))
    values = by_name(report)
    assert 0 < values["tiny, live: frames displayed"].spread.median < 25  # not more than the camera has
    assert values["tiny, file: frames"].spread.median > 25  # as fast as it can
    if not live.thread_seconds():
        return  # the system does not say where the time goes
    for half, unit in (("live", "% of a core"), ("file", "ms of a core a frame")):
        parts = {name.removeprefix(f"tiny, {half}: "): one for name, one in values.items() if one.unit == unit}
        assert parts.keys() >= {"presenting", "capture", "inference", "threads of decoder and encoder"}
        assert all(one.spread.median >= 0 for one in parts.values())
