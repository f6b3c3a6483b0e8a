import threading

import numpy as np
import pytest

from benchmarks import footage, playback
from pipeline.records import SourceKind


def test_marks_survive_compression(tmp_path):
    rng = np.random.default_rng(1)
    gray = rng.integers(60, 180, (96, 200, 3), np.uint8)
    numbers = [0, 1, 2, 5, 511, 682, 1023]
    pictures = [playback.marked(gray, number) for number in numbers]
    assert [playback.mark_of(picture) for picture in pictures] == numbers
    again = footage.read_clip(footage.write_clip(tmp_path / "c.mp4", pictures))
    assert [playback.mark_of(picture) for picture in again] == numbers
    assert playback.marked(gray, 3)[40:].tolist() == gray[40:].tolist()


def test_ping_pong_makes_no_jump():
    assert playback.ping_pong(4, 9) == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert playback.ping_pong(1, 3) == [0, 0, 0]


def test_loop_gives_frames_when_they_are_wanted_until_interrupted():
    pictures = [np.full((20, 30, 3), value, np.uint8) for value in (10, 20, 30)]
    wanted = threading.Semaphore(6)
    source = playback.LoopSource(pictures, wanted, nominal=25, clock=lambda: 7.0)
    info = source.open()
    assert (info.kind, info.width, info.height, info.fps) == (SourceKind.LIVE, 30, 20, 25)
    frames = [source.read() for _ in range(6)]
    assert [int(frame.image_bgr[0, 0, 0]) for frame in frames] == [10, 20, 30, 20, 10, 20]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert frames[5].pts_s == pytest.approx(0.2)
    assert frames[5].captured_at_s == 7.0
    source.interrupt()
    assert source.read() is None
    source.close()


def test_knowing_segmenter_answers_for_the_picture_after_its_time():
    pictures, truths = playback.scene(3, 2, (320, 180))
    assert [playback.mark_of(picture) for picture in pictures] == [0, 1, 2]
    assert [len(truth) for truth in truths] == [2, 2, 2]
    waits = []
    segmenter = playback.ScriptedSegmenter(truths, 0.15, wait=waits.append)
    segmenter.open()
    assert segmenter.segment_batch([pictures[2]])[0] is truths[2]
    assert 0 < waits[0] <= 0.15
    assert "150 ms" in segmenter.description
    assert segmenter.labels[truths[0].class_ids[0]] in ("person", "cat")
    segmenter.close()
