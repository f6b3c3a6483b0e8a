from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from mrcnn.engines import create
from mrcnn.engines.base import EngineError, RawDetections
from pipeline.errors import InputError
from pipeline.segmentation.canvas import fit_canvas
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.settings.model_settings import Canvas, ModelSettings
from tests.mrcnn.weights.files import layers_of, write_file


@pytest.fixture(scope="module")
def photograph():
    """A scene of blurred noise, 90 x 160, that the random network finds many "objects" in."""
    noise = np.random.default_rng(3).integers(0, 255, (90, 160, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 4)


def segmenter_of(weights, **settings):
    return MaskRCNNSegmenter.of(ModelSettings.model_validate({"weights": str(weights), **settings}))


def opened_with(engine, weights, **settings):
    """A segmenter on a machine whose only engine is this one."""

    class OtherMachine(Machine):
        def make_openvino(self, model, precision, threads):
            return engine

    values = {"weights": str(weights), "engine": "openvino", "precision": "float32", **settings}
    model = read_model(ModelSettings.model_validate(values))
    segmenter = MaskRCNNSegmenter(model, model.detection_filter(), machine=OtherMachine())
    segmenter.open()
    return segmenter


def test_the_file_says_classes_size_and_limits(seeded_small_weights, photograph):
    segmenter = segmenter_of(seeded_small_weights)
    assert segmenter.labels == ("BG", "person", "dog")
    assert "efficientnet_lite0, 3 classes, 256 px" in segmenter.description
    segmenter.open()
    instances = segmenter.segment_batch([photograph])[0]
    segmenter.close()
    assert 0 < len(instances) <= 6
    assert set(instances.class_ids.tolist()) == {1}
    assert instances.mask_probs.shape[1:] == (28, 28)
    assert (np.diff(instances.scores) <= 0).all()
    boxes = instances.boxes_xyxy
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 160).all()
    assert (boxes[:, 3] <= 90).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


class RectangleDetector:
    """Stands in for the compiled network: finds the one bright rectangle on the canvas, exactly."""

    def __init__(self):
        self.canvases = []

    def detect_molded(self, images, windows):
        canvas_rgb = images[0]
        self.canvases.append((canvas_rgb.shape, windows.tolist()))
        rows, columns = np.nonzero(canvas_rgb[..., 0] > 127)
        height, width = canvas_rgb.shape[:2]
        # Matterport's normalized boxes: far edges are shifted by a pixel, then divided by size - 1
        y1, x1, y2, x2 = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        box = [y1 / (height - 1), x1 / (width - 1), (y2 - 1) / (height - 1), (x2 - 1) / (width - 1)]
        nothing = [0.5, 0.5, 0.5, 0.5 - 1 / (width - 1)]
        boxes = np.array([box, nothing], np.float32)
        return [
            RawDetections(
                boxes, np.array([1, 2], np.int32), np.array([0.9, 0.8], np.float32), np.ones((2, 28, 28), np.float32)
            )
        ]


@pytest.mark.parametrize("canvas", ["tight", "square"])
@pytest.mark.parametrize("frame_hw", [(360, 640), (641, 363), (1080, 1920), (100, 130)])
def test_boxes_come_back_in_pixels_of_the_frame(seeded_small_weights, canvas, frame_hw):
    height, width = frame_hw
    x1, y1, x2, y2 = round(0.2 * width), round(0.3 * height), round(0.7 * width), round(0.9 * height)
    frame_bgr = np.zeros((height, width, 3), np.uint8)
    frame_bgr[y1:y2, x1:x2, 2] = 255
    detector = RectangleDetector()
    segmenter = opened_with(detector, seeded_small_weights, canvas=canvas)
    instances = segmenter.segment_batch([frame_bgr])[0]
    assert len(instances) == 1, "the box without an area is left out"
    on_canvas = max(height, width) / 256
    np.testing.assert_allclose(instances.boxes_xyxy[0], [x1, y1, x2, y2], atol=1.1 * max(1.0, on_canvas))
    shape, window = detector.canvases[0]
    assert shape[:2] == (256, 256) if canvas == "square" else all(side % 32 == 0 for side in shape[:2])
    assert window == [list(fit_canvas(height, width, segmenter.model.config, Canvas(canvas)).window)]


