"""The training loop of `MaskRCNN.train`, with its checks: epochs of a data set, Keras callbacks, a weight file each."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from mrcnn.matterport.dataset_batches import DatasetBatches
from mrcnn.training.data import BatchThread
from mrcnn.training.training_model import LOSS_NAMES, TrainingModel
from mrcnn.weights.load_save import load_weights, save_weights
from mrcnn.weights.metadata import describe

LOG_FILE = "log.jsonl"
"""File in the run's folder with one line of losses per epoch."""

VALIDATION_SEED = 1
"""Every epoch is validated on the same images with the same samples, so that losses are comparable."""


@dataclass(frozen=True, slots=True)
class Run:
    """Arguments of one call of `train`.

    Attributes:
        learning_rate: of the optimizer, above 0.
        first_epoch: number of completed epochs.
        epochs: total number of epochs, including completed ones.
        folder: folder for the run's files; created if missing.
        checkpoint_path: path template of the weight files with {epoch:04d}.
        augmentation: see `dataset.augmented`; None for none.
        no_augmentation_sources: names of sources whose images are not augmented.
        callbacks: the user's Keras callbacks.
    """

    learning_rate: float
    first_epoch: int
    epochs: int
    folder: str
    checkpoint_path: str
    augmentation: Any = None
    no_augmentation_sources: Sequence[str] | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()


class DatasetModel(TrainingModel):
    """A TrainingModel that saves and loads weights in Matterport's layout, for callbacks.

    Attributes:
        metadata: metadata stored in its weight files, see `mrcnn.weights.metadata.describe`; None stores nothing.
    """

    metadata: dict[str, Any] | None = None

    def save_weights(self, filepath, overwrite=True):
        """Write the network's weights; see `mrcnn.weights.load_save.save_weights`."""
        if not overwrite and os.path.exists(filepath):
            raise FileExistsError(f"{filepath} exists already, and overwrite is False")
        save_weights(self.network, filepath, self.metadata)

    def load_weights(self, filepath, **_ignored):
        """Read the network's weights; see `mrcnn.weights.load_save.load_weights`."""
        load_weights(self.network, filepath)


