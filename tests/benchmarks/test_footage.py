import cv2
import numpy as np

from benchmarks import footage


def test_frames_of_the_clip_in_the_size_and_number_that_was_asked_for():
    found = footage.frames(4, (96, 64), every=100)
    assert [image.shape for image in found] == [(64, 96, 3)] * 4
    # The clip has 300 frames: the fourth is the first again.
    np.testing.assert_array_equal(found[0], found[3])
    assert (found[0] != found[1]).any()
    assert footage.frames(0, (96, 64)) == []


def test_clips_hold_what_was_written(tmp_path):
    pictures = [np.full((48, 80, 3), 40 * i, np.uint8) for i in range(5)]
    found = footage.read_clip(footage.write_clip(tmp_path / "clip.mp4", pictures, 30))
    assert [round(float(image.mean()) / 40) for image in found] == [0, 1, 2, 3, 4]
    assert found[0].shape == (48, 80, 3)
    capture = cv2.VideoCapture(str(tmp_path / "clip.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 30
    capture.release()


def test_photographs_come_first_then_the_folders_then_the_clip(tmp_path):
    cv2.imwrite(str(tmp_path / "mine.jpg"), np.zeros((20, 30, 3), np.uint8))
    found = footage.photographs(str(tmp_path), 5)
    assert found[3].shape == (20, 30, 3)
    assert found[4].shape == (360, 640, 3)
    assert len(footage.photographs(None, 2)) == 2


def test_frames_beside_the_photographs_are_spread_over_the_clip():
    found = footage.photographs(None, 3 + 5)[3:]
    expected = footage.frames(footage.CLIP_FRAMES, (640, 360))[:: footage.CLIP_FRAMES // 5]
    assert len(expected) == 5
    for image, same in zip(found, expected, strict=True):
        np.testing.assert_array_equal(image, same)
