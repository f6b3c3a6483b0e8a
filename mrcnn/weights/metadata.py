"""Settings and class names stored inside a weight file, so that the file alone describes its network."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.weights.hdf5 import Metadata, WeightsError

NETWORK_SETTINGS = (
    "NAME",
    "BACKBONE",
    "BACKBONE_STRIDES",
    "TOP_DOWN_PYRAMID_SIZE",
    "FPN_CLASSIF_FC_LAYERS_SIZE",
    "NUM_CLASSES",
    "RPN_ANCHOR_SCALES",
    "RPN_ANCHOR_RATIOS",
    "RPN_ANCHOR_STRIDE",
    "RPN_NMS_THRESHOLD",
    "PRE_NMS_LIMIT",
    "POST_NMS_ROIS_INFERENCE",
    "RPN_BBOX_STD_DEV",
    "BBOX_STD_DEV",
    "POOL_SIZE",
    "MASK_POOL_SIZE",
    "MASK_SHAPE",
    "IMAGE_RESIZE_MODE",
    "IMAGE_MIN_DIM",
    "IMAGE_MAX_DIM",
    "IMAGE_MIN_SCALE",
    "MEAN_PIXEL",
    "DETECTION_MAX_INSTANCES",
    "DETECTION_MIN_CONFIDENCE",
    "DETECTION_NMS_THRESHOLD",
)
"""Settings of a Config on which the meaning of the weights and the preparation of images depend."""

OPTIONAL_SETTINGS = (
    "ARCHITECTURE", "STEM_CHANNELS", "RPN_CHANNELS", "MASK_HEAD_CHANNELS", "DETECTION_IGNORE_BACKGROUND"
)  # fmt: skip
"""Settings beyond Matterport's, which a Config need not have: the name of an architecture (`mrcnn.architecture`),
widths that are 64, 512 and 256 in Matterport's package, and how `detect` treats regions that most probably are
background."""


WHOLE_LIMITS = {
    "BACKBONE_STRIDES": (1, 1024),
    "TOP_DOWN_PYRAMID_SIZE": (1, 8192),
    "FPN_CLASSIF_FC_LAYERS_SIZE": (1, 65536),
    "NUM_CLASSES": (2, 100_000),
    "RPN_ANCHOR_STRIDE": (1, 64),
    "PRE_NMS_LIMIT": (1, 1_000_000),
    "POST_NMS_ROIS_INFERENCE": (1, 100_000),
    "POOL_SIZE": (1, 64),
    "MASK_POOL_SIZE": (1, 128),
    "MASK_SHAPE": (1, 256),
    "IMAGE_MIN_DIM": (0, 16384),
    "IMAGE_MAX_DIM": (0, 16384),
    "DETECTION_MAX_INSTANCES": (1, 10_000),
    "STEM_CHANNELS": (1, 1024),
    "RPN_CHANNELS": (1, 8192),
    "MASK_HEAD_CHANNELS": (1, 8192),
}
NUMBER_LIMITS = {
    "RPN_ANCHOR_SCALES": (1e-3, 1e5),
    "RPN_ANCHOR_RATIOS": (1e-3, 1e3),
    "RPN_NMS_THRESHOLD": (0.0, 1.0),
    "RPN_BBOX_STD_DEV": (1e-6, 1e3),
    "BBOX_STD_DEV": (1e-6, 1e3),
    "IMAGE_MIN_SCALE": (0.0, 100.0),
    "MEAN_PIXEL": (-1e3, 1e3),
    "DETECTION_MIN_CONFIDENCE": (0.0, 1.0),
    "DETECTION_NMS_THRESHOLD": (0.0, 1.0),
}
"""The least and largest number of each stored setting, and of a list's items: a file from somebody else must not make
the program allocate without bounds."""

MOST_ITEMS = 64
MAY_BE_NONE = ("NAME", "IMAGE_MIN_DIM", "IMAGE_MAX_DIM", "IMAGE_MIN_SCALE", "DETECTION_MIN_CONFIDENCE")


def network_settings(config: Config) -> dict[str, object]:
    """The settings in `NETWORK_SETTINGS` and `OPTIONAL_SETTINGS` that a Config has, JSON-able."""
    names = (*NETWORK_SETTINGS, *OPTIONAL_SETTINGS)
    return {name: _plain(getattr(config, name)) for name in names if hasattr(config, name)}


def describe(config: Config, class_names: Sequence[str]) -> Metadata:
    """The metadata that `mrcnn.weights.load_save.save_weights` stores in a file.

    Args:
        config: the settings the network was trained with.
        class_names: K names, the background first.

    Returns:
        {"config": {setting: value}, "class_names": [...]}, JSON-able.

    Raises:
        ValueError: there are not NUM_CLASSES names, or BACKBONE is a function.
    """
    if len(class_names) != config.NUM_CLASSES:
        raise ValueError(
            f"class_names must be NUM_CLASSES = {config.NUM_CLASSES} names including the background, "
            f"got {len(class_names)}"
        )
    if callable(config.BACKBONE):
        raise ValueError(
            "a BACKBONE that is a function cannot be stored in a weight file: register it in BACKBONES under a name"
        )
    return {"config": network_settings(config), "class_names": [str(name) for name in class_names]}


def config_from_metadata(metadata: Metadata, **overrides: object) -> Config:
    """Make a Config from the settings of a weight file, for one image per batch.

    Args:
        metadata: from `mrcnn.weights.hdf5.read_metadata`, or `describe`.
        **overrides: settings by name that replace the file's (DETECTION_MIN_CONFIDENCE=0.5 …).

    Returns:
        A validated Config; GPU_COUNT and IMAGES_PER_GPU are 1 unless overridden.

    Raises:
        WeightsError: the metadata has an unknown setting, or the settings are invalid.
    """
    unknown = sorted(set(metadata["config"]) - {*NETWORK_SETTINGS, *OPTIONAL_SETTINGS})
    if unknown:
        raise WeightsError(f"the weight file has the unknown setting {unknown[0]!r}: a newer version wrote it")
    for name, value in metadata["config"].items():
        _check_stored(name, value)
    settings = {"GPU_COUNT": 1, "IMAGES_PER_GPU": 1, **metadata["config"], **overrides}
    settings = {name: _as_default(name, value) for name, value in settings.items()}
    try:
        config: Config = type("StoredConfig", (Config,), settings)()
        config.validate()
    except (ValueError, TypeError) as error:
        raise WeightsError(f"the settings of the network are invalid: {error}") from None
    return config


def class_names_from_metadata(metadata: Metadata) -> list[str] | None:
    """The K class names of a weight file, the background first; None if it has none.

    Raises:
        WeightsError: there are not NUM_CLASSES names.
    """
    names = metadata.get("class_names")
    if names is None:
        return None
    expected = metadata["config"].get("NUM_CLASSES")
    if len(names) != expected:
        raise WeightsError(
            f"the weight file's class_names must be {reprlib.repr(expected)} names, got {reprlib.repr(names)}"
        )
    return list(names)


def _check_stored(name: str, value: object) -> None:
    """Raises WeightsError for a stored setting of the wrong type, or out of its limits."""
    if value is None and name in MAY_BE_NONE:
        return
    if name in WHOLE_LIMITS:
        expected, is_valid = _in_limits(value, (int,), "whole numbers", WHOLE_LIMITS[name])
    elif name in NUMBER_LIMITS:
        expected, is_valid = _in_limits(value, (int, float), "numbers", NUMBER_LIMITS[name])
    elif name == "DETECTION_IGNORE_BACKGROUND":
        expected, is_valid = "true or false", isinstance(value, bool)
    else:
        expected, is_valid = "a text", isinstance(value, str)
    if not is_valid:
        raise WeightsError(f"the weight file's {name} must be {expected}, got {reprlib.repr(value)}")


def _in_limits(value: object, types: tuple[type, ...], kind: str, limits: tuple[float, float]) -> tuple[str, bool]:
    """What is expected of a number or a list of numbers, in words, and whether it holds."""
    least, most = limits
    items: list[Any] = value if isinstance(value, list) else [value]
    holds = 0 < len(items) <= MOST_ITEMS and all(type(item) in types and least <= item <= most for item in items)
    return f"{kind} from {least:g} to {most:g}", holds


def _plain(value: object) -> object:
    """A setting as JSON types."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _as_default(name: str, value: object) -> object:
    """A stored list as an array if the setting's default is an array."""
    return np.asarray(value) if isinstance(getattr(Config, name, None), np.ndarray) else value
