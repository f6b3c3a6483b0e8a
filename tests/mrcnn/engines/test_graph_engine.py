"""The tiny network as graphs, by both runtimes, against the network in Keras."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.architecture import ARCHITECTURES, MATTERPORT
from mrcnn.engines import graph_engine, keras_engine, openvino_runtime
from mrcnn.engines.graph_engine import GraphEngine
from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.engines.onnx_runtime import OnnxRuntime
from mrcnn.engines.openvino_runtime import CpuPrecision, OpenVinoRuntime
from mrcnn.export.parts import export_parts
from mrcnn.network import detection_selection as network_detections
from mrcnn.network import roi_align
from mrcnn.network.suppression import greedy_nms
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.exporting import run_onnx, save_parts
from tests.mrcnn.tiny import tiny_config, tiny_image, tiny_network

pytestmark = ONCE


@cache
def network_of(architecture):
    return tiny_network(tiny_config(architecture))


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def network(request):
    """Made once: pytest asks for it again when a test has other parameters, too."""
    return network_of(request.param)


@pytest.fixture(scope="module")
def parts(network, tmp_path_factory):
    return save_parts(export_parts(network), tmp_path_factory.mktemp("parts"))


@cache
def detected_by_keras(network):
    """What the network in Keras finds on each of CANVASES, op by op: compiling for a size takes ten times as long."""

    def uncompiled(function, *_):
        return lambda *arguments: function(*keras.tree.map_structure(ops.convert_to_tensor, arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_engine, "compile_function", uncompiled)
        engine = KerasEngine(network)
    return {kind: engine.detect_molded(images, np.array(windows)) for kind, (images, windows) in CANVASES.items()}


@pytest.fixture(scope="module")
def expected(network):
    return detected_by_keras(network)


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
    "two, odd P6": (batch((96, 160, 3), (96, 160, 4)), [[0, 7, 96, 150], [20, 30, 70, 100]]),
}
"""P6 of 96 x 160 pixels, every second cell of 3 x 5, has 2 x 3 cells: more than 96 / 64 and 160 / 64."""


@pytest.mark.parametrize("kind", CANVASES)
def test_same_as_keras(kind, runtime, network, expected):
    images, windows = CANVASES[kind]
    assert sum(len(one) for one in expected[kind]) > 5
    assert_same(GraphEngine(runtime, network.config).detect_molded(images, np.array(windows)), expected[kind])


def test_one_network_serves_all_sizes_when_there_are_many(parts, network, expected, monkeypatch):
    core, compiled = openvino_runtime.core, []

    class Core:
        read_model = core().read_model

        def compile_model(self, *given):
            compiled.append(given)
            return core().compile_model(*given)

    monkeypatch.setattr(openvino_runtime, "core", Core)
    monkeypatch.setattr(openvino_runtime, "MAX_SHAPES", 1)
    runtime = OpenVinoRuntime(parts, CpuPrecision.FLOAT32)
    engine = GraphEngine(runtime, network.config)
    images, windows = CANVASES["two, odd P6"]
    one_of_two = images[1:], windows[1:], expected["two, odd P6"][1:]
    canvases = [*((*CANVASES[kind], expected[kind]) for kind in CANVASES), one_of_two]
    counts = []
    for images, windows, found in 2 * canvases:
        assert_same(engine.detect_molded(images, np.array(windows)), found)
        counts.append(len(compiled))
    assert counts[0] < counts[1]  # the size of the first canvas, then any size
    assert counts[1:] == [counts[1]] * 5


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
    images, windows = CANVASES["two, odd P6"]
    engine.warm_up(2, 96, 160)
    config.DETECTION_MIN_CONFIDENCE = 1.0
    for nothing in engine.detect_molded(images, np.array(windows)):
        assert len(nothing) == 0
        assert nothing.mask_probs.shape == (0, 28, 28)
    config.DETECTION_MIN_CONFIDENCE, config.DETECTION_MAX_INSTANCES = 0.0, 2
    assert [len(found) for found in engine.detect_molded(images, np.array(windows))] == [2, 2]


def test_one_of_two_images_without_objects(runtime, network):
    """The masks of a batch go back to their images also where one has none."""
    images, windows = CANVASES["two, odd P6"]
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


def random_boxes(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners, sizes = rng.uniform(0, 0.8, (count, 2)), np.exp(rng.uniform(-5, 0, (count, 2)))
    return np.concatenate([corners, corners + sizes], axis=1).clip(0, 1).astype(np.float32)


def test_levels_by_hand():
    """Lin et al. 2017, equation 1: a region of 224 pixels belongs to P4, of half that to P3 …"""
    height, width = 448, 896
    sides = np.array([56, 112, 224, 448, 5], np.float32)
    boxes = np.stack([0 * sides, 0 * sides, sides / height, sides / width], axis=1)
    assert graph_engine.roi_levels(boxes, height, width, MATTERPORT).tolist() == [0, 1, 2, 3, 0]


def test_levels_are_those_of_the_network():
    boxes = random_boxes(500, 1)
    boxes[:3, 2:] = boxes[:3, :2]  # without area
    expected = ops.convert_to_numpy(roi_align.roi_levels(ops.convert_to_tensor(boxes), (576, 1024), MATTERPORT))
    found = graph_engine.roi_levels(boxes, 576, 1024, MATTERPORT)
    assert set(expected.tolist()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(found, expected)


def sampled(feature_map: np.ndarray, box: np.ndarray, samples: int) -> np.ndarray:
    """crop_and_resize by hand: (samples, samples) values of a map (h, w), bilinear, corners of the grid on those of the
    box."""
    height, width = feature_map.shape
    result = np.zeros((samples, samples))
    for i, y in enumerate(np.linspace(box[0], box[2], samples) * (height - 1)):
        for j, x in enumerate(np.linspace(box[1], box[3], samples) * (width - 1)):
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            top = feature_map[y0, x0] * (1 - x + x0) + feature_map[y0, x1] * (x - x0)
            bottom = feature_map[y1, x0] * (1 - x + x0) + feature_map[y1, x1] * (x - x0)
            result[i, j] = top * (1 - y + y0) + bottom * (y - y0)
    return result


@pytest.mark.parametrize("samples", [2, 7, 14])
def test_windows_put_the_samples_of_roi_align_where_crop_and_resize_has_them(samples):
    from mrcnn.export.onnx_graph import Graph

    level = np.random.default_rng(1).normal(0, 1, (9, 13)).astype(np.float32)
    boxes = np.float32([[0.1, 0.3, 0.9, 0.45], [0.25, 0.25, 0.25, 0.5], [0.02, 0.5, 0.97, 0.96]])
    graph = Graph("pool")
    inputs = [graph.input("level", "float32", (1, 1, 9, 13)), graph.input("windows", "float32", ("N", 4))]
    inputs.append(graph.input("images", "int64", ("N",)))
    sizes = {"output_height": samples, "output_width": samples, "sampling_ratio": 1, "mode": "avg"}
    pooled = graph.add("RoiAlign", *inputs, **sizes, coordinate_transformation_mode="half_pixel")
    graph.output(pooled, "pooled", "float32", ("N", 1, samples, samples))
    windows = graph_engine.roi_windows(boxes, (9, 13), samples, MATTERPORT)
    fed = {"level": level[None, None], "windows": windows, "images": np.zeros(3, np.int64)}
    (found,) = run_onnx(graph.model(), fed)
    np.testing.assert_allclose(found[:, 0], [sampled(level, box, samples) for box in boxes], atol=1e-5)


def test_window_by_hand():
    """Rows 2 to 8 and columns 1 to 3, three samples: steps of 3 rows and 1 column; half of one more on each side."""
    box = np.float32([[0.2, 0.25, 0.8, 0.75]])
    windows = graph_engine.roi_windows(box, (11, 5), 3, MATTERPORT)
    np.testing.assert_allclose(windows, [[1.0, 1.0, 4.0, 10.0]], atol=1e-6)


def test_sorting_by_level_and_back():
    boxes = random_boxes(40, 3)
    image_indices = np.arange(40, dtype=np.int64) % 3
    level_hws = [(144, 256), (72, 128), (36, 64), (18, 32)]
    found = graph_engine.sort_by_level(boxes, image_indices, level_hws, (576, 1024), 7, MATTERPORT)
    levels = graph_engine.roi_levels(boxes, 576, 1024, MATTERPORT)
    assert sorted(found.order.tolist()) == list(range(40))
    assert (np.diff(levels[found.order]) >= 0).all()
    for index, level_hw in enumerate(level_hws):
        places = levels == index
        np.testing.assert_array_equal(
            found.inputs[f"windows{index + 2}"], graph_engine.roi_windows(boxes[places], level_hw, 7, MATTERPORT)
        )
        np.testing.assert_array_equal(found.inputs[f"images{index + 2}"], image_indices[places])
    np.testing.assert_array_equal(found.restore(boxes[found.order]), boxes)


def test_sorting_nothing():
    found = graph_engine.sort_by_level(
        np.zeros((0, 4), np.float32), np.zeros(0, np.int64), [(4, 4)] * 4, (64, 64), 7, MATTERPORT
    )
    assert found.order.shape == (0,)
    assert all(len(values) == 0 for values in found.inputs.values())


class Limits:
    BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
    DETECTION_MIN_CONFIDENCE = 0.4
    DETECTION_NMS_THRESHOLD = 0.3
    DETECTION_MAX_INSTANCES = 12


def heads_answers(count: int, seed: int = 6):
    """rois, class_probs, deltas of three classes, window: crowded, so that suppression has work."""
    rng = np.random.default_rng(seed)
    rois = random_boxes(count, seed)
    logits = rng.normal(0, 1.5, (count, 3))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    deltas = rng.normal(0, 1, (count, 3, 4))
    return rois, probs.astype(np.float32), deltas.astype(np.float32), np.float32([0.1, 0.05, 0.9, 0.8])


def detect_in_keras(rois, probs, deltas, window, config):
    rows, counts = network_detections.detect(
        *(ops.convert_to_tensor(x[None]) for x in (rois, np.int32(len(rois)), probs, deltas, window)), (64, 64), config
    )
    return ops.convert_to_numpy(rows)[0, : int(counts[0])]


VARIANTS = {
    "plain": {},
    "all": {"DETECTION_MIN_CONFIDENCE": 0.0, "DETECTION_MAX_INSTANCES": 200},
    "no threshold": {"DETECTION_MIN_CONFIDENCE": None},
    "one": {"DETECTION_MAX_INSTANCES": 1},
    "background ignored": {"DETECTION_IGNORE_BACKGROUND": True, "DETECTION_MIN_CONFIDENCE": 0.1},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_detections_are_those_of_the_network(variant):
    config = type("Variant", (Limits,), VARIANTS[variant])()
    answers = heads_answers(150)
    expected = detect_in_keras(*answers, config)
    boxes, class_ids, scores = graph_engine.detect(*answers, (64, 64), config)
    assert len(expected) >= 1
    assert (boxes.dtype, class_ids.dtype, scores.dtype) == (np.float32, np.int32, np.float32)
    np.testing.assert_array_equal(class_ids, expected[:, 4])
    np.testing.assert_allclose(scores, expected[:, 5], atol=1e-6)
    np.testing.assert_allclose(boxes, expected[:, :4], atol=1e-5)
    assert boxes[:, :2].min() >= np.float32(0.05)
    assert boxes[:, 2].max() <= np.float32(0.9)


def test_probabilities_are_not_written_to():
    config = type("Variant", (Limits,), {"DETECTION_IGNORE_BACKGROUND": True})()
    answers = heads_answers(20)
    before = answers[1].copy()
    graph_engine.detect(*answers, (64, 64), config)
    np.testing.assert_array_equal(answers[1], before)


def test_nothing_is_sure_enough():
    config = type("Variant", (Limits,), {"DETECTION_MIN_CONFIDENCE": 0.9999})()
    boxes, class_ids, scores = graph_engine.detect(*heads_answers(30), (64, 64), config)
    assert (boxes.shape, class_ids.shape, scores.shape) == ((0, 4), (0,), (0,))


def suppressed(boxes, scores, class_ids, limit, threshold):
    """The loop in keras.ops that every backend has."""
    indices, count = greedy_nms(*map(ops.convert_to_tensor, (boxes, scores)), limit, threshold, np.int32(class_ids))
    return ops.convert_to_numpy(indices)[: int(count)].tolist()


@pytest.mark.parametrize("limit", [1, 5, 300])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_suppression_class_by_class(threshold, limit):
    rng = np.random.default_rng(7)
    boxes, class_ids = random_boxes(120, 8), rng.integers(1, 4, 120)
    boxes[::11, 2] = boxes[::11, 0]  # without height
    scores = rng.permutation(120).astype(np.float32) / 120
    found = graph_engine.class_wise_nms(boxes, scores, class_ids, limit, threshold)
    assert found.tolist() == suppressed(boxes, scores, class_ids, limit, threshold)
    assert len(found) <= limit


def test_an_empty_box_ends_its_class_and_no_other():
    boxes = np.float32([[0, 0, 0.2, 0.2], [0.5, 0.5, 0.5, 0.9], [0.7, 0.7, 0.9, 0.9], [0.7, 0.1, 0.9, 0.3]])
    scores, class_ids = np.float32([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 1, 2])
    assert graph_engine.class_wise_nms(boxes, scores, class_ids, 10, 0.3).tolist() == [0, 1, 3]


def test_suppression_of_none_and_of_equals():
    assert graph_engine.class_wise_nms(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), 5, 0.5).tolist() == []
    boxes = np.float32([[0, 0, 1, 1]] * 3)
    same = np.float32([0.5] * 3)
    assert graph_engine.class_wise_nms(boxes, same, np.array([1, 1, 2]), 5, 0.5).tolist() == [0, 2]
