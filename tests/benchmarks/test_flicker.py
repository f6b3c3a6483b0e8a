from fractions import Fraction

import av
import numpy as np
import pytest

from benchmarks import flicker as command
from benchmarks.flicker import CLIPS, Clip, detect, main, present_at
from pipeline.evaluation.agreement import frame_masks
from pipeline.records import Instances
from pipeline.settings.presentation_settings import TrackingSettings


def box(score, left=8.0):
    return Instances(
        np.array([[left, 8, left + 16, 40]], np.float32),
        np.array([1], np.int32),
        np.array([score], np.float32),
        np.ones((1, 28, 28), np.float32),
    )


class Found:
    """Finds one object in each frame, with scores in turn."""

    def __init__(self, *scores):
        self.scores, self.pictures = list(scores), []

    def segment_batch(self, images):
        self.pictures += images
        return [box(self.scores.pop(0))]


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * index, np.uint8), format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_people_are_counted_only_inside_the_stretches():
    stretches = ((60.0, 69.2, 1), (70.6, 74.2, 0))
    assert [present_at(stretches, at) for at in (59.9, 60.0, 69.2, 69.3, 70.6, 75.0)] == [None, 1, 1, None, 0, None]
    for found in CLIPS.values():
        edges = [edge for first, last, _ in found for edge in (first, last)]
        assert edges == sorted(edges)


def test_frames_before_the_first_stretch_are_not_segmented(clip):
    segmenter = Found(*[0.9] * 6)
    found = detect(clip, ((0.4, 0.75, 1),), segmenter)
    assert len(segmenter.pictures) == len(found.times_s) == 6
    assert segmenter.pictures[0].mean() == pytest.approx(80, abs=4)
    assert found.size_hw == (48, 64)
    assert found.present == (1, 1, 1, 1, None, None)
    assert found.times_s[0] == pytest.approx(0.4)


def clip_of(*scores):
    detections = tuple(box(score) for score in scores)
    masks = tuple(tuple(frame_masks(one, (48, 64))) for one in detections)
    times = tuple(index / 10 for index in range(len(scores)))
    return Clip("clip.mkv", (48, 64), times, (1,) * len(scores), detections, masks)


def test_detections_below_the_threshold_are_not_seen_and_smoothing_bridges_the_gap():
    clip = clip_of(0.95, 0.95, 0.95, 0.95, 0.3, 0.95, 0.95)
    unsmoothed = clip.unsmoothed(0.7)
    assert (unsmoothed.vanished, unsmoothed.found) == (2, 6)
    smoothed = clip.smoothed(0.7, TrackingSettings())
    assert (smoothed.vanished, smoothed.found) == (0, 7)
    assert clip.unsmoothed(0.2).vanished == 0


def test_a_missing_clip_is_one_line(tmp_path, capsys):
    assert main(["--clips", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"flicker: error: --clips {tmp_path}: there is no {next(iter(CLIPS))} in it\n"


def test_every_model_is_compared_at_its_own_threshold_for_the_recall(monkeypatch, tmp_path, capsys):
    for name in CLIPS:
        (tmp_path / name).touch()
    scores = {"a.h5": (0.9, 0.9, 0.8, 0.9), "b.h5": (0.6, 0.55, 0.5, 0.6)}

    class Segmenter:
        def open(self):
            pass

        def close(self):
            pass

    def of(settings):
        segmenter = Segmenter()
        segmenter.scores = scores[settings.weights]
        return segmenter

    monkeypatch.setattr(command.MaskRCNNSegmenter, "of", of)
    monkeypatch.setattr(command, "detect", lambda path, stretches, segmenter: clip_of(*segmenter.scores))
    assert main(["--clips", str(tmp_path), "--weights", "a.h5,b.h5", "--recall", "0.75"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if ", all " in line]
    assert [line.split()[2:4] for line in rows] == [["0.90", "0.750"], ["0.55", "0.750"]]
