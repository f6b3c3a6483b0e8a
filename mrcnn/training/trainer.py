"""Trains a network: batches, steps, validation, log, checkpoints, weight files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import keras
import numpy as np

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.data import Batch, BatchMaker, WindowMaker, batches_ahead
from mrcnn.training.run_files import append_line, load_checkpoint, save_checkpoint, truncate_log
from mrcnn.training.training_model import TrainingModel, layer_pattern, set_trainable
from mrcnn.training.validation import Validator
from mrcnn.weights.load_save import save_weights

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.npz"
LAST_WEIGHTS_FILE = "last.h5"
BEST_WEIGHTS_FILE = "best.h5"
LOG_FILE = "log.jsonl"

Line = dict[str, Any]
"""A line of the log: "step", then what was measured, by name."""

Report = Callable[[Line], None]

LAST_RATE_SHARE = 0.02
"""Learning rate of the cosine schedule's last step, as a share of its peak."""

DROPS = {"step": (2 / 3, 8 / 9), "constant": ()}
"""Of the schedules that keep their peak: the shares of a run after which the learning rate falls to a tenth. "step" has
those of detectron2's 1x and 3x schedules."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """A training run.

    Attributes:
        steps: optimizer steps in all.
        batch: windows per step.
        accumulate: number of steps whose gradients are averaged into one update of the weights, which equals a batch
            larger by this factor in the memory of one step.
        learning_rate: peak, for the layers behind the backbone.
        schedule: after the warmup, "cosine" falls along a half cosine to `LAST_RATE_SHARE` of the peak, "step" and
            "constant" keep the peak up to their `DROPS`.
        backbone_factor: the backbone's share of it. Adam moves every weight by about the learning rate, however small
            its gradient: with 0.3 the ImageNet features were gone after a few hundred steps.
        warmup_steps: steps of rising learning rate.
        weight_decay: AdamW's.
        average: momentum of the moving average of the weights, per step, 0 … 1; the weight files hold the average.
        layers: which layers are trained: "heads", "3+", "4+", "5+", "all" or a pattern of layer names.
        mask_regions: regions per window whose masks are trained.
        dice_weight, semantic_weight: see `TrainingModel`.
        seed: of all random choices.
        log_every: steps.
        save_every: steps from checkpoint to checkpoint.
        validate_every: steps from validation to validation.
        loss_scaling: for float16: scales the loss up so that no gradient underflows (Micikevicius et al. 2018).

    Raises:
        ValueError: there is no such schedule.
    """

    steps: int = 10000
    batch: int = 4
    accumulate: int = 1
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    backbone_factor: float = 0.05
    warmup_steps: int = 200
    weight_decay: float = 0.05
    average: float = 0.999
    layers: str = "3+"
    mask_regions: int = 16
    dice_weight: float = 0.0
    semantic_weight: float = 0.0
    seed: int = 1
    log_every: int = 50
    save_every: int = 500
    validate_every: int = 500
    loss_scaling: bool = False

    def __post_init__(self) -> None:
        if self.schedule not in ("cosine", *DROPS):
            raise ValueError(f"schedule: expected one of cosine, {', '.join(DROPS)}, got {self.schedule!r}")


class Trainer:
    """A training run: owns its model, optimizer and folder.

    Attributes:
        step: number of steps done.
        stopped: whether `stop` was called.
        best: the line of the best validation so far, None before the first.
        validation_due: whether `stop` cut the last step's validation short; a resumed run begins with it.
    """

    def __init__(
        self,
        network: MaskRCNNNetwork,
        windows: WindowMaker,
        settings: TrainSettings,
        folder: Path,
        metadata: Mapping[str, object] | None = None,
        validation: Validator | None = None,
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
        self._unlogged: list[dict[str, float]] = []  # losses and duration of the steps since the last line of the log
        self.best: Line | None = None
        self.validation_due = False
        set_trainable(network, layer_pattern(settings.layers, network.config.BACKBONE))
        categories = len(windows.data.category_names)
        self._model = TrainingModel(
            network,
            categories if categories >= len(windows.data.class_names) else 0,
            settings.mask_regions,
            settings.dice_weight,
            semantic_weight=settings.semantic_weight,
        )
        self._batches = BatchMaker(windows, network.config, settings.batch, settings.seed)
        self._model(self._batches.make(0))  # builds the layers that are built lazily
        self._optimizer = build_optimizer(network, settings)
        # JAX has nothing between XLA and one operation at a time; under TensorFlow XLA compiles for minutes
        self._model.compile(optimizer=self._optimizer, jit_compile=keras.backend.backend() == "jax")
        self._optimizer.build(self._model.trainable_variables)

    @property
    def checkpoint_bytes(self) -> int:
        """Approximate size of a checkpoint and a weight file together."""
        return sum(int(np.prod(variable.shape)) * 4 for variable in (*self._variables(), *self._network.variables))

    def resume(self) -> bool:
        """Resume the run whose checkpoint lies in the folder; False if there is none.

        Raises:
            ValueError: the checkpoint is damaged or of a run with other settings.
        """
        path = self._folder / CHECKPOINT_FILE
        if not path.exists():
            return False
        state = load_checkpoint(path, self._variables(), expected=self._state)
        self.step, self.best, self._unlogged = int(state["step"]), state["best"], state["unlogged"]
        self.validation_due = bool(state.get("validation_due"))
        truncate_log(self._folder / LOG_FILE, self.step)
        return True

    def take_over(self, earlier: Trainer) -> None:
        """Take the auxiliary classifiers from an earlier run that trained the same network object."""
        theirs = earlier._model.auxiliary_layers
        for name, layer in self._model.auxiliary_layers.items():
            if name in theirs:
                layer.set_weights(theirs[name].get_weights())

    def rehearse(self) -> None:
        """Train one step without counting it: for the time that it takes."""
        self._model.train_on_batch(self._batches.make(0))

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
        with batches_ahead(self._batches.make, self.step) as batches:
            try:
                self._steps(batches, report)
            except (OSError, FloatingPointError):
                raise
            except BaseException:
                try:
                    self.save()
                except OSError as error:  # must not hide the error that ended the run
                    logger.warning("the last steps could not be saved: %s", error)
                raise
        self.save()
        if not (self._folder / BEST_WEIGHTS_FILE).exists():  # nothing was validated
            self._save_weights(BEST_WEIGHTS_FILE)

    def save(self) -> None:
        """Write the checkpoint, and the averaged weights for use.

        Raises:
            OSError: the disk is full or the folder is gone; what lay there before is untouched.
        """
        state = self._state | {"step": self.step, "best": self.best, "unlogged": self._unlogged}
        state["validation_due"] = self.validation_due
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

    def _steps(self, batches: Iterator[Batch], report: Report) -> None:
        settings = self._settings
        if self.validation_due:
            self._validate(report)
        while self.step < settings.steps and not self.stopped:
            started = time.monotonic()
            logs = self._model.train_on_batch(next(batches), return_dict=True)
            self.step += 1
            # Keras resets its means with each batch
            losses = {name: float(value) for name, value in logs.items()}
            if not np.isfinite(losses["loss"]):
                raise FloatingPointError(
                    f"the loss is {losses['loss']} after {self.step} steps: try a smaller learning rate"
                )
            self._unlogged.append({"seconds_per_step": time.monotonic() - started, **losses})
            if self.step % settings.log_every == 0:
                means = {name: round(fmean(one[name] for one in self._unlogged), 5) for name in self._unlogged[0]}
                self._unlogged = []
                self._log({"step": self.step, **means}, report)
            else:
                report({"step": self.step})
            is_due = self.step % settings.validate_every == 0 or self.step == settings.steps
            if self._validation is not None and is_due:
                self._validate(report)
            elif self.step % settings.save_every == 0:
                self.save()

    def _validate(self, report: Report) -> None:
        if self._validation is None:
            return
        self.validation_due = True  # until it is complete
        with self.averaged_weights():
            numbers = self._validation.measure(self._model, lambda: self.stopped)
            if numbers is not None and (self.best is None or _rank(numbers) > _rank(self.best)):
                save_weights(self._network, self._folder / BEST_WEIGHTS_FILE, self._metadata)
                self.best = {"step": self.step, **numbers}
        if numbers is not None:
            self.validation_due = False
            self._log({"step": self.step, **numbers}, report)
        self.save()  # so that the checkpoint agrees with best.h5

    def _log(self, line: Line, report: Report) -> None:
        append_line(self._folder / LOG_FILE, line)
        report(line)

    def _variables(self) -> list:
        own = [variable for layer in self._model.auxiliary_layers.values() for variable in layer.variables]
        return [*self._network.variables, *own, *self._optimizer.variables]


def _rank(numbers: Line) -> tuple[float, float]:
    """Ranks validations by AP50; among equals (all zero at the start) by the loss."""
    ap50 = numbers["mask_ap50"]
    return (-1.0 if ap50 is None else float(ap50), -float(numbers["val_loss"]))


def build_optimizer(network: MaskRCNNNetwork, settings: TrainSettings) -> keras.optimizers.Optimizer:
    """AdamW with a smaller rate for the backbone, gradients clipped to the config's GRADIENT_CLIP_NORM.

    The rate rises linearly from a tenth to its peak, then follows `TrainSettings.schedule`.
    """
    layers = network.layers_by_name()
    backbone = [variable for name in network.backbone_layer_names() for variable in layers[name].trainable_variables]
    optimizer = GroupedAdamW(
        factors={variable.path: settings.backbone_factor for variable in backbone},
        learning_rate=_schedule(settings),
        weight_decay=settings.weight_decay,
        global_clipnorm=float(network.config.GRADIENT_CLIP_NORM),
        use_ema=settings.average > 0,
        ema_momentum=settings.average if settings.average > 0 else 0.99,
        gradient_accumulation_steps=settings.accumulate if settings.accumulate > 1 else None,
    )
    # the normalization is folded into EfficientNet-Lite0's weights, or frozen: decay would change their scale
    optimizer.exclude_from_weight_decay(var_list=backbone, var_names=["bias", "beta", "gamma"])
    return keras.optimizers.LossScaleOptimizer(optimizer) if settings.loss_scaling else optimizer


def _schedule(settings: TrainSettings) -> keras.optimizers.schedules.LearningRateSchedule:
    if settings.schedule != "cosine":
        drops = tuple(round(share * settings.steps) for share in DROPS[settings.schedule])
        return StepDecay(settings.learning_rate, settings.warmup_steps, drops)
    return keras.optimizers.schedules.CosineDecay(
        0.1 * settings.learning_rate,
        max(1, settings.steps - settings.warmup_steps),
        alpha=LAST_RATE_SHARE,
        warmup_target=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
    )


class StepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from a tenth of the peak to the peak, then falls to a tenth at each of `drops`."""

    def __init__(self, peak: float, warmup_steps: int, drops: tuple[int, ...]):
        """Store the peak, and the steps where the warmup ends and the rate falls."""
        self._peak, self._warmup_steps, self._drops = peak, warmup_steps, drops

    def __call__(self, step):
        """The learning rate of a step, counted from 0."""
        step = keras.ops.cast(step, "float32")
        share = keras.ops.minimum(1.0, 0.1 + 0.9 * step / max(1, self._warmup_steps))
        for drop in self._drops:
            share = keras.ops.where(step >= drop, 0.1 * share, share)
        return self._peak * share

    def get_config(self):
        """The arguments, as Keras asks for them."""
        return {"peak": self._peak, "warmup_steps": self._warmup_steps, "drops": self._drops}


class GroupedAdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter 2019) whose learning rate is multiplied by a factor for some variables."""

    def __init__(self, factors: dict[str, float] | None = None, **settings):
        """Store the factors.

        Args:
            factors: variable path to factor, for the variables that `build` gets; 1 where a path is not named.
            settings: those of keras.optimizers.AdamW.
        """
        super().__init__(**settings)
        self._factors = dict(factors or {})
        self._factor_by_index: list[float] = []

    def build(self, variables):
        """Create the optimizer's state and look up each variable's factor."""
        super().build(variables)
        self._factor_by_index = [self._factors.get(variable.path, 1.0) for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        """One variable's step, with its own learning rate."""
        # under TensorFlow `variable` is the backend's own, which has no path
        factor = self._factor_by_index[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)
