"""What distinguishes the published kinds of Mask R-CNN, as data; imports no Keras.

Layers, exported graphs, engines, conversion and recognition of weight files follow these descriptions. What a Config of
Matterport's package can say (backbone, anchor scales, thresholds) stays there; `Architecture.settings` gives the values
with which the published weights of an architecture were trained.

Conversion brings weight files into one form, so that these differences need no description: channel order and scale
of the input are folded into the first convolution, deltas are (dy, dx, log dh, log dw), the background is class 0, and
the RPN's sigmoid is a softmax over (0, logit).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Architecture:
    """One kind of Mask R-CNN.

    Attributes:
        name: the value of `Config.ARCHITECTURE`.
        stride_in_3x3: the 3x3 convolution of a ResNet bottleneck has the stride; otherwise the first 1x1 has it.
        symmetric_padding: strided convolutions and pooling of the backbone pad both sides alike, as PyTorch does;
            otherwise as TensorFlow's "same".
        norm_epsilon: summand of the variance in batch normalization.
        fpn_norm: the pyramid's convolutions are followed by batch normalization.
        rpn_convolutions: number of 3x3 convolutions that all outputs of the RPN share.
        box_convolutions: number of 3x3 convolutions of the box head before its fully connected layers; each is
            followed by batch normalization.
        box_layers: number of fully connected layers of the box head.
        box_norm: those are followed by batch normalization.
        mask_norm: the mask head's 3x3 convolutions are followed by batch normalization.
        padding_after_mean: the canvas around the image is 0 after the mean has been subtracted; otherwise before, so
            that the network sees black there.
        floored_size: height and width of the resized image are rounded down; otherwise to the nearest pixel.
        antialiased: images are low-pass filtered when they are made smaller.
        centered: the image lies in the middle of its canvas; otherwise at its top left.
        last_pixel_is_one: normalized coordinates are Matterport's, see `mrcnn.network.anchors.normalize_boxes`;
            otherwise pixels divided by the canvas' size.
        rounded_anchors: the corners of the anchors around their position are whole pixels.
        grid_strides: cells between anchors are canvas size // rows and columns of the level, which differs from the
            nominal stride where a level has an odd size; otherwise nominal strides.
        proposals_per_level: the RPN's best PRE_NMS_LIMIT anchors are taken, and suppressed, level by level; otherwise
            of all levels together. If so, anchors are ranked by logits, not by probabilities, of which many are 1 in
            float32; and proposals are clipped to the image, not to the canvas.
        smallest_proposal: pixels; proposals with a shorter side are dropped.
        floored_levels: the pyramid level of a region (Lin et al. 2017, equation 1) is rounded down, after 1e-6 has been
            added; otherwise to the nearest one.
        roi_samples: samples per bin and axis of RoIAlign: 0 adapts to the region's size (one sample per cell); None is
            one sample on a grid whose corners are the region's, as tf.image.crop_and_resize does.
        roi_offset: cells subtracted from RoIAlign's sampling positions; 0.5 aligns them with the cells' centers.
        every_class: every class of a region whose score reaches the threshold is a detection; otherwise only the most
            probable class.
        smallest_detection: pixels; detections with a shorter side are dropped.
        max_log_scale: upper limit of the predicted log dh and log dw.
        smooth_l1_beta: training: errors of deltas, in standard deviations, from which on the loss of boxes is linear.
        settings: Config attributes of the published weights.
    """

    name: str
    stride_in_3x3: bool = False
    symmetric_padding: bool = False
    norm_epsilon: float = 1e-3
    fpn_norm: bool = False
    rpn_convolutions: int = 1
    box_convolutions: int = 0
    box_layers: int = 2
    box_norm: bool = True
    mask_norm: bool = True
    padding_after_mean: bool = False
    floored_size: bool = False
    antialiased: bool = False
    centered: bool = True
    last_pixel_is_one: bool = True
    rounded_anchors: bool = False
    grid_strides: bool = False
    proposals_per_level: bool = False
    smallest_proposal: float = 0.0
    floored_levels: bool = False
    roi_samples: int | None = None
    roi_offset: float = 0.0
    every_class: bool = False
    smallest_detection: float = 0.0
    max_log_scale: float = 30.0
    smooth_l1_beta: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False)


_COMMON = {
    "IMAGE_RESIZE_MODE": "shortest",
    "IMAGE_MIN_DIM": 800,
    "IMAGE_MAX_DIM": 1333,
    "MEAN_PIXEL": (123.675, 116.28, 103.53),  # ImageNet's (0.485, 0.456, 0.406), times 255
    "RPN_CHANNELS": 256,
    "RPN_ANCHOR_RATIOS": (2.0, 1.0, 0.5),  # height / width 0.5, 1, 2
    "RPN_BBOX_STD_DEV": (1.0, 1.0, 1.0, 1.0),
    "PRE_NMS_LIMIT": 1000,
    "POST_NMS_ROIS_INFERENCE": 1000,
    "RPN_NMS_THRESHOLD": 0.7,
    "DETECTION_MIN_CONFIDENCE": 0.5,  # for pictures; their evaluation counts from 0.05 on
    "DETECTION_NMS_THRESHOLD": 0.5,
    "DETECTION_MAX_INSTANCES": 100,
}
"""What torchvision's and detectron2's published weights have in common; torchvision 0.29, detectron2 02b5c4e2."""

_GEOMETRY: dict[str, Any] = {
    "symmetric_padding": True,
    "padding_after_mean": True,
    "centered": False,
    "last_pixel_is_one": False,
    "proposals_per_level": True,
    "floored_levels": True,
    "every_class": True,
    "max_log_scale": math.log(1000 / 16),
}
_TORCHVISION: dict[str, Any] = {
    **_GEOMETRY,
    "stride_in_3x3": True,
    "box_norm": False,
    "floored_size": True,
    "rounded_anchors": True,
    "grid_strides": True,
    "smallest_proposal": 1e-3,
    "smallest_detection": 1e-2,
    "smooth_l1_beta": 1 / 9,
    "roi_samples": 2,
    "settings": MappingProxyType({**_COMMON, "BACKBONE": "resnet50", "NUM_CLASSES": 91}),
}

MATTERPORT = Architecture("matterport")
"""Matterport's package, which the oldest COCO weights and the shipped model belong to."""

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        architecture.name: architecture
        for architecture in (
            MATTERPORT,
            Architecture("torchvision", mask_norm=False, norm_epsilon=0.0, **_TORCHVISION),
            Architecture(
                "torchvision_v2",
                fpn_norm=True,
                rpn_convolutions=2,
                box_convolutions=4,
                box_layers=1,
                norm_epsilon=1e-5,
                **_TORCHVISION,
            ),
            Architecture(
                "detectron2",
                box_norm=False,
                mask_norm=False,
                norm_epsilon=1e-5,
                antialiased=True,
                smallest_proposal=1e-6,  # not empty
                smallest_detection=1e-6,
                smooth_l1_beta=1e-5,  # 0, the absolute value, but with a gradient everywhere
                roi_samples=0,
                roi_offset=0.5,
                settings=MappingProxyType({**_COMMON, "BACKBONE": "resnet50", "NUM_CLASSES": 81}),
                **_GEOMETRY,
            ),
        )
    }
)
"""The architectures by the names that `Config.ARCHITECTURE` takes."""


def architecture_of(config: object) -> Architecture:
    """The architecture of a Config: the optional setting ARCHITECTURE, else Matterport's.

    Raises:
        ValueError: there is no architecture of that name.
    """
    name = getattr(config, "ARCHITECTURE", MATTERPORT.name)
    if name not in ARCHITECTURES:
        raise ValueError(f"Config.ARCHITECTURE must be one of {', '.join(ARCHITECTURES)}, got {name!r}")
    return ARCHITECTURES[name]
