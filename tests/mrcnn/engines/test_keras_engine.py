"""The compiled network: batches, canvases of any shape, none and the maximum of objects, threads."""

import threading

import keras
import numpy as np
import pytest

from mrcnn.engines.base import RawDetections
from mrcnn.engines.keras_engine import MASKS_AT_ONCE, KerasEngine
from mrcnn.network.target import Target
from tests.mrcnn.tiny import TinyConfig, set_bias, tiny_config, tiny_image, tiny_network


@pytest.fixture(scope="module")
def engine():
    return KerasEngine(tiny_network())


def whole(*canvases):
    return np.array([[0, 0, *canvas.shape[:2]] for canvas in canvases])


def assert_same(a: RawDetections, b: RawDetections, tolerance: float = 2e-5):
    np.testing.assert_array_equal(a.class_ids, b.class_ids)
    for name in ("boxes", "scores", "mask_probs"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=tolerance)


def test_a_batch_of_two_equals_two_batches_of_one(engine):
    canvases = [tiny_image(64, 192, seed) for seed in (1, 2)]
    together = engine.detect_molded(np.stack(canvases), whole(*canvases))
    for canvas, found in zip(canvases, together, strict=True):
        assert len(found) > 0
        assert_same(found, engine.detect_molded(canvas[None], whole(canvas))[0])


def test_shapes_types_and_order(engine):
    canvas = tiny_image(128, 64)
    found = engine.detect_molded(canvas[None], whole(canvas))[0]
    count = len(found)
    assert 0 < count <= 10
    assert (found.boxes.shape, found.boxes.dtype) == ((count, 4), np.float32)
    assert (found.class_ids.shape, found.class_ids.dtype) == ((count,), np.int32)
    assert (found.mask_probs.shape, found.mask_probs.dtype) == ((count, 28, 28), np.float32)
    assert set(found.class_ids) <= {1, 2}
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= 1).all()
    assert (found.mask_probs > 0).all()
    assert (found.mask_probs < 1).all()


def test_uint8_equals_the_molded_floats(engine):
    canvas = tiny_image(64, 128)
    molded = canvas.astype(np.float64) - TinyConfig.MEAN_PIXEL
    found = engine.detect_molded(canvas[None], whole(canvas))[0]
    assert_same(found, engine.detect_molded(molded[None], whole(canvas))[0])


def test_boxes_stay_inside_the_window(engine):
    canvas = tiny_image(64, 128)
    found = engine.detect_molded(canvas[None], np.array([[16, 8, 48, 100]]))[0]
    pixels = found.boxes_in_pixels(64, 128)
    assert (pixels >= np.array([16, 8, 16, 8]) - 1e-3).all()
    assert (pixels <= np.array([48, 100, 48, 100]) + 1e-3).all()


def test_pixels_of_normalized_boxes():
    raw = RawDetections(np.array([[0, 0, 1, 1], [0.5, 0.25, 0.5, 0.25]], np.float32), *[np.zeros(2)] * 3)
    # the last pixel is 1, and an edge lies behind its pixel
    np.testing.assert_allclose(raw.boxes_in_pixels(101, 41), [[0, 0, 101, 41], [50, 10, 51, 11]])


def test_no_objects():
    network = tiny_network()
    set_bias(network, "mrcnn_class_logits", [50, 0, 0])
    canvas = tiny_image(64, 64)
    found = KerasEngine(network).detect_molded(canvas[None], whole(canvas))[0]
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.mask_probs.shape == (0, 28, 28)


def test_the_maximum_of_objects_and_a_batch_with_none_beside_it():
    class Few(TinyConfig):
        DETECTION_MAX_INSTANCES = 3
        DETECTION_NMS_THRESHOLD = 0.9

    network = tiny_network(Few())
    set_bias(network, "mrcnn_class_logits", [-50, 0, 0])
    engine = KerasEngine(network)
    canvases = np.stack([tiny_image(64, 64, seed) for seed in (1, 2)])
    assert [len(found) for found in engine.detect_molded(canvases, whole(*canvases))] == [3, 3]


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_score_threshold(threshold):
    class Sure(TinyConfig):
        DETECTION_MIN_CONFIDENCE = threshold

    canvas = tiny_image(64, 128)
    everything = KerasEngine(tiny_network()).detect_molded(canvas[None], whole(canvas))[0].scores
    found = KerasEngine(tiny_network(Sure())).detect_molded(canvas[None], whole(canvas))[0].scores
    np.testing.assert_allclose(found, everything[everything >= threshold], atol=1e-5)


def test_built_in_one_thread_called_in_another(engine):
    canvas = tiny_image(64, 128, 5)
    expected = engine.detect_molded(canvas[None], whole(canvas))[0]
    results = []
    thread = threading.Thread(target=lambda: results.append(engine.detect_molded(canvas[None], whole(canvas))[0]))
    thread.start()
    thread.join(60)
    assert_same(results[0], expected)


def test_the_program_for_an_accelerator_gives_the_same():
    """With more objects than it draws at once, so that a second program draws them all, and with none."""

    class Many(TinyConfig):
        DETECTION_MAX_INSTANCES = 20
        DETECTION_NMS_THRESHOLD = 0.5

    network, canvas = tiny_network(Many()), tiny_image(64, 128)
    wanted = KerasEngine(network, Target.PROCESSOR).detect_molded(canvas[None], whole(canvas))[0]
    assert len(wanted) > MASKS_AT_ONCE
    accelerated = KerasEngine(network, Target.ACCELERATOR)
    assert_same(accelerated.detect_molded(canvas[None], whole(canvas))[0], wanted)
    set_bias(network, "mrcnn_class_logits", [8, 0, 0])
    wanted = KerasEngine(network, Target.PROCESSOR).detect_molded(canvas[None], whole(canvas))[0]
    assert 0 < len(wanted) <= MASKS_AT_ONCE
    assert_same(accelerated.detect_molded(canvas[None], whole(canvas))[0], wanted)
    set_bias(network, "mrcnn_class_logits", [50, 0, 0])
    assert len(accelerated.detect_molded(canvas[None], whole(canvas))[0]) == 0


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="has no other program for an accelerator")
def test_the_program_for_an_accelerator_pools_as_detectron2_does():
    """The number of samples of a region depends on its size: a loop of unknown length."""
    network, canvas = tiny_network(tiny_config("detectron2")), tiny_image(96, 128)
    windows = np.array([[0, 0, 70, 100]])
    found, wanted = (
        KerasEngine(network, target).detect_molded(canvas[None], windows)[0]
        for target in (Target.ACCELERATOR, Target.PROCESSOR)
    )
    assert len(wanted) > 3
    assert_same(found, wanted, 1e-4)  # sums of up to 100 samples, in another order


def test_warm_up_compiles_every_bucket(engine):
    engine.warm_up(1, 128, 192)
    canvas = tiny_image(128, 192)
    assert len(engine.detect_molded(canvas[None], whole(canvas))) == 1


@pytest.mark.parametrize(
    ("shape", "windows", "message"),
    [
        ((1, 64, 100, 3), (1, 4), "multiples of 32, got 64 x 100"),
        ((64, 64, 3), (1, 4), r"must be \(B, H, W, 3\)"),
        ((1, 64, 64, 4), (1, 4), r"must be \(B, H, W, 3\)"),
        ((2, 64, 64, 3), (1, 4), r"windows must be \(2, 4\), got \(1, 4\)"),
    ],
)
def test_wrong_shapes_are_named(engine, shape, windows, message):
    with pytest.raises(ValueError, match=message):
        engine.detect_molded(np.zeros(shape, np.uint8), np.zeros(windows))
