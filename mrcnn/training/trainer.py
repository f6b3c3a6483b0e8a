"""Trains a network: batches, steps, validation, log, checkpoints, weight files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.data import Batch, BatchMaker, BatchSettings, BatchThread, WindowMaker
from mrcnn.training.layer_patterns import layer_pattern, set_trainable
from mrcnn.training.optimizer import build_optimizer
from mrcnn.training.resume import load_checkpoint, save_checkpoint
from mrcnn.training.run_log import append_line, truncate_log
from mrcnn.training.run_settings import TrainSettings
from mrcnn.training.training_model import TrainingModel
from mrcnn.weights.load_save import save_weights

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.npz"
LAST_WEIGHTS_FILE = "last.h5"
BEST_WEIGHTS_FILE = "best.h5"
LOG_FILE = "log.jsonl"

Line = dict[str, Any]
"""A line of the log: "step", then what was measured, by name."""

Report = Callable[[Line], None]


class Validation(Protocol):
    """Measures the network on images that it is not trained on."""

    def measure(self, model: TrainingModel, stopped: Callable[[], bool]) -> Line | None:
        """Numbers by name, "mask_ap50" and "val_loss" among them; None if `stopped` becomes true meanwhile."""


class Trainer:
    """A training run: owns its model, optimizer and folder.

    Attributes:
        step: number of steps done.
        stopped: whether `stop` was called.
        best: the line of the best validation so far, None before the first.
    """

    def __init__(
        self,
        network: MaskRCNNNetwork,
        windows: WindowMaker,
        settings: TrainSettings,
        folder: Path,
        metadata: Mapping[str, object] | None = None,
        validation: Validation | None = None,
    ):
        """Build everything; nothing is written yet.

        Args:
            network: with its initial weights.
            windows: makes the training windows.
            settings: the run.
            folder: where its files go; made if need be.
            metadata: what its weight files carry (see `weights.save_weights`).
            validation: measures the network every `validate_every` steps; None for nothing.

        Raises:
            ValueError: `settings.layers` selects no layer.
        """
        keras.utils.set_random_seed(settings.seed)
        self._network, self._settings, self._folder, self._metadata = network, settings, folder, metadata
        self._validation = validation
        self._state = {"settings": asdict(settings), "augment": asdict(windows.augment)}
        self.step, self.stopped = 0, False
        self._sums: dict[str, float] = {}  # of the losses since the last line of the log
        self._summed = 0
        self.best: Line | None = None
        set_trainable(network, layer_pattern(settings.layers, network.config.BACKBONE))
        categories = len(windows.data.category_names)
        self._model = TrainingModel(
            network, categories if categories >= len(windows.data.class_names) else 0, settings.mask_regions
        )
        sizes = BatchSettings(settings.batch, int(network.config.POST_NMS_ROIS_TRAINING), settings.seed)
        self._batches = BatchMaker(windows, network.config, sizes)
        self._model(self._batches.make(0))  # builds the layers that are built lazily
        self._optimizer = build_optimizer(network, settings)
        # JAX has nothing between XLA and one operation at a time; under TensorFlow XLA compiles for minutes
        self._model.compile(optimizer=self._optimizer, jit_compile=keras.backend.backend() == "jax")
        self._optimizer.build(self._model.trainable_variables)

    @property
    def checkpoint_bytes(self) -> int:
        """Approximate size of a checkpoint and a weight file together."""
        sizes = [int(np.prod(variable.shape)) * 4 for variable in (*self._variables(), *self._network.variables)]
        return sum(sizes)

    def resume(self) -> bool:
        """Resume the run whose checkpoint lies in the folder; False if there is none.

        Raises:
            ValueError: the checkpoint is damaged or of a run with other settings.
        """
        path = self._folder / CHECKPOINT_FILE
        if not path.exists():
            return False
        state = load_checkpoint(path, self._variables(), expected=self._state)
        self.step, self.best = int(state["step"]), state.get("best")
        self._sums, self._summed = dict(state.get("sums", {})), int(state.get("summed", 0))
        truncate_log(self._folder / LOG_FILE, self.step)
        return True

    def take_over(self, earlier: Trainer) -> None:
        """Take the second classifier from an earlier run that trained the same network object."""
        mine, theirs = self._model.category_classifier, earlier._model.category_classifier
        if mine is not None and theirs is not None:
            mine.set_weights(theirs.get_weights())

    def stop(self) -> None:
        """End the run after the current step; may be called from a signal handler or a report."""
        self.stopped = True

    def run(self, report: Report = lambda _: None) -> None:
        """Train to the last step or until `stop`; write log lines, validations and checkpoints.

        On an exception other than those below, writes a last checkpoint and raises it again.

        Args:
            report: called after every step with its line of the log, or with {"step": …} alone, and with the line
                of each validation.

        Raises:
            OSError: a file cannot be written (a full disk); the last checkpoint is whole.
            FloatingPointError: the loss is not finite; the last good checkpoint is kept.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with BatchThread(self._batches, self.step) as batches:
            try:
                self._steps(iter(batches), report)
            except (OSError, FloatingPointError):
                raise
            except BaseException:
                self._save_after_error()
                raise
        self.save()
        if not (self._folder / BEST_WEIGHTS_FILE).exists():  # nothing was validated
            self._save_weights(BEST_WEIGHTS_FILE)

    def save(self) -> None:
        """Write the checkpoint, and the averaged weights for use.

        Raises:
            OSError: the disk is full or the folder is gone; what lay there before is untouched.
        """
        state = self._state | {"step": self.step, "best": self.best, "sums": self._sums, "summed": self._summed}
        save_checkpoint(self._folder / CHECKPOINT_FILE, self._variables(), state)
        self._save_weights(LAST_WEIGHTS_FILE)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Gives the network the moving average of its weights inside the block."""
        variables = self._model.trainable_variables
        own = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        if self._settings.average > 0 and self.step > 0:
            self._optimizer.finalize_variable_values(variables)
            for variable in variables:
                # JAX shares the memory of an assigned array, and a compiled step donates that of its variables
                variable.assign(np.array(keras.ops.convert_to_numpy(variable)))
        try:
            yield
        finally:
            for variable, values in zip(variables, own, strict=True):
                variable.assign(values)

    def _save_weights(self, name: str) -> None:
        with self.averaged_weights():
            save_weights(self._network, self._folder / name, self._metadata)

    def _save_after_error(self) -> None:
        """Save without hiding the error that ended the run."""
        try:
            self.save()
        except OSError as error:
            logger.warning("the last steps could not be saved: %s", error)

    def _steps(self, batches: Iterator[Batch], report: Report) -> None:
        settings = self._settings
        started, first = time.monotonic(), self.step
        while self.step < settings.steps and not self.stopped:
            logs = self._model.train_on_batch(next(batches), return_dict=True)
            self.step += 1
            self._add(logs)
            if self.step % settings.log_every == 0:
                seconds = (time.monotonic() - started) / max(1, self.step - first)
                means = {name: round(value / self._summed, 5) for name, value in self._sums.items()}
                self._sums, self._summed = {}, 0
                self._log({"step": self.step, "seconds_per_step": round(seconds, 4), **means}, report)
                started, first = time.monotonic(), self.step
            else:
                report({"step": self.step})
            is_last = self.step == settings.steps
            if self._validation is not None and (self.step % settings.validate_every == 0 or is_last):
                self._validate(report)
                self.save()  # so that the checkpoint agrees with best.h5
                started, first = time.monotonic(), self.step
            elif self.step % settings.save_every == 0:
                self.save()

    def _add(self, logs) -> None:
        """Add the losses of a step to the means of the log. Keras resets them with each batch."""
        losses = {name: float(value) for name, value in logs.items()}
        if not np.isfinite(losses["loss"]):
            raise FloatingPointError(
                f"the loss is {losses['loss']} after {self.step} steps: try a smaller learning rate"
            )
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in losses.items()}
        self._summed += 1

    def _validate(self, report: Report) -> None:
        with self.averaged_weights():
            numbers = self._validation.measure(self._model, lambda: self.stopped)
            if numbers is not None and _is_better(numbers, self.best):
                save_weights(self._network, self._folder / BEST_WEIGHTS_FILE, self._metadata)
                self.best = {"step": self.step, **numbers}
        if numbers is not None:
            self._log({"step": self.step, **numbers}, report)

    def _log(self, line: Line, report: Report) -> None:
        append_line(self._folder / LOG_FILE, line)
        report(line)

    def _variables(self) -> list:
        classifier = self._model.category_classifier
        own = classifier.variables if classifier is not None else []
        return [*self._network.variables, *own, *self._optimizer.variables]


def _is_better(numbers: Line, best: Line | None) -> bool:
    """By AP50; among equals (all zero at the start) by the loss."""
    return best is None or _rank(numbers) > _rank(best)


def _rank(numbers: Line) -> tuple[float, float]:
    ap50 = numbers.get("mask_ap50")
    return (-1.0 if ap50 is None else float(ap50), -float(numbers["val_loss"]))