class Counting:
    """Stands in for an engine: as many objects on each canvas as its first pixel inside the window says."""

    def __init__(self):
        self.shapes = []

    def detect_molded(self, images, windows):
        self.shapes.append(images.shape)
        found = []
        for canvas, (y1, x1, y2, x2) in zip(images, windows, strict=True):
            height, width = canvas.shape[:2]
            count = int(canvas[y1, x1, 0])
            corners = np.array([[y1, x1, y2 - 1, x2 - 1]], np.float32)
            boxes = (corners / [height - 1, width - 1, height - 1, width - 1]).astype(np.float32).repeat(count, 0)
            scores = np.linspace(0.9, 0.6, count, dtype=np.float32)
            found.append(RawDetections(boxes, np.ones(count, np.int32), scores, np.ones((count, 28, 28), np.float32)))
        return found


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_batch_of_frames_of_different_sizes(seeded_small_weights, size):
    engine = Counting()
    segmenter = opened_with(engine, seeded_small_weights, batch_size=size)
    shapes_and_counts = [(90, 160, 2), (90, 160, 0), (90, 160, 1), (120, 50, 3), (90, 160, 0)]
    frames = [np.full((height, width, 3), count, np.uint8) for height, width, count in shapes_and_counts]
    found = segmenter.segment_batch(frames)
    assert [len(instances) for instances in found] == [2, 0, 1, 3, 0]
    for instances, (height, width, _) in zip(found, shapes_and_counts, strict=True):
        whole = np.tile(np.array([0, 0, width, height], np.float32), (len(instances), 1))
        np.testing.assert_allclose(instances.boxes_xyxy, whole, atol=1e-3)
    calls = {1: [1] * 5, 2: [2] * 4, 4: [4] * 3}[size]
    assert [shape[0] for shape in engine.shapes] == calls, "a compiled network always gets the same number of canvases"
    assert segmenter.segment_batch([]) == []


def test_a_batch_finds_what_single_frames_find(seeded_small_weights, photograph):
    images = [photograph, np.ascontiguousarray(photograph[::-1]), np.zeros_like(photograph)]
    single, several = (segmenter_of(seeded_small_weights, precision="float32", batch_size=size) for size in (1, 2))
    single.open()
    several.open()
    for one, other in zip(
        (single.segment_batch([image])[0] for image in images), several.segment_batch(images), strict=True
    ):
        assert len(one) == len(other)
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=0.01)
        np.testing.assert_allclose(one.mask_probs, other.mask_probs, atol=1e-3)


def test_the_engine_that_was_made_is_the_one_in_the_description(seeded_small_weights, monkeypatch, caplog):
    def fails(*_):
        raise EngineError("nothing goes today")

    monkeypatch.setattr(create, "create_openvino_engine", fails)
    monkeypatch.setattr(create, "create_onnx_engine", fails)
    segmenter = segmenter_of(seeded_small_weights, precision="float32")
    assert "; OpenVINO 20" in segmenter.description
    segmenter.open()
    segmenter.close()
    assert "; Keras 3." in segmenter.description
    assert "nothing goes today; falling back to Keras" in caplog.text


def test_two_frames_at_a_time_find_what_one_does(seeded_small_weights, photograph):
    """In turns of rolled pictures, so that a mix-up shows."""
    images = [np.roll(photograph, 31 * step, axis=1) for step in range(6)]
    weights = str(seeded_small_weights)
    models = [read_model(ModelSettings(weights=weights, precision="float32", workers=workers)) for workers in (1, 2)]
    one, two = (MaskRCNNSegmenter(model, model.detection_filter(), model.settings.workers) for model in models)
    one.open()
    two.open()
    assert (one.workers, two.workers) == (1, 2)
    assert two.description == one.description + ", 2 frames side by side"
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda image: two.segment_batch([image])[0], images))
    for alone, other in zip((one.segment_batch([image])[0] for image in images), together, strict=True):
        np.testing.assert_array_equal(alone.class_ids, other.class_ids)
        np.testing.assert_allclose(alone.boxes_xyxy, other.boxes_xyxy, atol=1e-3)
        np.testing.assert_allclose(alone.mask_probs, other.mask_probs, atol=1e-4)
    two.close()


