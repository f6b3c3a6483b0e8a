"""Two boxes that drift through pictures of any size."""

import numpy as np
import pytest

from benchmarks.drifting_boxes import DriftingBoxes


def test_the_boxes_drift_by_a_five_hundredth_of_the_width():
    segmenter = DriftingBoxes(0.0)
    segmenter.open()
    picture = np.zeros((360, 500, 3), np.uint8)
    first, second = segmenter.segment_batch([picture, picture])
    assert first.boxes_xyxy.tolist() == [[51, 20, 111, 340], [301, 40, 351, 350]]  # 0.1 and 0.6 of 500, and one step
    assert second.boxes_xyxy[:, 0] == pytest.approx([52, 302])
    assert [len(each) for each in (first, second)] == [2, 2]
    segmenter.close()


def test_its_end_wakes_it():
    segmenter = DriftingBoxes(1e6)
    segmenter.open()
    segmenter.close()
    assert len(segmenter.segment_batch([np.zeros((48, 80, 3), np.uint8)])[0]) == 2
