"""Detections: the best class, its deltas, the window, the threshold, and the limit."""

import numpy as np
from keras import ops

from mrcnn.config import Config
from mrcnn.network.detection_selection import detect


class Three(Config):
    NAME = "three"
    NUM_CLASSES = 3
    DETECTION_MAX_INSTANCES = 3
    DETECTION_MIN_CONFIDENCE = 0.6


ROIS = np.array([[[0.2, 0.2, 0.4, 0.6], [0.5, 0.5, 0.9, 0.9], [0.2, 0.2, 0.4, 0.6], [0.6, 0.0, 0.8, 0.2]]], np.float32)
PROBS = np.array([[[0.1, 0.7, 0.2], [0.05, 0.05, 0.9], [0.0, 0.8, 0.2], [0.9, 0.1, 0.0]]], np.float32)
WINDOW = np.array([[0.1, 0.0, 0.8, 1.0]], np.float32)


def run(config, counts=4, rois=ROIS, probs=PROBS, deltas=None):
    deltas = np.zeros((*probs.shape, 4), np.float32) if deltas is None else deltas
    arrays = (rois, np.full(len(rois), counts, np.int32), probs, deltas, np.repeat(WINDOW, len(rois), 0))
    detections, found = detect(*(ops.convert_to_tensor(array) for array in arrays), (64, 96), config)
    return ops.convert_to_numpy(detections), ops.convert_to_numpy(found)


def test_by_hand():
    deltas = np.zeros((1, 4, 3, 4), np.float32)
    deltas[0, 1, 2] = [-5, 0, 0, 0]  # of class 2, the best: times 0.1, up by half its height of 0.4
    deltas[0, 1, 1] = [9, 9, 9, 9]  # of a class that is not the best
    detections, found = run(Three(), deltas=deltas)
    assert found.tolist() == [2]
    expected = [[0.3, 0.5, 0.7, 0.9, 2, 0.9], [0.2, 0.2, 0.4, 0.6, 1, 0.8], [0] * 6]
    np.testing.assert_allclose(detections[0], expected, atol=1e-6)


def test_boxes_are_cut_at_the_window():
    detections, _ = run(Three())
    np.testing.assert_allclose(detections[0, 0, :4], [0.5, 0.5, 0.8, 0.9], atol=1e-6)


def test_padding_regions_are_no_detections():
    detections, found = run(Three(), counts=1)
    assert found.tolist() == [1]
    np.testing.assert_allclose(detections[0, 0, 4:], [1, 0.7], atol=1e-6)


def test_a_score_at_the_threshold_counts():
    class Exact(Three):
        DETECTION_MIN_CONFIDENCE = 0.75

    probs = np.array([[[0.0, 0.75, 0.25], [0.0, 0.74, 0.26], [1, 0, 0], [1, 0, 0]]], np.float32)
    assert run(Exact(), probs=probs)[1].tolist() == [1]


def test_no_threshold_keeps_every_object():
    class Low(Three):
        DETECTION_MIN_CONFIDENCE = None

    assert run(Low())[1].tolist() == [2]


def test_no_objects_and_too_many():
    background = np.tile(np.array([1, 0, 0], np.float32), (1, 4, 1))
    detections, found = run(Three(), probs=background)
    assert found.tolist() == [0]
    assert not detections.any()
    apart = np.array([[[0.2, x, 0.3, x + 0.1] for x in (0.0, 0.2, 0.4, 0.6)]], np.float32)
    sure = np.array([[[0, 0.7, 0.3], [0, 0.9, 0.1], [0, 0.8, 0.2], [0, 0.6, 0.4]]], np.float32)
    detections, found = run(Three(), rois=apart, probs=sure)
    assert found.tolist() == [3]
    np.testing.assert_allclose(detections[0, :, 5], [0.9, 0.8, 0.7], atol=1e-6)


def test_images_of_a_batch_are_independent():
    probs = np.concatenate([PROBS, np.tile(np.array([1, 0, 0], np.float32), (1, 4, 1))])
    detections, found = run(Three(), rois=np.repeat(ROIS, 2, 0), probs=probs)
    assert found.tolist() == [2, 0]
    np.testing.assert_array_equal(detections[0], run(Three())[0][0])
