"""A real file, decoded, drawn and encoded, with a fake for the network."""

import pytest

from benchmarks import footage
from benchmarks.measuring import RowReport
from benchmarks.rows import recorded
from tests.benchmarks.rows.fakes import by_name, opening


def test_bare_and_whole_see_the_same_frames(monkeypatch):
    engines = opening(monkeypatch, recorded)

    def alternate(sides, rounds):
        for run in sides.values():
            run()
            run()
        return {"bare": [2.0] * rounds, "pipeline": [2.5] * rounds}

    monkeypatch.setattr(recorded, "alternate", alternate)
    values, settings = recorded.case("small", {}, (96, 64), 5, 3)
    share, pipeline, bare = values
    assert (share.spread.median, share.reached) == (0.8, False)
    assert (pipeline.spread.median, bare.spread.median) == (2, 2.5)
    (engine,) = engines
    assert engine.seen == [(64, 96, 3)] * 20
    assert settings["frames"] == 5
    assert len(by_name(RowReport("r", "t", values))) == 3


def test_a_run_that_loses_frames_is_told(monkeypatch, tmp_path):
    clip = footage.write_clip(tmp_path / "c.mp4", footage.frames(3, (96, 64)))
    with (
        opening(monkeypatch, recorded) is not None and recorded.models.opened({}) as engine,
        pytest.raises(RuntimeError, match="4 frames were to be recorded, 3 were"),
    ):
        recorded.whole(engine, {}, clip, tmp_path / "o.mp4", 4)
