"""A real file, decoded, drawn and encoded, with a fake for the network."""

import pytest

from benchmarks import footage
from benchmarks.measuring import RowReport
from benchmarks.rows import recorded
from tests.benchmarks.rows.fakes import Engine, by_name, opening


@pytest.fixture
def side_by_side(monkeypatch):
    """What stands for the segmenters that runs make for themselves: two frames at once."""
    made = []

    def segmenter_for(settings, steadying, info, live):
        assert (steadying.steady, info.width, info.height, live) == (0.0, 96, 64, False)
        made.append(Engine({}, 2))
        return made[-1]

    monkeypatch.setattr(Engine, "workers", 2)
    monkeypatch.setattr(recorded, "segmenter_for", segmenter_for)
    return made


def test_bare_and_whole_see_the_same_frames(monkeypatch, side_by_side):
    engines = opening(monkeypatch, recorded)

    def alternate(sides, rounds):
        assert list(sides) == ["first half", "pipeline", "second half"]
        for run in sides.values():
            run()
            run()
        return {"first half": [0.5] * rounds, "pipeline": [2.5] * rounds, "second half": [1.5] * rounds}

    monkeypatch.setattr(recorded, "alternate", alternate)
    values, settings = recorded.case("small", {}, (96, 64), 5, 3)
    share, pipeline, bare = values
    assert (share.spread.median, share.reached) == (0.8, False)
    assert (pipeline.spread.median, bare.spread.median) == (2, 2.5)
    for engine in (*engines, *side_by_side):
        assert engine.seen == [(64, 96, 3)] * 10
    assert (len(engines), len(side_by_side)) == (1, 1)
    assert side_by_side[0].closed == 1
    assert settings["frames"] == 5
    assert len(by_name(RowReport("r", "t", values))) == 3


def test_a_run_that_loses_frames_is_told(tmp_path, side_by_side):
    clip = footage.write_clip(tmp_path / "c.mp4", footage.frames(3, (96, 64)))
    settings = recorded.settings_for({}, clip, tmp_path / "o.mp4")
    with (
        recorded.ready(settings) as engine,
        pytest.raises(RuntimeError, match="4 frames were to be recorded, 3 were"),
    ):
        recorded.whole(engine, settings, 4)