@pytest.mark.parametrize(("engine", "workers"), [("openvino", 3), ("onnx", 1)])
def test_only_openvino_takes_several_frames_at_a_time(seeded_small_weights, engine, workers):
    model = read_model(ModelSettings(weights=str(seeded_small_weights), engine=engine, precision="float32"))
    assert MaskRCNNSegmenter(model, model.detection_filter(), workers=3).workers == workers


def test_another_frame_size_gets_another_canvas(seeded_small_weights):
    detector = RectangleDetector()
    segmenter = opened_with(detector, seeded_small_weights, canvas="tight")
    for height, width in ((360, 640), (640, 360), (360, 640)):
        segmenter.segment_batch([np.full((height, width, 3), 255, np.uint8)])
    assert [shape[:2] for shape, _ in detector.canvases] == [(160, 256), (256, 160), (160, 256)]


def test_settings_win_over_the_file(seeded_small_weights, photograph):
    values = {"max_dim": 128, "max_instances": 2, "min_score": 0.1, "canvas": "tight", "precision": "float32"}
    segmenter = segmenter_of(seeded_small_weights, **values)
    assert "128 px; " in segmenter.description
    segmenter.open()
    assert len(segmenter.segment_batch([photograph])[0]) <= 2
    assert len(segmenter.segment_batch([np.ascontiguousarray(photograph.transpose(1, 0, 2))])[0]) <= 2


def test_classes_that_were_not_asked_for_are_left_out(seeded_small_weights, photograph):
    segmenter = segmenter_of(seeded_small_weights, classes=["dog"], precision="float32")
    segmenter.open()
    (reported,) = segmenter.segment_batch([photograph])
    assert len(segmenter.detections.high(reported)) == 0
    with pytest.raises(InputError, match="no class 'cat'"):
        segmenter_of(seeded_small_weights, classes=["cat"])


def test_labels_must_be_as_many_as_the_classes(seeded_small_weights, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("BG\nhuman\nhound\n", encoding="utf-8")
    assert segmenter_of(seeded_small_weights, labels=str(labels)).labels == ("BG", "human", "hound")
    labels.write_text("BG\nhuman\n", encoding="utf-8")
    with pytest.raises(InputError, match="2 class names including the background, but the weights have 3 classes"):
        segmenter_of(seeded_small_weights, labels=str(labels))


def test_a_file_of_the_originals_is_coco_with_the_backbone_that_it_has(tmp_path):
    coco = segmenter_of(write_file(tmp_path / "coco.h5", layers_of(81, 23)))
    assert coco.labels[1] == "person"
    assert "resnet101, 81 classes, 1024 px" in coco.description
    assert "resnet50" in segmenter_of(write_file(tmp_path / "coco50.h5", layers_of(81, 6)), max_dim=512).description
    with pytest.raises(InputError, match=r"own\.h5 has 5 classes without names, and not as many as COCO"):
        segmenter_of(write_file(tmp_path / "own.h5", layers_of(5, 23)))
    with pytest.raises(InputError, match="its network is unknown"):
        segmenter_of(write_file(tmp_path / "other.h5", layers_of(81, 0)))


def test_a_file_that_holds_no_weights_says_how_to_get_some(tmp_path):
    (tmp_path / "empty.h5").touch()
    with pytest.raises(
        InputError, match=r"empty\.h5 is empty \(0 bytes\)\. Get the COCO weights with `.* weights get coco`$"
    ):
        MaskRCNNSegmenter.of(ModelSettings(weights=str(tmp_path / "empty.h5")))


def test_weights_that_do_not_fit_are_refused_when_they_are_loaded(tmp_path):
    segmenter = segmenter_of(write_file(tmp_path / "hollow.h5", layers_of(81, 6)), max_dim=128)
    with pytest.raises(InputError, match=r"hollow\.h5"):
        segmenter.open()
