"""The training loop of `MaskRCNN.train`, with its checks: epochs of a data set, Keras callbacks, a weight file each."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mrcnn.config import Requirement, check, is_count, is_number
from mrcnn.matterport.dataset_batches import DatasetBatches
from mrcnn.matterport.keras_model import SavesForMatterport
from mrcnn.training.data import batches_ahead
from mrcnn.training.run_files import append_line
from mrcnn.training.training_model import MATTERPORT_LOSSES, TrainingModel
from mrcnn.weights.metadata import describe

LOG_FILE = "log.jsonl"
"""File in the run's folder with one line of losses per epoch."""

VALIDATION_SEED = 1
"""Every epoch is validated on the same images with the same samples, so that losses are comparable."""


class DatasetModel(SavesForMatterport, TrainingModel):
    """A TrainingModel that saves and loads weights in Matterport's layout, for callbacks."""


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


def run_epochs(
    model: DatasetModel,
    batches: DatasetBatches,
    val_dataset,
    callbacks: Sequence[keras.callbacks.Callback],
    epochs: range,
) -> keras.callbacks.History:
    """Train and validate.

    Args:
        model: compiled, see `make_model`.
        batches: makes the batches; STEPS_PER_EPOCH are an epoch.
        val_dataset: a prepared `utils.Dataset` for the val_… losses; unused if VALIDATION_STEPS is 0.
        callbacks: Keras callbacks.
        epochs: from the number of completed epochs to the total number, including those.

    Returns:
        The losses by epoch, as keras.Model.fit returns them.

    Raises:
        FloatingPointError: a loss is NaN or infinite.
        OSError: a weight file or the log cannot be written; older files are untouched.
        ValueError: an image or its masks are invalid.
    """
    told = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=_wants_progress_bar(),
        model=model,
        verbose=1,
        epochs=epochs.stop,
        steps=int(model.network.config.STEPS_PER_EPOCH),
    )
    model.stop_training = False
    told.on_train_begin()
    logs: dict[str, float] = {}
    with batches_ahead(batches.make, first_step=0) as ready:
        for epoch in epochs:
            told.on_epoch_begin(epoch)
            logs = _train_epoch(model, ready, told, epoch) | _validate(model, val_dataset)
            told.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    told.on_train_end(logs)
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
    model.reset_metrics()
    logs: dict[str, float] = {}
    if config.VALIDATION_STEPS:
        with batches_ahead(DatasetBatches(dataset, config, seed=VALIDATION_SEED).make, first_step=0) as ready:
            for _ in range(int(config.VALIDATION_STEPS)):
                logs = _plain(model.test_on_batch(next(ready), return_dict=True))
    return {f"val_{name}": value for name, value in logs.items()}


def _plain(logs) -> dict[str, float]:
    """Matterport's five losses and their sum, without those of the auxiliary classifiers, which are not trained."""
    return {name: float(value) for name, value in logs.items() if name in ("loss", *MATTERPORT_LOSSES)}


def _wants_progress_bar() -> bool:
    """A progress bar redraws itself in a terminal or a notebook; a log file would get one line per step."""
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def file_callbacks(folder: str, checkpoint_path: str) -> list[keras.callbacks.Callback]:
    """Callbacks that write a weight file and a line of the log after each epoch, and TensorBoard's files.

    Args:
        folder: folder for the run's files; created if missing.
        checkpoint_path: path template of the weight files with {epoch:04d}.
    """
    os.makedirs(folder, exist_ok=True)
    callbacks: list[keras.callbacks.Callback] = [_WriteEpochs(folder, checkpoint_path)]
    if importlib.util.find_spec("tensorboard") and importlib.util.find_spec("tensorflow"):
        callbacks.append(keras.callbacks.TensorBoard(folder, write_graph=False))
    return callbacks


