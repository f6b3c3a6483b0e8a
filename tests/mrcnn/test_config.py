"""Settings: the original's names and defaults, what is computed, what is refused."""

import numpy as np
import pytest

from mrcnn.config import Config

# What `mrcnn.config.Config` of the original's release 0.2 holds, and the two settings that came later.
ORIGINAL = {
    "BACKBONE": "resnet101",
    "BACKBONE_STRIDES": [4, 8, 16, 32, 64],
    "BBOX_STD_DEV": np.array([0.1, 0.1, 0.2, 0.2]),
    "COMPUTE_BACKBONE_SHAPE": None,
    "DETECTION_MAX_INSTANCES": 100,
    "DETECTION_MIN_CONFIDENCE": 0.7,
    "DETECTION_NMS_THRESHOLD": 0.3,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 1024,
    "GPU_COUNT": 1,
    "GRADIENT_CLIP_NORM": 5.0,
    "IMAGES_PER_GPU": 2,
    "IMAGE_CHANNEL_COUNT": 3,
    "IMAGE_MAX_DIM": 1024,
    "IMAGE_MIN_DIM": 800,
    "IMAGE_MIN_SCALE": 0,
    "IMAGE_RESIZE_MODE": "square",
    "LEARNING_MOMENTUM": 0.9,
    "LEARNING_RATE": 0.001,
    "LOSS_WEIGHTS": {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    },
    "MASK_POOL_SIZE": 14,
    "MASK_SHAPE": [28, 28],
    "MAX_GT_INSTANCES": 100,
    "MEAN_PIXEL": np.array([123.7, 116.8, 103.9]),
    "MINI_MASK_SHAPE": (56, 56),
    "NAME": None,
    "NUM_CLASSES": 1,
    "POOL_SIZE": 7,
    "POST_NMS_ROIS_INFERENCE": 1000,
    "POST_NMS_ROIS_TRAINING": 2000,
    "PRE_NMS_LIMIT": 6000,
    "ROI_POSITIVE_RATIO": 0.33,
    "RPN_ANCHOR_RATIOS": [0.5, 1, 2],
    "RPN_ANCHOR_SCALES": (32, 64, 128, 256, 512),
    "RPN_ANCHOR_STRIDE": 1,
    "RPN_BBOX_STD_DEV": np.array([0.1, 0.1, 0.2, 0.2]),
    "RPN_NMS_THRESHOLD": 0.7,
    "RPN_TRAIN_ANCHORS_PER_IMAGE": 256,
    "STEPS_PER_EPOCH": 1000,
    "TOP_DOWN_PYRAMID_SIZE": 256,
    "TRAIN_BN": False,
    "TRAIN_ROIS_PER_IMAGE": 200,
    "USE_MINI_MASK": True,
    "USE_RPN_ROIS": True,
    "VALIDATION_STEPS": 50,
    "WEIGHT_DECAY": 0.0001,
}


class PetsConfig(Config):
    NAME = "pets"
    NUM_CLASSES = 4
    GPU_COUNT = 3
    IMAGES_PER_GPU = 2
    IMAGE_MIN_DIM = 256
    IMAGE_MAX_DIM = 320


def changed(**settings):
    return type("Changed", (PetsConfig,), settings)()


def test_every_setting_of_the_original_has_its_default():
    for name, value in ORIGINAL.items():
        np.testing.assert_equal(getattr(Config, name), value, err_msg=name)


def test_no_setting_beyond_the_originals():
    assert {name for name in vars(Config) if name.isupper()} == set(ORIGINAL)


def test_computed_settings():
    config = PetsConfig()
    assert config.BATCH_SIZE == 6
    np.testing.assert_array_equal(config.IMAGE_SHAPE, [320, 320, 3])
    assert config.IMAGE_META_SIZE == 1 + 3 + 3 + 4 + 1 + 4


def test_image_shape_of_crop_mode_is_the_smaller_size():
    np.testing.assert_array_equal(changed(IMAGE_RESIZE_MODE="crop").IMAGE_SHAPE, [256, 256, 3])


def test_display_prints_every_setting_once(capsys):
    PetsConfig().display()
    lines = capsys.readouterr().out.split("\n")
    assert lines[:2] == ["", "Configurations:"]
    rows = [line for line in lines[2:] if line]
    assert [row.split()[0] for row in rows] == sorted([*ORIGINAL, "BATCH_SIZE", "IMAGE_META_SIZE", "IMAGE_SHAPE"])
    assert "IMAGE_SHAPE                    [320 320   3]" in rows
    assert "NUM_CLASSES                    4" in rows


