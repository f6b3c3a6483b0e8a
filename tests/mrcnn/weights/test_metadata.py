"""Settings inside a weight file: out of a Config, through JSON, and back."""

import json

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.weights.checkpoint import WeightsError
from mrcnn.weights.metadata import (
    NETWORK_SETTINGS,
    OPTIONAL_SETTINGS,
    class_names_from_metadata,
    config_from_metadata,
    describe,
    network_settings,
)
from tests.mrcnn.conftest import SmallConfig
from tests.mrcnn.tiny import TinyConfig

NAMES = ["BG", "person"]


def stored(config=None):
    return json.loads(json.dumps(describe(config or SmallConfig(), NAMES)))


def test_round_trip():
    class Narrow(SmallConfig):
        STEM_CHANNELS, MASK_HEAD_CHANNELS = 16, 32
        MEAN_PIXEL = np.array([1.5, 2.5, 3.5])

    config = config_from_metadata(stored(Narrow()))
    assert isinstance(config, Config)
    assert (config.BACKBONE, config.TOP_DOWN_PYRAMID_SIZE, config.IMAGE_MAX_DIM) == ("resnet50", 64, 128)
    assert (config.STEM_CHANNELS, config.MASK_HEAD_CHANNELS) == (16, 32)
    assert config.RPN_ANCHOR_SCALES == [8, 16, 32, 64, 128]
    np.testing.assert_array_equal(config.MEAN_PIXEL, [1.5, 2.5, 3.5])
    np.testing.assert_array_equal(config.IMAGE_SHAPE, [128, 128, 3])
    assert config.BATCH_SIZE == 1
    assert not hasattr(config, "RPN_CHANNELS")


def test_overrides_win():
    config = config_from_metadata(stored(), DETECTION_MIN_CONFIDENCE=0.25, IMAGES_PER_GPU=2)
    assert config.DETECTION_MIN_CONFIDENCE == 0.25
    assert config.BATCH_SIZE == 2


def test_the_settings_of_a_file_that_has_none_can_be_handed_on():
    """As to the process that exports Matterport's weights, whose Config has no NAME."""
    config = config_from_metadata({"config": {"NUM_CLASSES": 81, "BACKBONE": "resnet101"}})
    assert config.NAME is None
    again = config_from_metadata(json.loads(json.dumps({"config": network_settings(config)})))
    assert network_settings(again) == network_settings(config)


def test_class_names():
    assert class_names_from_metadata(stored()) == NAMES
    assert class_names_from_metadata({"config": {}}) is None
    with pytest.raises(WeightsError, match="must be 2 names, got"):
        class_names_from_metadata({"config": {"NUM_CLASSES": 2}, "class_names": ["BG"]})


def test_what_cannot_be_stored():
    with pytest.raises(ValueError, match="NUM_CLASSES = 2 names including the background, got 3"):
        describe(SmallConfig(), ["BG", "a", "b"])
    with pytest.raises(ValueError, match="function cannot be stored"):
        describe(TinyConfig(), ["BG", "a", "b"])


def test_what_cannot_be_used():
    metadata = stored()
    metadata["config"]["SHINE"] = 3
    with pytest.raises(WeightsError, match="unknown setting 'SHINE'"):
        config_from_metadata(metadata)
    metadata = stored()
    metadata["config"]["BACKBONE"] = "vgg"
    with pytest.raises(WeightsError, match="BACKBONE"):
        config_from_metadata(metadata)


NUMBERS = sorted({*NETWORK_SETTINGS, *OPTIONAL_SETTINGS} - {"NAME", "BACKBONE", "IMAGE_RESIZE_MODE"})
ABSURD = [-(10**12), 10**12, int("9" * 400), 1e300, float("nan"), float("inf"), [], {}, "x", [[1]], [1] * 1000]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ABSURD, ids=[str(value)[:10] for value in ABSURD])
def test_absurd_settings_are_one_short_line(name, value):
    metadata = stored()
    metadata["config"][name] = value
    with pytest.raises(WeightsError, match=name) as caught:
        config_from_metadata(metadata)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["NAME", "BACKBONE", "IMAGE_RESIZE_MODE"])
def test_texts_are_texts(name):
    metadata = stored()
    metadata["config"][name] = int("9" * 400)
    with pytest.raises(WeightsError, match=f"{name} must be a text, got 9999") as caught:
        config_from_metadata(metadata)
    assert len(str(caught.value)) < 200
