"""Settings of the network, with the names and defaults of Matterport's package.

A script subclasses `Config`, overrides some settings and passes an instance to `mrcnn.model.MaskRCNN`. Settings of
training only matter in mode="training". GPU_COUNT only multiplies the batch size: a batch is computed on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
        check(self, self._requirements())

    def _requirements(self) -> Iterator[Requirement]:
        side_name = "IMAGE_MIN_DIM" if self.IMAGE_RESIZE_MODE == "crop" else "IMAGE_MAX_DIM"
        is_shortest = self.IMAGE_RESIZE_MODE == "shortest"
        for name in (*_COUNTS, side_name, *(["IMAGE_MIN_DIM"] if is_shortest else [])):
            yield name, is_count(getattr(self, name)), "a whole number of 1 or more"
        classes = self.NUM_CLASSES
        yield "NUM_CLASSES", classes >= 2, "2 or more (the background counts as one: 81 for COCO)"
        yield (
            "IMAGE_META_SIZE",
            self.IMAGE_META_SIZE == META_SIZE_WITHOUT_CLASSES + classes,
            f"{META_SIZE_WITHOUT_CLASSES} + NUM_CLASSES = {META_SIZE_WITHOUT_CLASSES + classes} "
            "(set NUM_CLASSES in the class, or call __init__ again after a change)",
        )
        is_known = callable(self.BACKBONE) or self.BACKBONE in BACKBONES
        yield "BACKBONE", is_known, f"one of {', '.join(BACKBONES)}, or a function that builds one"
        strides = tuple(self.BACKBONE_STRIDES)
        yield "BACKBONE_STRIDES", strides == PYRAMID_STRIDES, f"{list(PYRAMID_STRIDES)}, the strides of P2 to P6"
        mode, shape = self.IMAGE_RESIZE_MODE, np.asarray(self.IMAGE_SHAPE)
        yield "IMAGE_RESIZE_MODE", mode in RESIZE_MODES, f"one of {', '.join(RESIZE_MODES)}"
        channels = self.IMAGE_CHANNEL_COUNT
        has_channels = np.shape(self.MEAN_PIXEL) in ((), (channels,))
        yield "MEAN_PIXEL", has_channels, f"{channels} numbers, one for each of IMAGE_CHANNEL_COUNT"
        yield "IMAGE_SHAPE", shape.shape == (3,) and _are_positive(shape), "height, width and channels"
        expected = f"a multiple of 64 such as 512 or 1024, the stride of P6 (IMAGE_SHAPE is {shape})"
        yield side_name, mode == "shortest" or not np.any(shape[:2] % 64), expected
        is_multiple = mode != "pad64" or not (self.IMAGE_MIN_DIM or 0) % 64
        yield "IMAGE_MIN_DIM", is_multiple, 'a multiple of 64 when IMAGE_RESIZE_MODE is "pad64"'
        yield "IMAGE_MIN_SCALE", (self.IMAGE_MIN_SCALE or 0) >= 0, "0 (off) or a positive factor"
        for name in ("RPN_ANCHOR_SCALES", "RPN_ANCHOR_RATIOS"):
            yield name, _are_positive(getattr(self, name)), "one or more positive numbers"
        is_complete = len(self.RPN_ANCHOR_SCALES) == len(PYRAMID_STRIDES)
        yield "RPN_ANCHOR_SCALES", is_complete, f"{len(PYRAMID_STRIDES)} numbers, one for each pyramid level"
        for name in ("RPN_NMS_THRESHOLD", "DETECTION_NMS_THRESHOLD", "DETECTION_MIN_CONFIDENCE"):
            value = 0 if name == "DETECTION_MIN_CONFIDENCE" and getattr(self, name) is None else getattr(self, name)
            yield name, is_number(value) and 0 <= value <= 1, "a number from 0 to 1"
        for name in ("RPN_BBOX_STD_DEV", "BBOX_STD_DEV"):
            is_right = _are_positive(getattr(self, name)) and len(getattr(self, name)) == 4
            yield name, is_right, "4 positive numbers (dy, dx, dh, dw)"


_COUNTS = (
    "GPU_COUNT", "IMAGES_PER_GPU", "BATCH_SIZE", "NUM_CLASSES", "TOP_DOWN_PYRAMID_SIZE", "FPN_CLASSIF_FC_LAYERS_SIZE",
    "IMAGE_CHANNEL_COUNT", "RPN_ANCHOR_STRIDE", "PRE_NMS_LIMIT", "POST_NMS_ROIS_INFERENCE", "POOL_SIZE",
    "MASK_POOL_SIZE", "DETECTION_MAX_INSTANCES",
)  # fmt: skip

Requirement = tuple[str, bool, str]
"""Name of a setting, whether its value is right, and what is expected: "a number from 0 to 1"."""


def check(config: Config, requirements: Iterable[Requirement]) -> None:
    """Check settings in turn; a requirement may rely on those before it.

    Raises:
        ValueError: a setting is wrong; the message is one line that names it.
    """
    for name, is_right, expected in requirements:
        if not is_right:
            raise ValueError(f"{type(config).__name__}.{name} must be {expected}, got {getattr(config, name)!r}")


def is_number(value: Any) -> bool:
    """Whether a value is a real number; True and False are none."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_count(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number of at least so much."""
    return is_number(value) and isinstance(value, int | np.integer) and bool(value >= least)


def min_dim_for(config: Config, max_dim: int) -> int:
    """IMAGE_MIN_DIM that belongs to another IMAGE_MAX_DIM: in mode "shortest", their ratio stays the Config's."""
    share = config.IMAGE_MIN_DIM / config.IMAGE_MAX_DIM if config.IMAGE_RESIZE_MODE == "shortest" else MIN_DIM_SHARE
    return round(max_dim * share)


def _are_positive(values: ArrayLike) -> bool:
    array = np.asarray(values, dtype=float)
    return array.ndim == 1 and array.size > 0 and bool((array > 0).all())
