"""MaskRCNN as users of the original know it: names, arguments, results, messages."""

import re

import keras
import numpy as np
import pytest

import mrcnn.model as modellib
from tests.mrcnn.conftest import SmallConfig, mask_pixels_outside
from tests.mrcnn.tiny import seed_weights, set_bias


class Batch(SmallConfig):
    """Two images at a time."""

    IMAGES_PER_GPU = 2


@pytest.fixture(scope="module")
def model():
    """A narrow ResNet-50 whose every region is of class 1."""
    model = modellib.MaskRCNN(mode="inference", config=SmallConfig(), model_dir="logs")
    seed_weights(model.network, 4)
    set_bias(model.network, "mrcnn_class_logits", [0, 5])
    return model


@pytest.fixture(scope="module")
def batch_model(model):
    """The same weights, for two images at a time."""
    other = modellib.MaskRCNN(mode="inference", config=Batch(), model_dir=None)
    for mine, theirs in zip(other.network.variables, model.network.variables, strict=True):
        mine.assign(theirs)
    return other


@pytest.fixture
def image():
    """RGB, odd sizes, wider than high."""
    return np.random.default_rng(4).integers(0, 256, (75, 101, 3), np.uint8)


def test_detect_returns_what_the_original_returns(model, image):
    (result,) = model.detect([image])
    count = len(result["rois"])
    assert 0 < count <= 20
    assert sorted(result) == ["class_ids", "masks", "rois", "scores"]
    assert (result["rois"].shape, result["rois"].dtype) == ((count, 4), np.int32)
    assert (result["class_ids"].shape, result["class_ids"].dtype) == ((count,), np.int32)
    assert (result["scores"].shape, result["scores"].dtype) == ((count,), np.float32)
    assert (result["masks"].shape, result["masks"].dtype) == ((75, 101, count), np.bool_)
    assert set(result["class_ids"]) == {1}
    y1, x1, y2, x2 = result["rois"].T
    assert (0 <= y1).all() and (y1 < y2).all() and (y2 <= 75).all()  # noqa: PT018
    assert (0 <= x1).all() and (x1 < x2).all() and (x2 <= 101).all()  # noqa: PT018
    assert mask_pixels_outside(result) == 0


def test_nothing_found_has_the_same_shapes(model, image):
    set_bias(model.network, "mrcnn_class_logits", [1e12, 0])
    try:
        (result,) = model.detect([image])
    finally:
        set_bias(model.network, "mrcnn_class_logits", [0, 5])
    assert result["rois"].shape == (0, 4)
    assert result["masks"].shape == (75, 101, 0)
    assert result["class_ids"].shape == result["scores"].shape == (0,)
    assert result["rois"].dtype == result["class_ids"].dtype == np.int32


def test_a_batch_of_two_equals_two_batches_of_one(model, batch_model, image):
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    for alone, together in zip(
        [model.detect([image])[0], model.detect([turned])[0]], batch_model.detect([image, turned]), strict=True
    ):
        np.testing.assert_array_equal(alone["class_ids"], together["class_ids"])
        np.testing.assert_allclose(alone["scores"], together["scores"], atol=1e-4)
        assert np.abs(alone["rois"] - together["rois"]).max() <= 1
        assert (alone["masks"] != together["masks"]).mean() < 0.01


def test_the_number_of_images_must_be_the_batch(model, batch_model, image):
    with pytest.raises(ValueError, match="GPU_COUNT \\* IMAGES_PER_GPU = 2 images at a time, got 1"):
        batch_model.detect([image])
    with pytest.raises(ValueError, match="= 1 images at a time, got 0"):
        model.detect([])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "image 0 is None"),
        (np.zeros((5, 6), np.uint8), r"must be an RGB array \(H, W, 3\), got uint8 \(5, 6\)"),
        (np.zeros((5, 6, 4), np.uint8), r"got uint8 \(5, 6, 4\)"),
        (np.zeros((0, 6, 3), np.uint8), r"got uint8 \(0, 6, 3\)"),
        ("photo.jpg", "got str"),
        (
            np.full((5, 6, 3), 0.5),
            r"from 0 to 255, best as uint8, got float64 from 0.5 to 0.5: multiply it by 255",
        ),
        (np.full((5, 6, 3), np.nan, np.float32), "got float32 with NaN or infinity"),
        (np.full((5, 6, 3), np.inf), "got float64 with NaN or infinity"),
        (np.full((5, 6, 3), 40000, np.uint16), r"got uint16: convert it, for 16 bits with \(image // 256\)"),
        (np.full((5, 6, 3), -1, np.int32), "got int32 from -1 to -1"),
        (np.full((5, 6, 3), 256.0), "got float64 from 256 to 256"),
        (np.ones((5, 6, 3), bool), "got bool: convert it"),
    ],
)
def test_what_is_no_image_is_named(model, wrong, message):
    with pytest.raises(ValueError, match=message):
        model.detect([wrong])


