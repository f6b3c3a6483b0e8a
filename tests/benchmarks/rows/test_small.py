from benchmarks.options import Options
from benchmarks.rows import small
from tests.benchmarks.rows.fakes import by_name, opening


def test_rate_agreement_and_targets(monkeypatch):
    engines = opening(monkeypatch, small)
    monkeypatch.setattr(small, "alternate", lambda sides, rounds: {"best": [0.5] * rounds, "keras": [0.4] * rounds})
    report = small.measure(Options(quick=True))
    values = by_name(report)
    assert values["frames a second"].spread.median == small.FRAMES / 0.5
    assert values["frames a second"].reached is True
    assert values["times as fast as the square Keras engine"].spread.median == 4
    assert values["objects as the square Keras engine finds them, on the same canvas"].reached is False
    assert {engine.settings["weights"].rpartition("/")[2] for engine in engines} == {"stream_segment_person.h5"}
