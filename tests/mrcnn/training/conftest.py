"""A data set of two photographs and a network small enough to train a few steps in a test."""

import cv2
import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.training.annotated_images import AnnotatedImage, AnnotatedImages, Instance
from mrcnn.training.augment import AugmentSettings


class TinyConfig(Config):
    """EfficientNet-Lite0 with everything behind it as narrow as it may be."""

    NAME = "tiny"
    BACKBONE = "efficientnet_lite0"
    NUM_CLASSES = 2
    TOP_DOWN_PYRAMID_SIZE = 8
    RPN_CHANNELS = 8
    MASK_HEAD_CHANNELS = 8
    FPN_CLASSIF_FC_LAYERS_SIZE = 16
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    MEAN_PIXEL = np.array([127.0, 127.0, 127.0])
    IMAGE_MAX_DIM = 64
    IMAGE_MIN_DIM = 64
    PRE_NMS_LIMIT = 50
    POST_NMS_ROIS_TRAINING = 10
    POST_NMS_ROIS_INFERENCE = 10
    TRAIN_ROIS_PER_IMAGE = 12
    ROI_POSITIVE_RATIO = 0.34


@pytest.fixture
def tiny_config():
    return TinyConfig()


@pytest.fixture
def tiny_augment():
    return AugmentSettings(window=64, smallest_scale=0.8, largest_scale=1.2)


@pytest.fixture
def tiny_data(tmp_path):
    """A photograph with an object of the class and one with an object of another category, on noise."""
    images = []
    for index, (height, width) in enumerate(((100, 150), (140, 90))):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), np.random.default_rng(index).integers(0, 256, (height, width, 3)).astype(np.uint8))
        instance = Instance(1 - index, 1 + index, np.array([20, 30, 80, 60]), np.full((60, 30), 255, np.uint8))
        images.append(AnnotatedImage(index, path, height, width, (instance,), np.zeros((0, 4), np.float32)))
    return AnnotatedImages(("BG", "person"), ("person", "cup"), tuple(images))