@pytest.mark.parametrize("shape", [(1, 700), (9000, 1), (2, 2000)])
def test_pictures_that_are_too_narrow_are_named(model, shape):
    with pytest.raises(ValueError, match=rf"image 0 of \(height, width\) = \({shape[0]}, {shape[1]}\) is too narrow"):
        model.detect([np.full((*shape, 3), 90, np.uint8)])


def test_a_picture_of_one_pixel_is_enlarged(model):
    (found,) = model.detect([np.full((1, 1, 3), 90, np.uint8)])
    assert found["masks"].shape[:2] == (1, 1)


def test_colors_may_have_another_dtype(model, image):
    (expected,) = model.detect([image])
    for dtype in (np.float32, np.int64):
        (found,) = model.detect([image.astype(dtype)])
        np.testing.assert_array_equal(found["class_ids"], expected["class_ids"])
    model.detect([np.zeros_like(image, np.float32)])


def test_verbose_prints_the_lines_of_the_original(model, image, capsys):
    image[0, 0], image[1, 1] = 0, 255
    model.detect([image], verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Processing 1 images"
    assert lines[1] == "image                    shape: (75, 101, 3)          min:    0.00000  max:  255.00000  uint8"
    assert lines[2].startswith("molded_images            shape: (1, 128, 128, 3)      min: -123.70000  max:  ")
    assert lines[2].endswith("  float64")
    assert lines[3] == "image_metas              shape: (1, 14)               min:    0.00000  max:  128.00000  float64"
    # anchors: 3 x (32² + 16² + 8² + 4² + 2²)
    assert lines[4].startswith("anchors                  shape: (1, 4092, 4)          min:   ")
    assert lines[4].endswith("  float32")
    assert len(lines) == 5


def test_log_of_an_empty_array_has_no_range(capsys):
    modellib.log("masks", np.zeros((0, 4), np.float32))
    assert re.fullmatch(r"masks +shape: \(0, 4\) +min: +max: +float32\n", capsys.readouterr().out)


def test_mold_inputs(model, image):
    molded, metas, windows = model.mold_inputs([image])
    assert molded.shape == (1, 128, 128, 3)
    # 75 x 101 is enlarged by 128 / 101 (96 / 75 would make the longer side too long): 95 x 128, 16 above, 17 below
    assert windows.tolist() == [[16, 0, 111, 128]]
    np.testing.assert_allclose(molded[0, :16], np.broadcast_to(-model.config.MEAN_PIXEL, (16, 128, 3)), rtol=1e-6)
    parts = modellib.parse_image_meta(metas)
    assert parts["original_image_shape"].tolist() == [[75, 101, 3]]
    assert parts["image_shape"].tolist() == [[128, 128, 3]]
    assert parts["window"].tolist() == [[16, 0, 111, 128]]
    assert parts["scale"] == pytest.approx(128 / 101)
    assert parts["active_class_ids"].tolist() == [[0, 0]]


def test_images_of_other_sizes_in_one_batch():
    class Padded(Batch):
        IMAGE_RESIZE_MODE = "pad64"
        IMAGE_MIN_DIM = None

    model = modellib.MaskRCNN.__new__(modellib.MaskRCNN)
    model.config = Padded()
    molded, _, windows = model.mold_inputs([np.zeros((60, 100, 3), np.uint8)] * 2)
    assert molded.shape == (2, 64, 128, 3)
    assert windows.tolist() == [[2, 14, 62, 114]] * 2
    with pytest.raises(ValueError, match="the same size after resizing"):
        model.mold_inputs([np.zeros((60, 100, 3), np.uint8), np.zeros((100, 60, 3), np.uint8)])


def test_a_wide_canvas_in_pad64_mode(model, image):
    class Padded(SmallConfig):
        IMAGE_RESIZE_MODE = "pad64"
        IMAGE_MIN_DIM = 64

    padded = modellib.MaskRCNN.__new__(modellib.MaskRCNN)
    padded.__dict__.update(model.__dict__, config=Padded())
    (result,) = padded.detect([image])
    assert result["masks"].shape[:2] == (75, 101)
    assert len(result["rois"]) > 0


def test_no_resizing_wants_multiples_of_64(model, image):
    class Unresized(SmallConfig):
        IMAGE_RESIZE_MODE = "none"

    unresized = modellib.MaskRCNN.__new__(modellib.MaskRCNN)
    unresized.__dict__.update(model.__dict__, config=Unresized())
    with pytest.raises(ValueError, match="multiples of 32, got 75 x 101"):
        unresized.detect([image])


def test_detect_molded_answers_in_pixels_of_the_canvas(model, image):
    molded, metas, _ = model.mold_inputs([image])
    (on_canvas,), (on_image,) = model.detect_molded(molded, metas), model.detect([image])
    assert on_canvas["masks"].shape[:2] == (128, 128)
    np.testing.assert_array_equal(on_canvas["scores"], on_image["scores"])
    # 16 rows of padding above, scaled by 128 / 101
    moved = (on_canvas["rois"] - [16, 0, 16, 0]) * 101 / 128
    assert np.abs(moved - on_image["rois"]).max() < 2


def test_unmold_detections_by_hand(model):
    detections = np.zeros((4, 6), np.float32)
    # a canvas of 101 x 101 of which the middle 51 rows hold an image of 101 x 201: twice as large
    detections[0] = [25 / 100, 0, 49 / 100, 0.5, 1, 0.9]
    detections[1] = [26 / 100, 0.2, 26 / 100, 0.2, 1, 0.8]  # one pixel
    masks = np.zeros((4, 28, 28, 2), np.float32)
    masks[0, :, :, 1] = 1
    boxes, class_ids, scores, full = model.unmold_detections(
        detections, masks, (101, 201, 3), (101, 101, 3), (25, 0, 76, 101)
    )
    assert boxes.tolist() == [[0, 0, 49, 101], [2, 40, 3, 41]]
    assert class_ids.tolist() == [1, 1]
    np.testing.assert_allclose(scores, [0.9, 0.8])
    assert full.shape == (101, 201, 2)
    assert full[:49, :101, 0].mean() > 0.9
    assert not full[49:, :, 0].any()
    assert not full[:, 101:, 0].any()


def test_get_anchors(model):
    anchors = model.get_anchors((128, 192, 3))
    assert anchors.shape == model.anchors.shape == (3 * (32 * 48 + 16 * 24 + 8 * 12 + 4 * 6 + 2 * 3), 4)
    np.testing.assert_allclose(anchors[1], [-4 / 127, -4 / 191, 3 / 127, 3 / 191], rtol=1e-6)
    np.testing.assert_allclose(model.anchors[1], [-4, -4, 4, 4])
    assert modellib.compute_backbone_shapes(model.config, (128, 192, 3)).tolist() == [
        [32, 48],
        [16, 24],
        [8, 12],
        [4, 6],
        [2, 3],
    ]


@pytest.mark.parametrize(("mode", "message"), [("predict", "'predict'"), ("", "''")])
def test_unknown_modes(mode, message):
    with pytest.raises(ValueError, match=f'mode must be "inference" or "training", got {message}'):
        modellib.MaskRCNN(mode=mode, config=SmallConfig(), model_dir=None)


def test_wrong_configs_are_named():
    class Odd(SmallConfig):
        IMAGE_MAX_DIM = 100

    with pytest.raises(ValueError, match="IMAGE_MAX_DIM must be a multiple of 64"):
        modellib.MaskRCNN("inference", Odd(), None)
    with pytest.raises(ValueError, match=r"write SmallConfig\(\)"):
        modellib.MaskRCNN("inference", SmallConfig, None)


def test_imagenet_weights_without_a_network(model, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise Exception("URL fetch failure: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.utils, "get_file", refuse)
    monkeypatch.setenv("KERAS_HOME", "/elsewhere")
    with pytest.raises(OSError, match=r"cannot download .*Put the file into .*elsewhere/models manually"):
        model.get_imagenet_weights()