def make_model(network, learning_rate: float, momentum: float) -> DatasetModel:
    """Compile the network with its losses and a new optimizer for the currently trainable layers.

    The optimizer is SGD with momentum; gradients are clipped to a global norm of GRADIENT_CLIP_NORM.
    """
    config = network.config
    objects = round(int(config.TRAIN_ROIS_PER_IMAGE) * float(config.ROI_POSITIVE_RATIO))
    model = DatasetModel(network, categories=0, mask_regions=objects, weight_decay=float(config.WEIGHT_DECAY))
    clip_norm = config.GRADIENT_CLIP_NORM
    optimizer = keras.optimizers.SGD(learning_rate, momentum=momentum, global_clipnorm=clip_norm or None)
    model.compile(optimizer=optimizer, jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")
    return model


def run_metadata(config, dataset) -> dict[str, Any] | None:
    """Metadata for the weight files of a run; None if the network cannot be described (BACKBONE is a function)."""
    return None if callable(config.BACKBONE) else describe(config, dataset.class_names)


def run_epochs(model: DatasetModel, train_dataset, val_dataset, run: Run) -> keras.callbacks.History:
    """Train from `run.first_epoch` to `run.epochs`.

    Args:
        model: compiled, see `make_model`.
        train_dataset: a prepared `utils.Dataset`.
        val_dataset: a prepared `utils.Dataset` for the val_… losses; unused if VALIDATION_STEPS is 0.
        run: all other arguments.

    Returns:
        The losses by epoch, as keras.Model.fit returns them.

    Raises:
        FloatingPointError: a loss is NaN or infinite.
        OSError: a weight file or the log cannot be written; older files are untouched.
        ValueError: an image or its masks are invalid.
    """
    config = model.network.config
    os.makedirs(run.folder, exist_ok=True)
    callbacks = keras.callbacks.CallbackList(
        [*run.callbacks, *_own_callbacks(run)],
        add_history=True,
        add_progbar=_wants_progress_bar(),
        model=model,
        verbose=1,
        epochs=run.epochs,
        steps=int(config.STEPS_PER_EPOCH),
    )
    seed = int(np.random.randint(2**31))  # noqa: NPY002  keras.utils.set_random_seed makes a run repeatable
    batches = DatasetBatches(train_dataset, config, run.augmentation, run.no_augmentation_sources, seed)
    model.stop_training = False
    callbacks.on_train_begin()
    logs: dict[str, float] = {}
    with BatchThread(batches, first_step=0) as thread:
        ready = iter(thread)
        for epoch in range(run.first_epoch, run.epochs):
            callbacks.on_epoch_begin(epoch)
            logs = _train_epoch(model, ready, callbacks, epoch)
            logs.update(_validate(model, val_dataset))
            callbacks.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    callbacks.on_train_end(logs)
    return model.history


def _train_epoch(model, batches, callbacks, epoch: int) -> dict[str, float]:
    model.reset_metrics()
    logs: dict[str, float] = {}
    for step in range(int(model.network.config.STEPS_PER_EPOCH)):
        callbacks.on_train_batch_begin(step)
        logs = _plain(model.train_on_batch(next(batches), return_dict=True))
        if not np.isfinite(logs["loss"]):
            raise FloatingPointError(
                f"the loss is {logs['loss']} at step {step + 1} of epoch {epoch + 1}: try a smaller learning rate"
            )
        callbacks.on_train_batch_end(step, logs)
        if model.stop_training:
            break
    return logs


def _validate(model, dataset) -> dict[str, float]:
    """The losses on the first VALIDATION_STEPS batches, by name with the prefix val_."""
    config = model.network.config
    steps = int(config.VALIDATION_STEPS)
    if steps == 0:
        return {}
    model.reset_metrics()
    logs: dict[str, float] = {}
    with BatchThread(DatasetBatches(dataset, config, seed=VALIDATION_SEED), first_step=0) as thread:
        ready = iter(thread)
        for _ in range(steps):
            logs = _plain(model.test_on_batch(next(ready), return_dict=True))
    return {f"val_{name}": value for name, value in logs.items()}


def _plain(logs) -> dict[str, float]:
    """Matterport's five losses and their sum, without the loss of the auxiliary classifier, which is not trained."""
    return {name: float(value) for name, value in logs.items() if name != "category_loss"}


def _wants_progress_bar() -> bool:
    """A progress bar redraws itself in a terminal or a notebook; a log file would get one line per step."""
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def _own_callbacks(run: Run) -> list[keras.callbacks.Callback]:
    own: list[keras.callbacks.Callback] = [_SaveWeights(run.checkpoint_path), _LogEpochs(run)]
    if importlib.util.find_spec("tensorboard") and importlib.util.find_spec("tensorflow"):
        own.append(keras.callbacks.TensorBoard(run.folder, write_graph=False))
    return own


class _SaveWeights(keras.callbacks.Callback):
    """Writes a weight file after each epoch; epochs count from 1 in its name."""

    def __init__(self, path: str):
        super().__init__()
        self._path = path

    def on_epoch_end(self, epoch, logs=None):
        path = self._path.format(epoch=epoch + 1)
        try:
            self.model.save_weights(path)
        except (OSError, RuntimeError) as error:  # h5py raises either on a full disk
            raise OSError(
                f"cannot write the weights of epoch {epoch + 1} to {path}: {error}. Earlier files are untouched"
            ) from error


class _LogEpochs(keras.callbacks.Callback):
    """Appends the losses of each epoch to `LOG_FILE`, and prints them if there is no progress bar."""

    def __init__(self, run: Run):
        super().__init__()
        self._run = run

    def on_epoch_end(self, epoch, logs=None):
        line = {"epoch": epoch + 1, "learning_rate": self._run.learning_rate}
        line.update({name: round(value, 6) for name, value in (logs or {}).items()})
        with open(os.path.join(self._run.folder, LOG_FILE), "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if not _wants_progress_bar():
            losses = ", ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items() if "loss" in name)
            print(f"Epoch {epoch + 1}/{self._run.epochs}: {losses}", flush=True)


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
