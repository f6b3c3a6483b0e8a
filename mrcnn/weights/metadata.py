"""The settings and class names that a weight file made here carries, so that the file is all a user has to name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.weights.checkpoint import WeightsError

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
"""Settings of a Config that decide what the weights mean and how images are shown to them."""

OPTIONAL_SETTINGS = ("RPN_CHANNELS", "MASK_HEAD_CHANNELS", "DETECTION_IGNORE_BACKGROUND")
"""Settings of ours that a Config need not have: widths that Matterport's package fixes at 512 and 256, and what
`detect` makes of regions that are most probably background."""


def describe(config: Config, class_names: Sequence[str]) -> dict[str, Any]:
    """What `weights.save_weights` stores in a file.

    Args:
        config: the settings the network was trained with.
        class_names: K names, the background first.

    Returns:
        {"config": {setting: value}, "class_names": [...]}, all of it JSON-able.

    Raises:
        ValueError: another number of names than NUM_CLASSES.
    """
    if len(class_names) != config.NUM_CLASSES:
        raise ValueError(
            f"class_names must be NUM_CLASSES = {config.NUM_CLASSES} names with the background, got {len(class_names)}"
        )
    if callable(config.BACKBONE):
        raise ValueError(
            "a BACKBONE that is a function cannot be stored in a weight file: register it in BACKBONES under a name"
        )
    names = [*NETWORK_SETTINGS, *(name for name in OPTIONAL_SETTINGS if hasattr(config, name))]
    settings = {name: _plain(getattr(config, name)) for name in names if hasattr(config, name)}
    return {"config": settings, "class_names": [str(name) for name in class_names]}


def config_from_metadata(metadata: Mapping[str, Any], **overrides: Any) -> Config:
    """A Config with the settings that a weight file carries, for one image at a time.

    Args:
        metadata: what `weights.read_metadata` returned.
        **overrides: settings by name that take the place of the file's (DETECTION_MIN_CONFIDENCE=0.5 …).

    Returns:
        A validated Config; GPU_COUNT and IMAGES_PER_GPU are 1 unless overridden.

    Raises:
        WeightsError: the metadata has an unknown setting, or one that no network can be built from.
    """
    known = {*NETWORK_SETTINGS, *OPTIONAL_SETTINGS}
    stored = dict(metadata["config"])
    unknown = sorted(set(stored) - known)
    if unknown:
        raise WeightsError(
            f"the weight file carries the unknown setting {unknown[0]!r}: it was made by a newer version"
        )
    settings = {"GPU_COUNT": 1, "IMAGES_PER_GPU": 1, **stored, **overrides}
    settings = {name: _as_default(name, value) for name, value in settings.items()}
    try:
        config = type("StoredConfig", (Config,), settings)()
        config.validate()
    except (ValueError, TypeError) as error:
        raise WeightsError(f"the settings that the weight file carries cannot be used: {error}") from None
    return config


def class_names_from_metadata(metadata: Mapping[str, Any]) -> list[str] | None:
    """The K class names that a weight file carries, the background first; None if it carries none.

    Raises:
        WeightsError: they are not NUM_CLASSES names.
    """
    names = metadata.get("class_names")
    if names is None:
        return None
    expected = metadata["config"].get("NUM_CLASSES")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) != expected:
        raise WeightsError(f"the weight file's class_names must be {expected} names, got {names!r}")
    return list(names)


def _plain(value: Any) -> Any:
    """A setting as JSON knows it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _as_default(name: str, value: Any) -> Any:
    """A stored list as the array that the setting's default is."""
    return np.asarray(value) if isinstance(getattr(Config, name, None), np.ndarray) else value
