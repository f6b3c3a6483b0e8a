"""Settings of the network, with the names and defaults of Matterport's package.

A script subclasses `Config`, overrides some settings and passes an instance to `mrcnn.model.MaskRCNN`. Settings of
training only matter in mode="training". GPU_COUNT only multiplies the batch size: a batch is computed on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.architecture import architecture_of

BACKBONES = ("resnet50", "resnet101", "efficientnet_lite0")
RESIZE_MODES = ("none", "square", "pad64", "crop", "shortest")
PYRAMID_STRIDES = (4, 8, 16, 32, 64)
"""Input pixels per cell of P2, P3, P4, P5 and P6; fixed by the architecture (Lin et al. 2017, section 3)."""

META_SIZE_WITHOUT_CLASSES = 1 + 3 + 3 + 4 + 1
"""Length of an image's metadata: id, original shape (3), molded shape (3), window (4), scale; one flag per class
follows."""


MIN_DIM_SHARE = 800 / 1024
"""IMAGE_MIN_DIM as a share of IMAGE_MAX_DIM in Matterport's defaults."""


class Config:
    """Settings of one model. Subclass it and override class attributes.

    `__init__` computes `BATCH_SIZE` (images per call of `detect`), `IMAGE_SHAPE` (int (3,): height, width and channels
    of the network's input) and `IMAGE_META_SIZE` (length of an image's metadata). Scripts may change an instance
    afterwards; settings are only checked by `validate`, which the model calls when it builds the network.
    """

    NAME: str | None = None
    """Name of the configuration; the log folders of training runs begin with it."""

    # Devices and batch
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2

    # Schedule of a training run
    STEPS_PER_EPOCH = 1000
    VALIDATION_STEPS = 50

    # Backbone and pyramid
    BACKBONE: str | Callable[..., Any] = "resnet101"
    COMPUTE_BACKBONE_SHAPE: Callable[[Sequence[int]], ArrayLike] | None = None
    BACKBONE_STRIDES: Sequence[int] = list(PYRAMID_STRIDES)  # a list in Matterport's package
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024
    TOP_DOWN_PYRAMID_SIZE = 256

    NUM_CLASSES = 1
    """Number of classes, including the background (id 0)."""

    # Region proposals
    RPN_ANCHOR_SCALES: Sequence[float] = (32, 64, 128, 256, 512)
    """Side of the square anchor of each pyramid level, input pixels."""
    RPN_ANCHOR_RATIOS: Sequence[float] = [0.5, 1, 2]  # a list in Matterport's package; scripts print and extend it
    """Width / height of the anchors at each position."""
    RPN_ANCHOR_STRIDE = 1
    """Cells between neighboring anchor positions."""
    RPN_NMS_THRESHOLD = 0.7
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256
    PRE_NMS_LIMIT = 6000
    """Maximum number of anchors, those with the highest scores, that enter non-maximum suppression."""
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000

    # Masks in training
    USE_MINI_MASK = True
    MINI_MASK_SHAPE: Sequence[int] = (56, 56)
    """Height and width of the box-local masks that USE_MINI_MASK keeps in memory."""

    # Input image: see `mrcnn.utils.resize_image`
    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1024
    IMAGE_MIN_SCALE: float = 0
    IMAGE_CHANNEL_COUNT = 3
    MEAN_PIXEL = np.array([123.7, 116.8, 103.9])
    """Mean color, float64 (3,), RGB, 0 … 255; subtracted from the input."""

    # Heads
    TRAIN_ROIS_PER_IMAGE = 200
    ROI_POSITIVE_RATIO = 0.33
    POOL_SIZE = 7
    MASK_POOL_SIZE = 14
    MASK_SHAPE: Sequence[int] = [28, 28]  # a list in Matterport's package
    MAX_GT_INSTANCES = 100

    # Standard deviations of the box deltas (dy, dx, log dh, log dw) that the RPN and the box head predict
    RPN_BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])

    # Detections
    DETECTION_MAX_INSTANCES = 100
    DETECTION_MIN_CONFIDENCE: float | None = 0.7
    """Lowest score of a detection; None and 0 keep all."""
    DETECTION_NMS_THRESHOLD = 0.3

    # Optimization
    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9
    WEIGHT_DECAY = 0.0001
    LOSS_WEIGHTS: dict[str, float] = {  # noqa: RUF012  scripts change it in place
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }
    USE_RPN_ROIS = True
    TRAIN_BN: bool | None = False
    GRADIENT_CLIP_NORM: float | None = 5.0

    def __init__(self) -> None:
        self.BATCH_SIZE = self.IMAGES_PER_GPU * self.GPU_COUNT
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        self.IMAGE_SHAPE = np.array([side, side, self.IMAGE_CHANNEL_COUNT])
        self.IMAGE_META_SIZE = META_SIZE_WITHOUT_CLASSES + self.NUM_CLASSES

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, in alphabetical order."""
        names = (name for name in sorted(dir(self)) if not name.startswith("__"))
        settings = {name: getattr(self, name) for name in names}
        return {name: value for name, value in settings.items() if not callable(value)}

    def display(self) -> None:
        """Print all settings, one per line, in alphabetical order."""
        print("\nConfigurations:")
        for name, value in self.to_dict().items():
            print(f"{name:30} {value}")
        print("\n")

    def validate(self) -> None:
        """Check the settings that the network is built with.

        Raises:
            ValueError: settings are invalid or inconsistent; the message is one line that names the setting.
        """
        architecture_of(self)
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
        if self.IMAGE_RESIZE_MODE == "shortest":
            self._need_count("IMAGE_MIN_DIM")
        shape = np.asarray(self.IMAGE_SHAPE)
        if shape.shape != (3,) or np.any(shape < 1):
            self._fail("IMAGE_SHAPE", "height, width and channels")
        if self.IMAGE_RESIZE_MODE != "shortest" and np.any(shape[:2] % 64):
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
                continue
            if not isinstance(value, int | float | np.integer | np.floating) or not 0 <= value <= 1:
                self._fail(name, "a number from 0 to 1")

    def _validate_heads(self) -> None:
        for name in ("POOL_SIZE", "MASK_POOL_SIZE", "DETECTION_MAX_INSTANCES"):
            self._need_count(name)
        for name in ("RPN_BBOX_STD_DEV", "BBOX_STD_DEV"):
            values = np.asarray(getattr(self, name), dtype=float)
            if values.shape != (4,) or np.any(values <= 0):
                self._fail(name, "4 positive numbers (dy, dx, dh, dw)")


def min_dim_for(config: Config, max_dim: int) -> int:
    """IMAGE_MIN_DIM that belongs to another IMAGE_MAX_DIM: in mode "shortest", their ratio stays the Config's."""
    share = config.IMAGE_MIN_DIM / config.IMAGE_MAX_DIM if config.IMAGE_RESIZE_MODE == "shortest" else MIN_DIM_SHARE
    return round(max_dim * share)
