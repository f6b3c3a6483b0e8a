"""A real file, decoded, drawn and encoded, with a fake for the network."""

import pytest

from benchmarks import footage
from benchmarks.measuring import RowReport
from benchmarks.rows import recorded
from pipeline.segmentation.engine_pool import ANOTHER_ENGINE
from pipeline.threads.stage import THREAD_PREFIX
from tests.benchmarks.rows.fakes import Engine, by_name, opening


@pytest.fixture
def side_by_side(monkeypatch):
    """What stands for the segmenters that runs make for themselves: two frames at once."""
    made = []

    def segmenter_for(run, plan):
        assert (plan.tracking.smoothing, plan.source.width, plan.source.height, plan.live) == (0.0, 96, 64, False)
        made.append(Engine({}, 2))
        return made[-1]

    monkeypatch.setattr(Engine, "workers", 2)
    monkeypatch.setattr(recorded, "segmenter_for", segmenter_for)
    return made


def test_bare_and_whole_see_the_same_frames(monkeypatch, side_by_side):
    engines = opening(monkeypatch, recorded)

    def alternate(sides, rounds, warm_ups):
        assert warm_ups == 0
        assert [len(engine.seen) for engine in (*engines, *side_by_side)] == [2, 5]
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
    assert (len(engines), len(side_by_side)) == (1, 1)
    assert engines[0].seen == [(64, 96, 3)] * (2 + 10)
    assert side_by_side[0].seen == [(64, 96, 3)] * (5 + 10)
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


def test_the_engine_that_is_still_being_made_is_waited_for(monkeypatch):
    steps = []

    class Thread:
        def __init__(self, name):
            self.name = name

        def join(self):
            steps.append(self.name)

    threads = [Thread("MainThread"), Thread(THREAD_PREFIX + ANOTHER_ENGINE), Thread(THREAD_PREFIX + "capture")]
    monkeypatch.setattr(recorded.threading, "enumerate", lambda: threads)
    monkeypatch.setattr(recorded, "whole", lambda *_: steps.append("whole"))
    bare = Engine({}, 2)
    recorded.warm_up(bare, Engine({}, 2), None, footage.frames(3, (96, 64)))
    assert steps == ["whole", THREAD_PREFIX + ANOTHER_ENGINE]
    assert len(bare.seen) == 2