class _WriteEpochs(keras.callbacks.Callback):
    """Writes a weight file after each epoch and its losses to `LOG_FILE`; prints them if there is no progress bar.

    In file names and in the log, epochs count from 1.
    """

    def __init__(self, folder: str, checkpoint_path: str):
        super().__init__()
        self._log_path, self._checkpoint_path = os.path.join(folder, LOG_FILE), checkpoint_path

    def on_epoch_end(self, epoch, logs=None):
        path = self._checkpoint_path.format(epoch=epoch + 1)
        try:
            self.model.save_weights(path)
        except (OSError, RuntimeError) as error:  # h5py raises either on a full disk
            raise OSError(
                f"cannot write the weights of epoch {epoch + 1} to {path}: {error}. Earlier files are untouched"
            ) from error
        logs = logs or {}
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        rounded = {name: round(value, 6) for name, value in logs.items()}
        append_line(Path(self._log_path), {"epoch": epoch + 1, "learning_rate": rate, **rounded})
        if not _wants_progress_bar():
            losses = ", ".join(f"{name} {value:.4f}" for name, value in logs.items() if "loss" in name)
            print(f"Epoch {epoch + 1}/{self.params['epochs']}: {losses}", flush=True)


def check_config(config) -> None:
    """Check the settings that only training reads.

    Raises:
        ValueError: a setting is invalid; the message is one line that names it.
    """
    check(config, _requirements(config))


def _requirements(config) -> Iterator[Requirement]:
    for name in (
        "STEPS_PER_EPOCH", "RPN_TRAIN_ANCHORS_PER_IMAGE", "POST_NMS_ROIS_TRAINING", "TRAIN_ROIS_PER_IMAGE",
        "MAX_GT_INSTANCES",
    ):  # fmt: skip
        yield name, is_count(getattr(config, name)), "a whole number of 1 or more"
    yield "VALIDATION_STEPS", is_count(config.VALIDATION_STEPS, 0), "a whole number of 0 or more"
    is_name = isinstance(config.NAME, str) and config.NAME != ""
    yield "NAME", is_name, "a non-empty string: log folders begin with it"
    ratio, momentum, clip_norm = config.ROI_POSITIVE_RATIO, config.LEARNING_MOMENTUM, config.GRADIENT_CLIP_NORM
    yield "ROI_POSITIVE_RATIO", is_number(ratio) and 0 < ratio < 1, "a number between 0 and 1"
    yield "LEARNING_MOMENTUM", is_number(momentum) and 0 <= momentum < 1, "a number from 0 to below 1"
    yield "WEIGHT_DECAY", is_number(config.WEIGHT_DECAY) and config.WEIGHT_DECAY >= 0, "0 or a positive number"
    clips = clip_norm is None or (is_number(clip_norm) and clip_norm > 0)
    yield "GRADIENT_CLIP_NORM", clips, "a positive number, or None for no clipping"
    yield "TRAIN_BN", config.TRAIN_BN in (None, True, False), "True, False or None"
    side = 2 * int(config.MASK_POOL_SIZE)
    yield "MASK_SHAPE", list(config.MASK_SHAPE) == [side, side], f"2 * MASK_POOL_SIZE: [{side}, {side}]"
    shape = tuple(np.ravel(config.MINI_MASK_SHAPE)) if config.USE_MINI_MASK else (1, 1)
    yield "MINI_MASK_SHAPE", len(shape) >= 2 and all(map(is_count, shape[:2])), "height and width in pixels"
    weights, known = config.LOSS_WEIGHTS, MATTERPORT_LOSSES
    are_right = isinstance(weights, dict) and all(
        name in known and is_number(value) and value >= 0 for name, value in weights.items()
    )
    yield "LOSS_WEIGHTS", are_right, f"a dict from {', '.join(known)} to numbers of 0 or more"


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
    if not is_number(learning_rate) or not np.isfinite(learning_rate) or learning_rate <= 0:
        raise ValueError(f"learning_rate must be a positive number, got {learning_rate!r}")
    if not is_count(epochs):
        raise ValueError(f"epochs must be a whole number of 1 or more, got {epochs!r}")
    if epochs <= done:
        raise ValueError(
            f"epochs is the total number of epochs, including completed ones: {done} are completed, got {epochs}. "
            f"For one more, use epochs={done + 1}"
        )
