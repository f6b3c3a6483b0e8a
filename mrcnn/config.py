"""Settings of the network, with the names and defaults that users of Matterport's package know.

A script subclasses `Config`, overrides what differs and passes an instance to `mrcnn.model.MaskRCNN`. Settings of
training count in mode="training". GPU_COUNT only multiplies: a batch is one step on one device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BACKBONES = ("resnet50", "resnet101", "efficientnet_lite0")
RESIZE_MODES = ("none", "square", "pad64", "crop")
PYRAMID_STRIDES = (4, 8, 16, 32, 64)
"""Pixels of the input per cell of P2, P3, P4, P5 and P6; fixed by the architecture (Lin et al. 2017, section 3)."""

# Meta data of an image: id, original shape (3), molded shape (3), window (4), scale, then one flag per class.
META_SIZE_WITHOUT_CLASSES = 1 + 3 + 3 + 4 + 1


class Config:
    """Settings of one model. Subclass it and override class attributes.

    `__init__` computes `BATCH_SIZE` (images per call of `detect`), `IMAGE_SHAPE` (int array (3,): height, width and
    channels of the network's input) and `IMAGE_META_SIZE` (length of an image's meta data) from them. Nothing is
    checked before `validate`, which the model calls when it builds the network: a script may still change an instance.
    """

    NAME: str | None = None
    """Name of the configuration; log folders of a training run are named after it."""

    # Devices and batch
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2

    # Schedule of a training run
    STEPS_PER_EPOCH = 1000
    VALIDATION_STEPS = 50

    # Backbone and pyramid
    BACKBONE = "resnet101"
    COMPUTE_BACKBONE_SHAPE: Any = None
    BACKBONE_STRIDES: Any = list(PYRAMID_STRIDES)  # noqa: RUF012  a list in the original
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024
    TOP_DOWN_PYRAMID_SIZE = 256

    NUM_CLASSES = 1
    """Number of classes, the background (id 0) included."""

    # Region proposals
    RPN_ANCHOR_SCALES: Any = (32, 64, 128, 256, 512)
    """Side of a square anchor in input pixels, one for each pyramid level."""
    RPN_ANCHOR_RATIOS: Any = [0.5, 1, 2]  # noqa: RUF012  a list in the original, and scripts print or extend it
    """Width / height of the anchors at each cell."""
    RPN_ANCHOR_STRIDE = 1
    """1: anchors at every cell of a level, 2: at every other cell …"""
    RPN_NMS_THRESHOLD = 0.7
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256
    PRE_NMS_LIMIT = 6000
    """How many of the best anchors go into the suppression of proposals."""
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000

    # Masks kept small while training
    USE_MINI_MASK = True
    MINI_MASK_SHAPE: Any = (56, 56)

    # Input image: see `mrcnn.utils.resize_image`
    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1024
    IMAGE_MIN_SCALE: float = 0
    IMAGE_CHANNEL_COUNT = 3
    MEAN_PIXEL = np.array([123.7, 116.8, 103.9])
    """Mean color, RGB, subtracted from the input."""

    # Heads
    TRAIN_ROIS_PER_IMAGE = 200
    ROI_POSITIVE_RATIO = 0.33
    POOL_SIZE = 7
    MASK_POOL_SIZE = 14
    MASK_SHAPE: Any = [28, 28]  # noqa: RUF012  a list in the original
    MAX_GT_INSTANCES = 100

    # Scale of the box deltas (dy, dx, log dh, log dw) that the RPN and the box head give
    RPN_BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])

    # Detections
    DETECTION_MAX_INSTANCES = 100
    DETECTION_MIN_CONFIDENCE = 0.7
    DETECTION_NMS_THRESHOLD = 0.3

    # Optimization
    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9
    WEIGHT_DECAY = 0.0001
    LOSS_WEIGHTS: Any = {  # noqa: RUF012  a dict in the original
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }
    USE_RPN_ROIS = True
    TRAIN_BN: bool | None = False
    GRADIENT_CLIP_NORM = 5.0

    def __init__(self) -> None:
        self.BATCH_SIZE = self.IMAGES_PER_GPU * self.GPU_COUNT
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        self.IMAGE_SHAPE = np.array([side, side, self.IMAGE_CHANNEL_COUNT])
        self.IMAGE_META_SIZE = META_SIZE_WITHOUT_CLASSES + self.NUM_CLASSES

    def to_dict(self) -> dict[str, Any]:
        """Every setting in force by name, in alphabetical order."""
        names = (name for name in sorted(dir(self)) if not name.startswith("__"))
        settings = {name: getattr(self, name) for name in names}
        return {name: value for name, value in settings.items() if not callable(value)}

    def display(self) -> None:
        """Print every setting in force, one a line, in alphabetical order."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print("\n")

    def validate(self) -> None:
        """Check the settings that the network is built from.

        Raises:
            ValueError: settings contradict each other or cannot be built; the text is one line that names the setting.
        """
        self._validate_batch()
        self._validate_backbone()
        self._validate_image()
        self._validate_anchors()
        self._validate_thresholds()
        self._validate_heads()

    def _fail(self, name: str, expected: str) -> None:
        raise ValueError(f"{type(self).__name__}.{name} must be {expected}, got {getattr(self, name)!r}")

    def _need_count(self, name: str, least: int = 1) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            self._fail(name, f"a whole number of {least} or more")

    def _validate_batch(self) -> None:
        for name in ("GPU_COUNT", "IMAGES_PER_GPU", "BATCH_SIZE"):
            self._need_count(name)
        self._need_count("NUM_CLASSES")
        if self.NUM_CLASSES < 2:
            self._fail("NUM_CLASSES", "2 or more (the background counts as one: 81 for COCO)")
        if self.IMAGE_META_SIZE != META_SIZE_WITHOUT_CLASSES + self.NUM_CLASSES:
            self._fail(
                "IMAGE_META_SIZE",
                f"{META_SIZE_WITHOUT_CLASSES} + NUM_CLASSES = {META_SIZE_WITHOUT_CLASSES + self.NUM_CLASSES} "
                "(set NUM_CLASSES in the class, or call __init__ again after a change)",
            )

    def _validate_backbone(self) -> None:
        if not callable(self.BACKBONE) and self.BACKBONE not in BACKBONES:
            self._fail("BACKBONE", f"one of {', '.join(BACKBONES)}, or a function that builds one")
        if tuple(self.BACKBONE_STRIDES) != PYRAMID_STRIDES:
            self._fail("BACKBONE_STRIDES", f"{list(PYRAMID_STRIDES)}, the strides of P2 to P6")
        self._need_count("TOP_DOWN_PYRAMID_SIZE")
        self._need_count("FPN_CLASSIF_FC_LAYERS_SIZE")

    def _validate_image(self) -> None:
        if self.IMAGE_RESIZE_MODE not in RESIZE_MODES:
            self._fail("IMAGE_RESIZE_MODE", f"one of {', '.join(RESIZE_MODES)}")
        self._need_count("IMAGE_CHANNEL_COUNT")
        if np.shape(self.MEAN_PIXEL) not in ((), (self.IMAGE_CHANNEL_COUNT,)):
            self._fail("MEAN_PIXEL", f"{self.IMAGE_CHANNEL_COUNT} numbers, one for each of IMAGE_CHANNEL_COUNT")
        side_name = "IMAGE_MIN_DIM" if self.IMAGE_RESIZE_MODE == "crop" else "IMAGE_MAX_DIM"
        self._need_count(side_name)
        shape = np.asarray(self.IMAGE_SHAPE)
        if shape.shape != (3,) or np.any(shape < 1):
            self._fail("IMAGE_SHAPE", "height, width and channels")
        if np.any(shape[:2] % 64):
            self._fail(side_name, f"a multiple of 64 such as 512 or 1024, the stride of P6 (IMAGE_SHAPE is {shape})")
        if self.IMAGE_RESIZE_MODE == "pad64" and self.IMAGE_MIN_DIM and self.IMAGE_MIN_DIM % 64:
            self._fail("IMAGE_MIN_DIM", 'a multiple of 64 when IMAGE_RESIZE_MODE is "pad64"')
        if self.IMAGE_MIN_SCALE and self.IMAGE_MIN_SCALE < 0:
            self._fail("IMAGE_MIN_SCALE", "0 (off) or a positive factor")

    def _validate_anchors(self) -> None:
        for name in ("RPN_ANCHOR_SCALES", "RPN_ANCHOR_RATIOS"):
            values = np.asarray(getattr(self, name), dtype=float)
            if values.ndim != 1 or values.size == 0 or np.any(values <= 0):
                self._fail(name, "one or more positive numbers")
        if len(self.RPN_ANCHOR_SCALES) != len(PYRAMID_STRIDES):
            self._fail("RPN_ANCHOR_SCALES", f"{len(PYRAMID_STRIDES)} numbers, one for each pyramid level")
        self._need_count("RPN_ANCHOR_STRIDE")
        for name in ("PRE_NMS_LIMIT", "POST_NMS_ROIS_INFERENCE"):
            self._need_count(name)

    def _validate_thresholds(self) -> None:
        for name in ("RPN_NMS_THRESHOLD", "DETECTION_NMS_THRESHOLD", "DETECTION_MIN_CONFIDENCE"):
            value = getattr(self, name)
            if name == "DETECTION_MIN_CONFIDENCE" and value is None:
                continue  # means "keep all", as 0 does
            if not np.isscalar(value) or isinstance(value, str) or not 0 <= value <= 1:
                self._fail(name, "a number from 0 to 1")

    def _validate_heads(self) -> None:
        for name in ("POOL_SIZE", "MASK_POOL_SIZE", "DETECTION_MAX_INSTANCES"):
            self._need_count(name)
        for name in ("RPN_BBOX_STD_DEV", "BBOX_STD_DEV"):
            values = np.asarray(getattr(self, name), dtype=float)
            if values.shape != (4,) or np.any(values <= 0):
                self._fail(name, "4 positive numbers (dy, dx, dh, dw)")
