"""Validates the settings and data sets of a training run before its first step."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrcnn.training.training_model import LOSS_NAMES

_COUNTS = (
    "STEPS_PER_EPOCH",
    "RPN_TRAIN_ANCHORS_PER_IMAGE",
    "POST_NMS_ROIS_TRAINING",
    "TRAIN_ROIS_PER_IMAGE",
    "MAX_GT_INSTANCES",
)


def check_config(config) -> None:
    """Check the settings that only training reads.

    Raises:
        ValueError: a setting is invalid; the message is one line that names it.
    """
    for name in _COUNTS:
        _need(config, name, _is_count(getattr(config, name), 1), "a whole number of 1 or more")
    _need(config, "VALIDATION_STEPS", _is_count(config.VALIDATION_STEPS, 0), "a whole number of 0 or more")
    _need(
        config,
        "NAME",
        isinstance(config.NAME, str) and config.NAME != "",
        "a non-empty string: log folders begin with it",
    )
    ratio_is_right = _is_number(config.ROI_POSITIVE_RATIO) and 0 < config.ROI_POSITIVE_RATIO < 1
    _need(config, "ROI_POSITIVE_RATIO", ratio_is_right, "a number between 0 and 1")
    momentum_is_right = _is_number(config.LEARNING_MOMENTUM) and 0 <= config.LEARNING_MOMENTUM < 1
    _need(config, "LEARNING_MOMENTUM", momentum_is_right, "a number from 0 to below 1")
    _need(
        config, "WEIGHT_DECAY", _is_number(config.WEIGHT_DECAY) and config.WEIGHT_DECAY >= 0, "0 or a positive number"
    )
    clip_norm = config.GRADIENT_CLIP_NORM
    clip_is_right = clip_norm is None or (_is_number(clip_norm) and clip_norm > 0)
    _need(config, "GRADIENT_CLIP_NORM", clip_is_right, "a positive number, or None for no clipping")
    _need(config, "TRAIN_BN", config.TRAIN_BN in (None, True, False), "True, False or None")
    _check_masks(config)
    _check_loss_weights(config)


def check_dataset(dataset, config, argument: str) -> None:
    """Check that a data set is prepared and has images, and as many classes as the network.

    Args:
        dataset: a `utils.Dataset`.
        config: NUM_CLASSES is read.
        argument: name of the argument, for messages.

    Raises:
        ValueError: one of these does not hold.
    """
    if not hasattr(dataset, "prepare") or not hasattr(dataset, "image_info"):
        raise ValueError(f"{argument} must be a utils.Dataset, got {type(dataset).__name__}")
    if not dataset.image_info:
        raise ValueError(f"{argument} has no images: call add_image for each, then prepare()")
    if len(dataset.image_ids) != len(dataset.image_info):
        raise ValueError(f"{argument} is not prepared: call its prepare() after the last add_class and add_image")
    if dataset.num_classes != config.NUM_CLASSES:
        raise ValueError(
            f"{argument} has {dataset.num_classes} classes including the background, NUM_CLASSES is "
            f"{config.NUM_CLASSES}: they must be equal"
        )


def check_schedule(learning_rate: Any, epochs: Any, done: int) -> None:
    """Check learning rate and number of epochs.

    Args:
        learning_rate: must be above 0.
        epochs: total number of epochs; must be above `done`.
        done: number of completed epochs.

    Raises:
        ValueError: one of these does not hold.
    """
    if not _is_number(learning_rate) or not np.isfinite(learning_rate) or learning_rate <= 0:
        raise ValueError(f"learning_rate must be a positive number, got {learning_rate!r}")
    if not _is_count(epochs, 1):
        raise ValueError(f"epochs must be a whole number of 1 or more, got {epochs!r}")
    if epochs <= done:
        raise ValueError(
            f"epochs is the total number of epochs, including completed ones: {done} are completed, got {epochs}. "
            f"For one more, use epochs={done + 1}"
        )


def _check_masks(config) -> None:
    side = 2 * int(config.MASK_POOL_SIZE)
    _need(config, "MASK_SHAPE", list(config.MASK_SHAPE) == [side, side], f"2 * MASK_POOL_SIZE: [{side}, {side}]")
    shape = tuple(np.ravel(config.MINI_MASK_SHAPE)) if config.USE_MINI_MASK else (1, 1)
    is_shape = len(shape) >= 2 and all(_is_count(value, 1) for value in shape[:2])
    _need(config, "MINI_MASK_SHAPE", is_shape, "height and width in pixels")


def _check_loss_weights(config) -> None:
    known = [name for name in LOSS_NAMES if name != "category_loss"]
    weights = config.LOSS_WEIGHTS
    is_right = isinstance(weights, dict) and all(
        name in known and _is_number(value) and value >= 0 for name, value in weights.items()
    )
    _need(config, "LOSS_WEIGHTS", is_right, f"a dict from {', '.join(known)} to numbers of 0 or more")


def _need(config, name: str, is_valid: bool, expected: str) -> None:
    if not is_valid:
        raise ValueError(f"{type(config).__name__}.{name} must be {expected}, got {getattr(config, name)!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least
