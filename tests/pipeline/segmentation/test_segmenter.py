"""What the network gets of a frame, and in whose pixels the answer is."""

from dataclasses import replace

import numpy as np

from tests.pipeline.fakes import FakeSegmenter, make_frame, make_instances


class Sees(FakeSegmenter):
    """Finds the same box in everything: the whole picture, and its left upper quarter."""

    def __init__(self):
        super().__init__()
        self.sizes_wh = []

    def segment(self, image_bgr):
        height, width = image_bgr.shape[:2]
        self.sizes_wh.append((width, height))
        boxes = np.array([[0, 0, width, height], [0, 0, width / 2, height / 4]], np.float32)
        return replace(make_instances(2), boxes_xyxy=boxes)


def test_boxes_in_a_substitute_are_scaled_to_the_frame():
    """704x576 is anamorphic: 1920 / 704 and 1080 / 576 differ."""
    segmenter = Sees()
    frame = replace(make_frame(0, 1080, 1920), substitute=make_frame(7, 576, 704))
    (found,) = segmenter.segment_frames([frame])
    assert segmenter.sizes_wh == [(704, 576)]
    assert found.boxes_xyxy.tolist() == [[0, 0, 1920, 1080], [0, 0, 960, 270]]
    assert found.boxes_xyxy.dtype == np.float32


def test_frames_with_and_without_one_may_be_mixed():
    segmenter = Sees()
    frames = [make_frame(0, 90, 160), replace(make_frame(1, 90, 160), substitute=make_frame(3, 45, 40))]
    found = segmenter.segment_frames([*frames, replace(frames[0], substitute=make_frame(4, 90, 160))])
    assert segmenter.sizes_wh == [(160, 90), (40, 45), (160, 90)]
    assert [one.boxes_xyxy[0].tolist() for one in found] == [[0, 0, 160, 90]] * 3
    assert [len(one) for one in found] == [2, 2, 2]