def test_to_dict_has_settings_of_the_script_too():
    assert changed(MY_OWN="x").to_dict()["MY_OWN"] == "x"


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "efficientnet_lite0"])
def test_backbones_are_accepted(backbone):
    changed(BACKBONE=backbone).validate()


@pytest.mark.parametrize("confidence", [0, 0.0, 1, None])
def test_confidence_may_be_off(confidence):
    changed(DETECTION_MIN_CONFIDENCE=confidence).validate()


def test_arrays_instead_of_tuples_are_accepted():
    changed(RPN_ANCHOR_SCALES=np.array([8, 16, 32, 64, 128]), RPN_ANCHOR_RATIOS=np.array([1.0])).validate()


def test_min_dim_may_exceed_max_dim_in_square_mode():
    changed(IMAGE_MIN_DIM=800, IMAGE_MAX_DIM=512).validate()


def test_the_default_configuration_lacks_classes():
    with pytest.raises(ValueError, match=r"Config\.NUM_CLASSES must be 2 or more"):
        Config().validate()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GPU_COUNT", 0),
        ("IMAGES_PER_GPU", 1.5),
        ("NUM_CLASSES", 1),
        ("BACKBONE", "resnet18"),
        ("BACKBONE_STRIDES", [4, 8, 16, 32]),
        ("TOP_DOWN_PYRAMID_SIZE", 0),
        ("FPN_CLASSIF_FC_LAYERS_SIZE", -1),
        ("IMAGE_RESIZE_MODE", "squared"),
        ("IMAGE_MAX_DIM", 500),
        ("IMAGE_MAX_DIM", 0),
        ("IMAGE_MIN_SCALE", -1),
        ("IMAGE_CHANNEL_COUNT", 0),
        ("MEAN_PIXEL", np.array([1.0, 2.0])),
        ("RPN_ANCHOR_SCALES", ()),
        ("RPN_ANCHOR_SCALES", (32, 64)),
        ("RPN_ANCHOR_RATIOS", []),
        ("RPN_ANCHOR_RATIOS", [1, 0]),
        ("RPN_ANCHOR_STRIDE", 0),
        ("PRE_NMS_LIMIT", 0),
        ("POST_NMS_ROIS_INFERENCE", 0),
        ("RPN_NMS_THRESHOLD", 1.1),
        ("DETECTION_NMS_THRESHOLD", -0.1),
        ("DETECTION_MIN_CONFIDENCE", "0.5"),
        ("DETECTION_MAX_INSTANCES", 0),
        ("POOL_SIZE", 0),
        ("MASK_POOL_SIZE", True),
        ("RPN_BBOX_STD_DEV", np.array([0.1, 0.1, 0.2])),
        ("BBOX_STD_DEV", np.array([0.1, 0.1, 0.2, 0.0])),
    ],
)
def test_what_cannot_be_built_is_named_in_one_line(name, value):
    with pytest.raises(ValueError, match=rf"^Changed\.{name} must be ") as caught:
        changed(**{name: value}).validate()
    assert "\n" not in str(caught.value)


def test_pad64_needs_multiples_of_64():
    with pytest.raises(ValueError, match="IMAGE_MIN_DIM must be a multiple of 64"):
        changed(IMAGE_RESIZE_MODE="pad64", IMAGE_MIN_DIM=250).validate()


def test_crop_names_the_setting_that_decides():
    with pytest.raises(ValueError, match="IMAGE_MIN_DIM must be a multiple of 64"):
        changed(IMAGE_RESIZE_MODE="crop", IMAGE_MIN_DIM=250).validate()


def test_number_of_classes_changed_after_the_fact():
    config = PetsConfig()
    config.NUM_CLASSES = 9
    with pytest.raises(ValueError, match="IMAGE_META_SIZE must be 12 \\+ NUM_CLASSES = 21"):
        config.validate()


def test_making_a_wrong_configuration_does_not_fail():
    assert changed(BACKBONE="mine", IMAGE_MAX_DIM=500).IMAGE_SHAPE[0] == 500


def test_a_function_may_build_the_backbone():
    changed(BACKBONE=lambda image, config: [image] * 4).validate()
