"""What Python programs do with the objects of an image; masks are whole boxes, so that areas can be told by hand."""

import base64
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import supervision
from pycocotools import mask as coco_mask

from pipeline.errors import InputError
from pipeline.runtime import image_instances
from pipeline.runtime.image_instances import ImageInstances, segment
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.settings.output_settings import OverlaySettings
from tests.pipeline.fakes import make_frame, make_instances

LABELS = ("BG", "person", "dog")


def two_objects(**overlay):
    """A person at (6, 4)-(16, 30) and a dog at (18, 4)-(28, 30) in a gray picture of 80 x 48."""
    return ImageInstances.of(make_instances(2, x=6.0), make_frame(90).image_bgr, LABELS, OverlaySettings(**overlay))


def rectangle(height, width, left, top, right, bottom):
    mask = np.zeros((height, width), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def test_masks_have_the_size_of_the_image_or_another():
    found = two_objects()
    np.testing.assert_array_equal(
        found.masks(), [rectangle(48, 80, 6, 4, 16, 30), rectangle(48, 80, 18, 4, 28, 30)], strict=True
    )
    np.testing.assert_array_equal(
        found.masks(24, 160), [rectangle(24, 160, 12, 2, 32, 15), rectangle(24, 160, 36, 2, 56, 15)], strict=True
    )


def test_coco_results():
    first, second = two_objects().to_coco(image_id=7)
    assert (first["image_id"], first["category_id"], first["bbox"]) == (7, 1, [6.0, 4.0, 10.0, 26.0])
    assert (second["category_id"], second["score"]) == (2, 0.5)
    decoded = coco_mask.decode({"size": [48, 80], "counts": second["segmentation"]["counts"].encode("ascii")})
    np.testing.assert_array_equal(decoded, rectangle(48, 80, 18, 4, 28, 30))


def test_detections_of_supervision():
    found = two_objects().to_supervision()
    assert isinstance(found, supervision.Detections)
    np.testing.assert_array_equal(found.xyxy, [[6, 4, 16, 30], [18, 4, 28, 30]])
    assert found.mask.sum(axis=(1, 2)).tolist() == [260, 260]
    assert found.class_id.tolist() == [1, 2]
    assert found.data["class_name"].tolist() == ["person", "dog"]
    assert found.tracker_id is None
    assert len(found[found.confidence > 0.8]) == 1


def test_without_supervision_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="pip install supervision"):
        two_objects().to_supervision()


def test_some_of_them_keep_the_image():
    dogs = two_objects().select(np.array([False, True]))
    assert dogs.names == ["dog"]
    assert dogs.masks().shape == (1, 48, 80)
    assert repr(dogs) == "<1 dog in 80x48>"
    assert repr(dogs.select(np.array([False]))) == "<nothing in 80x48>"
    assert dogs.select(np.array([False])).masks().shape == (0, 48, 80)


def test_the_drawing_is_a_new_image():
    found = two_objects(boxes=False, labels=False, scores=False)
    drawn = found.draw()
    changed = (drawn != found.image_bgr).any(axis=2)
    assert changed[10:26, 8:14].all()
    assert not changed[:, 40:].any()
    assert (found.image_bgr == 90).all()
    other = found.draw(np.zeros((48, 80, 3), np.uint8))
    assert not other[:, 40:].any()
    assert other[10:26, 8:14].any()
    for wrong in (np.zeros((48, 80, 4), np.uint8), np.zeros((24, 80, 3), np.uint8), np.zeros((48, 80, 3))):
        with pytest.raises(InputError, match=r"expected a uint8 array \(48, 80, 3\), as the image is, got "):
            found.draw(wrong)


def test_the_score_of_an_object_that_is_lost_for_a_moment_is_not_drawn():
    one = replace(make_instances(), boxes_xyxy=np.array([[60, 80, 260, 220]], np.float32))
    image, overlay = np.full((240, 320, 3), 90, np.uint8), OverlaySettings(scores=True)
    low, lower, high = (
        ImageInstances.of(
            replace(one, scores=np.array([score], np.float32)), image, LABELS, overlay, min_score=0.7
        ).draw()
        for score in (0.6, 0.5, 0.8)
    )
    assert (low == lower).all()
    assert (low != high).any()


def test_notebooks_show_the_drawing():
    text = two_objects()._repr_html_()
    data = base64.b64decode(text.partition("base64,")[2].partition('"')[0])
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (48, 80, 3)
    assert np.abs(shown[:, 8:14].astype(int) - 90).mean() > 10


@pytest.fixture
def events(monkeypatch):
    """What networks do: "open" and "close"."""
    happened, made = [], []

    class Watched(MaskRCNNSegmenter):
        def open(self):
            super().open()
            made.append(self)
            happened.append("open")

        def close(self):
            super().close()
            happened.append("close")

    monkeypatch.setattr(image_instances, "MaskRCNNSegmenter", Watched)
    yield happened
    for segmenter in made:
        segmenter.close()


def test_a_file_and_its_pixels_give_the_same_and_the_network_stays_loaded(seeded_small_weights, tmp_path, events):
    noise = np.random.default_rng(3).integers(0, 255, (90, 160, 3), np.uint8)
    image_bgr = cv2.GaussianBlur(noise, (0, 0), 4)
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), image_bgr)
    settings = {"model": {"weights": str(seeded_small_weights), "precision": "float32"}}
    found = segment(path, settings)
    assert 0 < len(found) <= 6
    assert found.names == ["person"] * len(found)
    np.testing.assert_array_equal(found.image_bgr, image_bgr)
    again = segment(image_bgr, settings)
    np.testing.assert_array_equal(again.boxes_xyxy, found.boxes_xyxy)
    buffer = image_bgr.copy()
    kept = segment(buffer, settings)
    buffer[:] = 0  # its owner reads the next picture into it
    np.testing.assert_array_equal(kept.image_bgr, image_bgr)
    assert not kept.image_bgr.flags.writeable
    assert not found.image_bgr.flags.writeable
    assert events == ["open"]
    fewer = segment(str(path), {"model": settings["model"] | {"min_score": 1.0}})
    assert len(fewer) == 0
    assert events == ["open", "open", "close"]


@pytest.mark.parametrize(
    ("image", "settings", "message"),
    [
        ("absent.jpg", None, "absent.jpg cannot be opened"),
        (3, None, r"expected an image file or a uint8 array \(H, W, 3\) in BGR order, got int"),
        (np.zeros((4, 6)), None, r"got float64 \(4, 6\)"),
        (np.zeros((4, 6, 4), np.uint8), None, r"got uint8 \(4, 6, 4\)"),
        (np.zeros((0, 6, 3), np.uint8), None, r"got uint8 \(0, 6, 3\)"),
        ("a.jpg", {"model": {"max_dim": 64}}, r"model\.max_dim: expected at least 128, got 64"),
        ("a.jpg", {"privacy": {"mode": "blur"}}, "use a Stream"),
        ("a.jpg", {"background": {"mode": "color"}}, "use a Stream"),
    ],
)
def test_wrong_images_and_settings(image, settings, message):
    with pytest.raises(InputError, match=message):
        segment(image, settings)
