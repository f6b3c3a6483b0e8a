"""What the network reports, and what of it is shown: privacy and tracking need more than the settings want to see."""

import numpy as np
import pytest

from mrcnn.architecture import ARCHITECTURES
from mrcnn.config import Config
from mrcnn.weights.checkpoint import Checkpoint
from mrcnn.weights.coco_names import coco_names
from mrcnn.weights.metadata import network_settings
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.settings.model_settings import ModelSettings, Precision


def segment(model, detections, image):
    segmenter = MaskRCNNSegmenter(model, detections)
    segmenter.open()
    (reported,) = segmenter.segment_batch([image])
    segmenter.close()
    return reported


def test_what_is_shown_is_the_same_and_the_rest_is_reported_besides(seeded_small_weights):
    image = np.random.default_rng(2).integers(0, 255, (100, 150, 3)).astype(np.uint8)
    weights = {"weights": str(seeded_small_weights), "precision": "float32", "device": "cpu"}
    settings = ModelSettings(**weights, min_score=0.5, max_instances=3)
    settings = settings.model_copy(update={"precision": Precision.FLOAT32})  # two segmenters may measure differently
    model = read_model(settings)
    plain, wide = model.detection_filter(), model.detection_filter(redaction_score=0.2)
    shown, reported = segment(model, plain, image), segment(model, wide, image)
    assert len(shown) == 3
    assert len(reported) > 3
    high = wide.high(reported)
    np.testing.assert_allclose(high.boxes_xyxy, shown.boxes_xyxy, atol=1e-3)
    np.testing.assert_allclose(high.mask_probs, shown.mask_probs, atol=1e-3)
    assert high.class_ids.tolist() == shown.class_ids.tolist()
    assert plain.high(shown) is shown
    dogs = read_model(settings.model_copy(update={"classes": ("dog",)})).detection_filter(redaction_score=0.2)
    assert dogs.class_ids == {2}
    assert len(dogs.high(reported)) == 0


@pytest.mark.parametrize(
    ("low_score", "redaction_score", "expected"),
    [
        (None, None, DetectionFilter(0.5, 0.5, 7, None, 0.5, None)),
        (0.4, None, DetectionFilter(0.5, 0.4, 7, None, 0.4, 100)),
        (0.6, None, DetectionFilter(0.5, 0.5, 7, None, 0.5, 100)),
        (None, 0.3, DetectionFilter(0.5, 0.5, 7, None, 0.3, 100, 25)),
        (0.4, 0.3, DetectionFilter(0.5, 0.4, 7, None, 0.3, 100, 25)),
        (0.4, 0.45, DetectionFilter(0.5, 0.4, 7, None, 0.4, 100, 25)),
    ],
)
def test_the_network_reports_what_the_lowest_threshold_needs(
    seeded_small_weights, low_score, redaction_score, expected
):
    model = read_model(ModelSettings(weights=str(seeded_small_weights), min_score=0.5, max_instances=7))
    detections = model.detection_filter(low_score, redaction_score)
    assert detections == expected
    reporting = model.reporting(detections).config
    assert reporting.DETECTION_MIN_CONFIDENCE == expected.report_score
    assert reporting.DETECTION_MAX_INSTANCES == (expected.report_most or 7)
    assert model.config.DETECTION_MIN_CONFIDENCE == 0.5, "the model itself is unchanged"


def test_many_instances_stay_as_many(seeded_small_weights):
    model = read_model(ModelSettings(weights=str(seeded_small_weights), max_instances=300))
    assert model.detection_filter(low_score=0.2).report_most == 300


@pytest.mark.parametrize(
    ("values", "complete_below"),
    [
        ({"proposals": 1000}, 100),
        ({"proposals": 1000, "max_instances": 300}, 300),
        ({"proposals": 100}, 50),
        ({"proposals": 1}, 1),
    ],
)
def test_as_many_objects_as_the_network_can_hold_are_not_all(seeded_small_weights, values, complete_below):
    model = read_model(ModelSettings(weights=str(seeded_small_weights), **values))
    assert model.detection_filter(redaction_score=0.3).complete_below == complete_below
    assert model.detection_filter(low_score=0.3).complete_below is None


@pytest.fixture
def published(request, tmp_path, monkeypatch):
    """Settings for a file with what the published weights of an architecture say, and no weights."""
    settings = {"NAME": "published", "ARCHITECTURE": request.param, **ARCHITECTURES[request.param].settings}
    config = type("Published", (Config,), settings)()
    names = coco_names(config.NUM_CLASSES)
    metadata = {"config": network_settings(config), "class_names": list(names)}
    path = tmp_path / "published.h5"
    path.touch()
    checkpoint = Checkpoint(path, config.NUM_CLASSES, "resnet50", names, metadata)
    monkeypatch.setattr("mrcnn.weights.checkpoint.read_checkpoint", lambda _: checkpoint)
    return ModelSettings(weights=str(path))


FOREIGN = [name for name in ARCHITECTURES if name != "matterport"]


@pytest.mark.parametrize("published", FOREIGN, indirect=True)
def test_the_longer_side_takes_the_shorter_one_along(published):
    config = read_model(published).config
    assert (config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM) == (800, 1333)
    config = read_model(published.model_copy(update={"max_dim": 512})).config
    assert (config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM) == (307, 512)  # 307.3


@pytest.mark.parametrize("published", ["torchvision", "torchvision_v2"], indirect=True)
def test_classes_that_coco_does_not_use_are_never_shown(published):
    shown = read_model(published).detection_filter().class_ids
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert shown == set(range(1, 91)) - unused
    chosen = published.model_copy(update={"classes": ("Toothbrush", "12")})
    assert read_model(chosen).detection_filter().class_ids == {90, 12}


@pytest.mark.parametrize("published", ["detectron2"], indirect=True)
def test_all_classes_are_shown_where_all_are_used(published):
    model = read_model(published)
    assert model.detection_filter().class_ids is None
    assert (model.labels[1], model.labels[80], len(model.labels)) == ("person", "toothbrush", 81)
