"""What is refused before the first step, and how it is named."""

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.matterport.training_checks import check_config, check_dataset, check_schedule
from mrcnn.utils import Dataset
from tests.mrcnn.training.shapes import Shapes


class Right(Config):
    NAME = "right"
    NUM_CLASSES = 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STEPS_PER_EPOCH", 0),
        ("STEPS_PER_EPOCH", 1.5),
        ("VALIDATION_STEPS", -1),
        ("MAX_GT_INSTANCES", True),
        ("TRAIN_ROIS_PER_IMAGE", "200"),
        ("NAME", None),
        ("ROI_POSITIVE_RATIO", 0),
        ("ROI_POSITIVE_RATIO", 1),
        ("LEARNING_MOMENTUM", 1),
        ("WEIGHT_DECAY", -1e-4),
        ("GRADIENT_CLIP_NORM", 0),
        ("TRAIN_BN", "yes"),
        ("MASK_SHAPE", [56, 56]),
        ("MINI_MASK_SHAPE", (56,)),
        ("LOSS_WEIGHTS", {"rpn_loss": 1.0}),
        ("LOSS_WEIGHTS", {"rpn_class_loss": -1.0}),
        ("LOSS_WEIGHTS", None),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    config = Right()
    check_config(config)
    setattr(config, name, value)
    with pytest.raises(ValueError, match=f"^Right\\.{name} must be .*, got ") as caught:
        check_config(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRADIENT_CLIP_NORM", None),
        ("VALIDATION_STEPS", 0),
        ("TRAIN_BN", None),
        ("STEPS_PER_EPOCH", np.int64(3)),
        ("LOSS_WEIGHTS", {"mrcnn_mask_loss": 2}),
    ],
)
def test_unusual_settings_are_right(name, value):
    config = Right()
    setattr(config, name, value)
    check_config(config)


def test_the_size_of_mini_masks_does_not_count_without_them():
    config = Right()
    config.USE_MINI_MASK, config.MINI_MASK_SHAPE = False, None
    check_config(config)


def test_data_sets():
    config = Right()
    check_dataset(Shapes().fill(1), config, "train_dataset")
    with pytest.raises(ValueError, match=r"val_dataset must be a utils\.Dataset, got NoneType"):
        check_dataset(None, config, "val_dataset")
    empty = Dataset()
    empty.prepare()
    with pytest.raises(ValueError, match="train_dataset has no images"):
        check_dataset(empty, config, "train_dataset")
    unprepared = Shapes()
    unprepared.add_image("shapes", 1, None)
    with pytest.raises(ValueError, match=r"val_dataset is not prepared: call its prepare\(\)"):
        check_dataset(unprepared, config, "val_dataset")
    late = Shapes().fill(1)
    late.add_image("shapes", 2, None)
    with pytest.raises(ValueError, match="is not prepared"):
        check_dataset(late, config, "train_dataset")
    config.NUM_CLASSES = 4
    with pytest.raises(ValueError, match="train_dataset has 3 classes including the background, NUM_CLASSES is 4"):
        check_dataset(Shapes().fill(1), config, "train_dataset")


@pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf"), "0.1", None, True])
def test_learning_rates(rate):
    with pytest.raises(ValueError, match="learning_rate must be a positive number, got"):
        check_schedule(rate, 1, 0)


def test_epochs_count_those_that_are_done():
    check_schedule(0.1, 4, 3)
    with pytest.raises(ValueError, match=r"3 are completed, got 3\. For one more, use epochs=4"):
        check_schedule(0.1, 3, 3)
    for wrong in (0, 1.5, None):
        with pytest.raises(ValueError, match="epochs must be a whole number of 1 or more"):
            check_schedule(0.1, wrong, 0)
