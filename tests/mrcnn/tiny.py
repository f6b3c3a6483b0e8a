"""A network of a few thousand weights: all parts of the real one, on a backbone of four convolutions."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from mrcnn.architecture import ARCHITECTURES, MATTERPORT
from mrcnn.config import Config
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.network.norm import BatchNorm


def tiny_backbone(image, stage5, train_bn):
    """Stages [C1 … C5] as Matterport's resnet_graph returns them; C1 is not used."""
    assert stage5
    x, stages = image, [None]
    for index, (width, stride) in enumerate(((4, 4), (6, 2), (8, 2), (10, 2)), start=2):
        x = layers.Conv2D(width, 3, strides=stride, padding="same", name=f"tiny{index}_conv")(x)
        x = BatchNorm(train_bn, name=f"tiny{index}_bn")(x)
        x = layers.ReLU(name=f"tiny{index}_relu")(x)
        stages.append(x)
    return stages


class TinyConfig(Config):
    """Three classes; every region is an object, so that there is always something to find."""

    NAME = "tiny"
    BACKBONE = staticmethod(tiny_backbone)
    GPU_COUNT = IMAGES_PER_GPU = 1
    NUM_CLASSES = 3
    TOP_DOWN_PYRAMID_SIZE = 8
    FPN_CLASSIF_FC_LAYERS_SIZE = 16
    RPN_CHANNELS = 8
    MASK_HEAD_CHANNELS = 8
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    POST_NMS_ROIS_INFERENCE = 40
    DETECTION_MAX_INSTANCES = 10
    DETECTION_MIN_CONFIDENCE = 0.0


def tiny_config(architecture: str, **settings: object) -> TinyConfig:
    """TinyConfig of an architecture, with what its published weights say of anchors, deltas and the mean."""
    if architecture != MATTERPORT.name:
        published = ARCHITECTURES[architecture].settings
        settings = {
            **{name: published[name] for name in ("RPN_ANCHOR_RATIOS", "RPN_BBOX_STD_DEV", "MEAN_PIXEL")},
            "ARCHITECTURE": architecture,
            "DETECTION_MIN_CONFIDENCE": 0.05,
            **settings,
        }
    return type("Tiny", (TinyConfig,), settings)()


class TinyTrainConfig(TinyConfig):
    """Epochs of two steps of two images at 64 pixels."""

    IMAGES_PER_GPU = 2
    IMAGE_MIN_DIM, IMAGE_MAX_DIM = 48, 64
    PRE_NMS_LIMIT = 50
    POST_NMS_ROIS_TRAINING = 10
    TRAIN_ROIS_PER_IMAGE = 12
    MAX_GT_INSTANCES = 4
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 1


def tiny_network(config=None, seed: int = 7) -> MaskRCNNNetwork:
    """The network with random weights from a seed, so spread that regions differ in class and score."""
    network = MaskRCNNNetwork(config or TinyConfig())
    seed_weights(network, seed)
    return network


def seed_weights(network: MaskRCNNNetwork, seed: int) -> None:
    """The same random weights under every backend, so spread that regions differ in class and score."""
    rng = np.random.default_rng(seed)
    for name, layer in network.layers_by_name().items():
        for variable in layer.weights:
            values = rng.normal(0, 0.1, variable.shape)
            if variable.name == "kernel":
                spread = {"tiny2_conv": 1 / 40, "mrcnn_class_logits": 4.0, "mrcnn_mask": 3.0}.get(name, 1.4)
                values = rng.normal(0, spread / np.sqrt(np.prod(variable.shape[:-1])), variable.shape)
            if variable.name in ("gamma", "moving_variance"):
                values = 1 + 0.1 * np.abs(values)
            if name == "mrcnn_class_logits" and variable.name == "bias":
                values[0] -= 2
            variable.assign(values.astype(np.float32))


def tiny_image(height: int, width: int, seed: int = 1) -> np.ndarray:
    """uint8 (height, width, 3): coarse random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return np.ascontiguousarray(blocks.repeat(16, 0).repeat(16, 1))


def set_bias(network: MaskRCNNNetwork, layer: str, values) -> None:
    """Set one layer's bias."""
    network.layers_by_name()[layer].bias.assign(keras.ops.convert_to_tensor(np.asarray(values, np.float32)))
