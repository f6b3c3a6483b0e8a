"""The weight file in the repository: small enough, complete in itself, and it finds people in a video."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights.checkpoint import read_metadata
from mrcnn.weights.load_save import load_weights
from mrcnn.weights.metadata import class_names_from_metadata, config_from_metadata

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "weights" / "stream_segment_person.h5"
CLIP = ROOT / "tests" / "data" / "video" / "photographs.mp4"
CANVAS_HW = (256, 448)


@pytest.fixture(scope="module")
def engine():
    network = MaskRCNNNetwork(config_from_metadata(read_metadata(WEIGHTS)))
    load_weights(network, WEIGHTS)
    return KerasEngine(network)


def test_file_is_small_and_says_what_it_is():
    assert WEIGHTS.stat().st_size <= 20 * 2**20
    metadata = read_metadata(WEIGHTS)
    assert class_names_from_metadata(metadata) == ["BG", "person"]
    assert config_from_metadata(metadata).BACKBONE == "efficientnet_lite0"


def test_finds_people_in_a_video_and_nobody_in_a_blank(engine):
    capture = cv2.VideoCapture(str(CLIP))
    counts = []
    for wanted in (20, 110, 280):
        capture.set(cv2.CAP_PROP_POS_FRAMES, wanted)
        read, frame_bgr = capture.read()
        assert read
        canvas = np.zeros((1, *CANVAS_HW, 3), np.uint8)
        canvas[0, 2:254] = cv2.resize(frame_bgr, (448, 252), interpolation=cv2.INTER_AREA)[..., ::-1]
        found = engine.detect_molded(canvas, np.array([[2, 0, 254, 448]]))[0]
        assert (found.class_ids == 1).all()
        assert (np.diff(found.scores) <= 0).all()
        counts.append(len(found))
    capture.release()
    assert sum(counts) >= 4, counts
    gray = np.full((1, *CANVAS_HW, 3), 127, np.uint8)
    assert len(engine.detect_molded(gray, np.array([[0, 0, *CANVAS_HW]]))[0]) == 0
