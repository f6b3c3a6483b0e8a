"""The tiny network as graphs, by both runtimes, against the network in Keras."""

import numpy as np
import pytest

from mrcnn.architecture import ARCHITECTURES
from mrcnn.engines import openvino_runtime
from mrcnn.engines.graph_engine import GraphEngine
from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.engines.onnx_runtime import OnnxRuntime
from mrcnn.engines.openvino_runtime import CpuPrecision, OpenVinoRuntime
from mrcnn.export.parts import export_parts
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.exporting import save_parts
from tests.mrcnn.tiny import tiny_config, tiny_image, tiny_network

pytestmark = ONCE


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def network(request):
    return tiny_network(tiny_config(request.param))


@pytest.fixture(scope="module")
def parts(network, tmp_path_factory):
    return save_parts(export_parts(network), tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def expected(network):
    """What the network in Keras finds on each of CANVASES; compiling for a size takes longest here."""
    engine = KerasEngine(network)
    return {kind: engine.detect_molded(images, np.array(windows)) for kind, (images, windows) in CANVASES.items()}


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def runtime(request, parts):
    return OpenVinoRuntime(parts, CpuPrecision.FLOAT32) if request.param == "openvino" else OnnxRuntime(parts, "cpu")


def batch(*sizes_seeds):
    return np.stack([tiny_image(height, width, seed) for height, width, seed in sizes_seeds])


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.class_ids, theirs.class_ids)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-4)
        np.testing.assert_allclose(ours.mask_probs, theirs.mask_probs, atol=1e-3)
        assert [x.dtype for x in (ours.boxes, ours.class_ids, ours.scores, ours.mask_probs)] == [
            np.float32,
            np.int32,
            np.float32,
            np.float32,
        ]


CANVASES = {
    "wide": (batch((128, 192, 2)), [[5, 0, 120, 192]]),
    "odd P6": (batch((96, 160, 3)), [[0, 7, 96, 150]]),
    "two": (batch((96, 128, 4), (96, 128, 5)), [[0, 0, 96, 128], [20, 30, 70, 100]]),
}
"""P6 of 96 x 160 pixels, every second cell of 3 x 5, has 2 x 3 cells: more than 96 / 64 and 160 / 64."""


@pytest.mark.parametrize("kind", CANVASES)
def test_same_as_keras(kind, runtime, network, expected):
    images, windows = CANVASES[kind]
    assert sum(len(one) for one in expected[kind]) > 5
    assert_same(GraphEngine(runtime, network.config).detect_molded(images, np.array(windows)), expected[kind])


def test_one_network_serves_all_sizes_when_there_are_many(parts, network, expected, monkeypatch):
    monkeypatch.setattr(openvino_runtime, "MAX_SHAPES", 1)
    runtime = OpenVinoRuntime(parts, CpuPrecision.FLOAT32)
    engine = GraphEngine(runtime, network.config)
    for kind in (*CANVASES, *CANVASES):
        images, windows = CANVASES[kind]
        assert_same(engine.detect_molded(images, np.array(windows)), expected[kind])
    assert len(runtime._networks) == 2


def test_answers_are_not_overwritten_by_the_next(runtime, network):
    engine = GraphEngine(runtime, network.config)
    images, windows = CANVASES["wide"]
    first = engine.detect_molded(images, np.array(windows))[0]
    kept = [x.copy() for x in (first.boxes, first.scores, first.mask_probs)]
    engine.detect_molded(images[:, ::-1].copy(), np.array(windows))
    for values, copy in zip((first.boxes, first.scores, first.mask_probs), kept, strict=True):
        np.testing.assert_array_equal(values, copy)


def test_limits_of_the_config_are_read_at_each_call(runtime, network):
    config = type(network.config)()
    engine = GraphEngine(runtime, config)
    images, windows = CANVASES["two"]
    engine.warm_up(2, 96, 128)
    config.DETECTION_MIN_CONFIDENCE = 1.0
    for nothing in engine.detect_molded(images, np.array(windows)):
        assert len(nothing) == 0
        assert nothing.mask_probs.shape == (0, 28, 28)
    config.DETECTION_MIN_CONFIDENCE, config.DETECTION_MAX_INSTANCES = 0.0, 2
    assert [len(found) for found in engine.detect_molded(images, np.array(windows))] == [2, 2]


def test_one_of_two_images_without_objects(runtime, network):
    """The masks of a batch go back to their images also where one has none."""
    images, windows = CANVASES["two"]
    both = GraphEngine(runtime, network.config).detect_molded(images, np.array(windows))
    best = sorted(one.scores[0] for one in both)
    config = type(network.config)()
    config.DETECTION_MIN_CONFIDENCE = float(np.mean(best))
    found = GraphEngine(runtime, config).detect_molded(images, np.array(windows))
    assert sorted(len(one) > 0 for one in found) == [False, True]
    for one, before in zip(found, both, strict=True):
        np.testing.assert_allclose(one.mask_probs, before.mask_probs[: len(one)], atol=1e-5)


WRONG = {
    r"uint8 \(B, H, W, 3\), got float32": (np.zeros((1, 64, 64, 3), np.float32), [[0, 0, 64, 64]]),
    r"got uint8 \(64, 64, 3\)": (np.zeros((64, 64, 3), np.uint8), [[0, 0, 64, 64]]),
    r"got uint8 \(0, 64, 64, 3\)": (np.zeros((0, 64, 64, 3), np.uint8), np.zeros((0, 4))),
    r"got uint8 \(1, 64, 64, 4\)": (np.zeros((1, 64, 64, 4), np.uint8), [[0, 0, 64, 64]]),
    "multiples of 32, got 64 x 72": (np.zeros((1, 64, 72, 3), np.uint8), [[0, 0, 64, 72]]),
    r"windows must be \(1, 4\), got \(2, 4\)": (np.zeros((1, 64, 64, 3), np.uint8), np.zeros((2, 4))),
}


@pytest.mark.parametrize("message", WRONG)
def test_arrays_of_another_shape(message, network):
    engine = GraphEngine(None, network.config)  # refused before anything runs
    images, windows = WRONG[message]
    with pytest.raises(ValueError, match=message):
        engine.detect_molded(images, np.array(windows))
