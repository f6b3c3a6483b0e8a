"""Proposals: best anchors first, moved, cut, suppressed, padded with zeros."""

import numpy as np
import pytest
from keras import ops

from mrcnn.architecture import ARCHITECTURES, MATTERPORT
from mrcnn.config import Config
from mrcnn.network.proposals import anchor_scores, propose


class Few(Config):
    NAME = "few"
    RPN_NMS_THRESHOLD = 0.5


ANCHORS = np.array([[0.1, 0.1, 0.3, 0.5], [0.1, 0.1, 0.3, 0.5], [0.8, 0.8, 1.2, 1.1], [0.4, 0.4, 0.6, 0.6]], np.float32)


def run(probs, deltas, count, config):
    windows = ops.convert_to_tensor(np.repeat(np.float32([[0.2, 0.2, 0.7, 0.7]]), len(probs), 0))  # does not matter
    answers = ops.convert_to_tensor(probs), ops.convert_to_tensor(deltas)
    rois, counts = propose(*answers, ANCHORS, windows, (64, 96), count, config)
    return ops.convert_to_numpy(rois), ops.convert_to_numpy(counts)


def test_two_images_by_hand():
    probs = np.array([[0.9, 0.95, 0.2, 0.5], [0.1, 0.2, 0.3, 0.4]], np.float32)
    deltas = np.zeros((2, 4, 4), np.float32)
    deltas[0, 3] = [10, 0, 0, 0]  # times 0.1: moved down by its own height of 0.2
    rois, counts = run(probs, deltas, 5, Few())
    assert rois.shape == (2, 5, 4)
    assert counts.tolist() == [3, 3]
    moved = [0.6, 0.4, 0.8, 0.6]
    np.testing.assert_allclose(rois[0], [ANCHORS[1], moved, [0.8, 0.8, 1, 1], [0] * 4, [0] * 4], atol=1e-6)
    np.testing.assert_allclose(rois[1], [ANCHORS[3], [0.8, 0.8, 1, 1], ANCHORS[1], [0] * 4, [0] * 4], atol=1e-6)


def test_only_the_best_anchors_enter():
    class Two(Few):
        PRE_NMS_LIMIT = 2

    probs = np.array([[0.9, 0.1, 0.2, 0.5]], np.float32)
    rois, counts = run(probs, np.zeros((1, 4, 4), np.float32), 3, Two())
    assert counts.tolist() == [2]
    np.testing.assert_allclose(rois[0], [ANCHORS[0], ANCHORS[3], [0] * 4], atol=1e-6)


def test_no_more_than_asked_for():
    probs = np.array([[0.9, 0.1, 0.2, 0.5]], np.float32)
    rois, counts = run(probs, np.zeros((1, 4, 4), np.float32), 1, Few())
    assert counts.tolist() == [1]
    np.testing.assert_allclose(rois[0], ANCHORS[:1], atol=1e-6)


def test_probabilities_rank_anchors_of_all_levels():
    logits = np.log(np.array([[[1.0, 1.0], [3.0, 1.0], [1.0, 3.0]]], np.float32))
    np.testing.assert_allclose(ops.convert_to_numpy(anchor_scores(logits, MATTERPORT)), [[0.5, 0.25, 0.75]], rtol=1e-6)


@pytest.mark.parametrize("name", ["torchvision", "torchvision_v2", "detectron2"])
def test_logits_rank_anchors_of_a_level_also_where_probabilities_are_equal(name):
    logits = np.array([[[0, 20], [0, 25], [-1, 24.5], [0, 1e6], [0, -30], [0, -40], [2, 2]]], np.float32)
    scores = ops.convert_to_numpy(anchor_scores(logits, ARCHITECTURES[name]))[0]
    assert np.isfinite(scores).all()
    assert np.argsort(-scores).tolist() == [3, 2, 1, 0, 6, 4, 5]
    assert scores[6] == 1
