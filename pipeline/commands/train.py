"""The command `train`: one training run on annotated images, from the annotations to the weight files."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from mrcnn.coco.annotation_file import AnnotationError
from mrcnn.training.initialization import Initialization, load_initial_weights, plan_initialization
from mrcnn.weights.checkpoint import WeightsError
from mrcnn.weights.coco_names import COCO_NAMES
from mrcnn.weights.metadata import describe
from pipeline.commands.program import Parser, set_up_logging
from pipeline.commands.signals import StopRequest, handled
from pipeline.commands.train_settings import (
    FLAGS,
    WINDOW_SHARE,
    RunSettings,
    can_resume,
    read_run,
    settings_from,
    write_run,
)
from pipeline.console.progress import TrainProgress
from pipeline.errors import InputError, RunError
from pipeline.file_names import user_path
from pipeline.installation import install_command, program_name
from pipeline.segmentation.backend import BackendChoice, prepare_backend
from pipeline.segmentation.comparison import compare
from pipeline.segmentation.machine import Machine
from pipeline.settings.model_settings import Backend, Device
from pipeline.sinks.paths import Inputs, Outputs

DESCRIPTION = """\
Train on your own annotated images (COCO JSON with polygons or masks). The result, OUTPUT/best.h5, carries its settings
and class names: the program needs no more than --weights OUTPUT/best.h5 to use it.
Ctrl-C ends a run early; the same command resumes it.
"""
EPOCHS = 40
TRIAL_S = 20.0
"""How long to time steps in each precision, once they are compiled."""
LEARNING_RATES = {"new": 1e-3, "small": 5e-4, "large": 1e-4}
"""Peaks: for new layers behind an ImageNet backbone, for a trained small network, for a trained ResNet."""

# the scales of the shipped model's first stages: 0.45 to 1.3 of images of 640 pixels, for a network size of 512
FULL: dict[str, Any] = {"smallest_scale": 0.56, "largest_scale": 1.6, "pastes": 2}
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "full": FULL,
    "video": FULL | {"degrade": 0.15},
    "mild": {"smallest_scale": 0.8, "largest_scale": 1.25, "pastes": 0, "color": 0.5},
    "off": {
        "smallest_scale": 1.0,
        "largest_scale": 1.0,
        "pastes": 0,
        "color": 0.0,
        "degrade": 0.0,
        "flip": 0.0,
        "focus": 1.0,
    },
}


def run(argv: Sequence[str]) -> int:
    """Train; return 0, or 130 or 143 after an interruption."""
    parser = Parser(prog=f"{program_name()} train", description=DESCRIPTION, allow_abbrev=False)
    for title, flags in FLAGS.items():
        parser.add_flags(title, flags)
    given = parser.parse_args(argv)
    set_up_logging(given.verbose)
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(f"training needs TensorFlow and Matplotlib: {install_command('train')}")
    output = user_path(given.output, "--output")
    if output.exists() and not output.is_dir():
        raise InputError(f"--output {output}: expected a folder, it is a file")
    settings = settings_from(given, output)
    outputs = Outputs(Inputs.of(settings.files_read()))
    if not (given.resume or can_resume(output)):
        outputs.claim_folder(output, "--output")
    with outputs.reserved(output) as folder:
        training = TrainRun(settings, folder)
        request = StopRequest(training.stop)
        with handled(request.handle, signal.SIGINT, signal.SIGTERM):
            was_stopped = training.run()
    return 128 + (request.signal or signal.SIGINT) if was_stopped else 0


class TrainRun:
    """Plans and executes a training run.

    Args:
        settings: the user's options.
        output: the run's folder; made if need be.
    """

    def __init__(self, settings: RunSettings, output: Path) -> None:
        self._settings = settings
        self._output = output
        self._trainer: Any = None

    def stop(self) -> bool:
        """End after the current step; from a signal handler. Returns False while there is nothing worth saving."""
        if self._trainer is None:
            return False
        self._trainer.stop()
        # A print that interrupts another one, of the progress, raises RuntimeError.
        os.write(2, b"stopping after this step; once more to stop at once\n")
        return True

    def run(self) -> bool:
        """Train; return whether `stop` has ended the run.

        Raises:
            InputError: the data or the weights cannot be used; nothing was written.
            RunError: training failed.
        """
        train, validation = self._data()
        try:
            names = {len(COCO_NAMES): COCO_NAMES}
            settings = self._settings
            weights = Path(settings.weights)
            plan = plan_initialization(weights, train.class_names, settings.size, settings.backbone, names)
        except WeightsError as error:
            raise InputError(str(error)) from None
        print(f"start: {plan.describe()}")
        choice = prepare_backend(Backend(settings.backend), Device(settings.device))
        make_repeatable(choice)
        from mrcnn.training.training_model import keras_policy  # imports Keras, after its backend is chosen

        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the batches' thread must not take the cores from the network
        try:
            precision, why = self._precision(plan, train, choice)
            print(f"Keras on {choice.backend.value}, {choice.device_name}, {precision}{why}")
            with keras_policy(precision):
                return self._train(plan, train, validation, precision)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise RunError(
                f"cannot write to {self._output}{where}: {error.strerror or error}. What was saved last is whole: "
                f"make room and resume with {program_name()} train --resume --output {self._output}"
            ) from None
        except FloatingPointError as error:
            raise RunError(f"{error}; {self._output} keeps what was saved before") from None
        finally:
            cv2.setNumThreads(threads)

    def _data(self) -> tuple[Any, Any]:
        """Read, check and print the data to train and to validate on."""
        from mrcnn.training.annotated_images import EmptyClass, load_coco, split

        settings = self._settings
        try:
            data = load_coco(settings.images, settings.annotations, settings.classes)
            self._print_data("train", settings.annotations, data)
            if settings.val_images is not None and settings.val_annotations is not None:
                classes = list(data.class_names[1:])
                validation = load_coco(settings.val_images, settings.val_annotations, classes, EmptyClass.WARN)
                self._print_data("validate", settings.val_annotations, validation)
                return data, validation
        except AnnotationError as error:
            raise InputError(str(error)) from None
        train, validation = split(data, settings.seed)
        if train is validation:
            print(f"validate: on the {len(train.images)} training images themselves, too few to hold some out")
        else:
            print(
                f"validate: {len(validation.images)} of the images, chosen with seed {settings.seed}, are held out; "
                f"{len(train.images)} are left to train on"
            )
        return train, validation

    def _print_data(self, what: str, path: str, data: Any) -> None:
        objects = sum(one.class_id > 0 for image in data.images for one in image.instances)
        names = ", ".join(data.class_names[1:6]) + (" …" if len(data.class_names) > 6 else "")
        classes = len(data.class_names) - 1
        print(f"{what}: {len(data.images)} images, {objects} objects of {classes} classes ({names}) in {path}")
        for line in data.warnings.lines():
            print(f"  warning: {line}")

    def _precision(self, plan: Initialization, train: Any, choice: BackendChoice) -> tuple[str, str]:
        """Keras' policy, and why: that of the run that is resumed, else the fastest, timed on the first batch."""
        policies = policies_for(self._settings.precision, choice)
        stored = (read_run(self._output) or {}).get("policy") if can_resume(self._output) else None
        if len(policies) == 1 or stored in policies:
            return stored or policies[0], ""
        from mrcnn.network.network import MaskRCNNNetwork
        from mrcnn.training.trainer import Trainer
        from mrcnn.training.training_model import keras_policy

        def rehearsal(policy: str) -> Callable[[], None]:
            try:
                with keras_policy(policy):
                    trainer = Trainer(MaskRCNNNetwork(plan.config), windows, settings, self._output)
                    trainer.rehearse()  # compiles
            except ValueError as error:
                raise InputError(str(error)) from None
            return trainer.rehearse

        windows, settings = self._windows(plan, train), self._train_settings(plan, len(train.images), policies[0])
        sides = {policy: rehearsal(policy) for policy in policies}
        verdict = compare(sides, time.perf_counter() + TRIAL_S)
        times = ", ".join(f"{name} {seconds:.2g} s" for name, seconds in verdict.medians_s.items())
        return verdict.name, f" (a step takes {times})"

    def _windows(self, plan: Initialization, train: Any) -> Any:
        from mrcnn.training.augment import AugmentSettings
        from mrcnn.training.data import ImageCache, WindowMaker

        size = int(plan.config.IMAGE_MAX_DIM)
        # without smaller scales only a window of the whole size contains large objects as a whole
        share = 1.0 if self._settings.augmentation == "off" else WINDOW_SHARE
        window = self._settings.window or max(128, 64 * round(size * share / 64))
        strength = AUGMENTATIONS[self._settings.augmentation]
        augment = AugmentSettings.for_network(plan.config, window=window, **strength)
        return WindowMaker(train, augment, self._settings.seed, ImageCache())

    def _train(self, plan: Initialization, train: Any, validation: Any, policy: str) -> bool:
        from mrcnn.network.network import MaskRCNNNetwork
        from mrcnn.training.trainer import Trainer

        train_settings = self._train_settings(plan, len(train.images), policy)
        steps, batch = train_settings.steps, train_settings.batch
        epochs = steps * batch / len(train.images)
        print(f"{steps} steps of {batch} windows ({epochs:.1f} epochs), layers {train_settings.layers}")
        windows = self._windows(plan, train)
        validator = self._validator(plan, validation, windows)
        network = MaskRCNNNetwork(plan.config)
        try:
            load_initial_weights(network, plan, self._settings.seed)
            metadata = describe(plan.config, train.class_names)
            trainer = Trainer(network, windows, train_settings, self._output, metadata, validator)
            resumed = trainer.resume()
        except (WeightsError, ValueError) as error:
            raise InputError(str(error)) from None
        if resumed:
            print(f"resuming the run in {self._output} at step {trainer.step} of {train_settings.steps}")
        self._prepare_output(trainer, train_settings, policy)
        self._trainer = trainer
        with TrainProgress(trainer.step, train_settings.steps) as progress:
            trainer.run(self._reporter(progress, validator, windows, plan))
        self._finish(trainer, train_settings.steps, len(windows.cache.unreadable))
        return bool(trainer.stopped)

    def _train_settings(self, plan: Initialization, images: int, policy: str) -> Any:
        from mrcnn.training.trainer import TrainSettings

        settings = self._settings
        per_epoch = images / settings.batch
        steps = settings.steps or max(1, math.ceil((settings.epochs or EPOCHS) * per_epoch))
        if not (settings.steps or settings.epochs):
            steps = min(20000, max(500, steps))
        is_small = plan.config.BACKBONE == "efficientnet_lite0"
        rate = LEARNING_RATES["new" if plan.backbone_only else "small" if is_small else "large"]
        return TrainSettings(
            steps=steps,
            batch=settings.batch,
            accumulate=settings.accumulate,
            dice_weight=settings.dice,
            semantic_weight=settings.semantic,
            learning_rate=settings.learning_rate or rate,
            schedule=settings.schedule,
            warmup_steps=min(200, max(1, steps // 10)),
            average=min(0.999, max(0.9, 1 - 10 / steps)),  # over about a tenth of the run
            layers=settings.layers,
            seed=settings.seed,
            log_every=max(1, min(20, steps // 10)),
            save_every=max(10, min(250, steps // 4)),
            validate_every=settings.validate_every or max(25, math.ceil(steps / 15)),
            loss_scaling=policy == "mixed_float16",
        )

    def _validator(self, plan: Initialization, data: Any, training: Any) -> Any:
        """Measures on windows of `data` without augmentation; `training` makes the training's windows."""
        from mrcnn.training.data import BatchMaker, WindowMaker
        from mrcnn.training.validation import Validator

        settings = self._settings
        augment = replace(training.augment, **AUGMENTATIONS["off"])
        windows = WindowMaker(data, augment, settings.seed, training.cache)
        validator = Validator(plan.config, BatchMaker(windows, plan.config, settings.batch, settings.seed))
        if validator.image_count < len(data.images):
            print(f"AP50 is measured on {validator.image_count} of the {len(data.images)} validation images")
        return validator

    def _prepare_output(self, trainer: Any, train_settings: Any, policy: str) -> None:
        """Create the folder and write the run's description into it.

        Raises:
            OSError: it cannot be written.
            RunError: there is too little room.
        """
        self._output.mkdir(parents=True, exist_ok=True)
        # the old checkpoint stays until the new one is complete; a tenth more for the rest
        needed = int(1.1 * 2 * trainer.checkpoint_bytes)
        free = shutil.disk_usage(self._output).free
        if free < needed:
            raise RunError(
                f"--output {self._output}: the run needs {needed / 1e6:.0f} MB of disk, {free / 1e6:.0f} MB are free"
            )
        if trainer.step == 0:
            (self._output / "log.jsonl").unlink(missing_ok=True)
            (self._output / "best.h5").unlink(missing_ok=True)
        facts = {"steps": train_settings.steps, "learning_rate": train_settings.learning_rate, "policy": policy}
        write_run(self._output, self._settings, facts)

    def _reporter(self, progress: TrainProgress, validator: Any, windows: Any, plan: Initialization) -> Any:
        from mrcnn.training.run_files import CURVES_FILE, PREDICTIONS_FILE, draw_curves, draw_predictions, read_log

        def report(line: dict[str, Any]) -> None:
            progress.report(line)
            if "val_loss" in line:
                draw_curves(self._output / CURVES_FILE, read_log(self._output / "log.jsonl"))
                score = float(plan.config.DETECTION_MIN_CONFIDENCE or 0.5)
                path = self._output / PREDICTIONS_FILE
                draw_predictions(path, validator.shown, plan.class_names, windows.cache, score)

        return report

    def _finish(self, trainer: Any, steps: int, unreadable: int) -> None:
        from mrcnn.training.run_files import write_compact

        if self._settings.float16:
            for name in ("best.h5", "last.h5"):
                write_compact(self._output / name, self._output / name)
        if unreadable:
            print(f"warning: {unreadable} images could no longer be read and were left out")
        best = trainer.best
        if best is not None and best.get("mask_ap50") is not None:
            print(f"best validation: mask AP50 {best['mask_ap50']:.3f} at step {best['step']}")
        print(f"weights: {self._output / 'best.h5'} (best), {self._output / 'last.h5'} (last)")
        if trainer.stopped and (trainer.step < steps or trainer.validation_due):
            command = f"{program_name()} train --resume --output {self._output}"
            print(f"stopped after step {trainer.step} of {steps}; resume with: {command}")
        else:
            print(f"try it: {program_name()} --weights {self._output / 'best.h5'}")


def policies_for(wanted: str, choice: BackendChoice, machine: Machine | None = None) -> list[str]:
    """The names of Keras' policies to choose from by their speed, the most exact first.

    Args:
        wanted: "auto" (mixed where it is faster), "float32" or "mixed".
        choice: what Keras runs on.
        machine: None for this one.
    """
    if wanted == "float32":
        return ["float32"]
    if choice.device is Device.GPU:
        # NVIDIA's Ampere, 8.0, is the first with convolutions in bfloat16; float16 needs loss scaling
        return ["mixed_bfloat16" if (gpu_capability(choice.backend) or (0, 0)) >= (8, 0) else "mixed_float16"]
    if wanted == "mixed":
        return ["mixed_bfloat16"]
    # without the instructions bfloat16 is emulated and slower; XLA for CPUs, which JAX uses, is not faster with it
    may_be_faster = choice.backend is Backend.TENSORFLOW and (machine or Machine()).has_bfloat16()
    return ["float32", "mixed_bfloat16"] if may_be_faster else ["float32"]


def gpu_capability(backend: Backend) -> tuple[int, int] | None:
    """NVIDIA's compute capability of the first GPU; None if the backend reports none."""
    if backend is Backend.TENSORFLOW:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        found = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability") if gpus else None
    elif backend is Backend.JAX:
        import jax

        text = str(getattr(jax.devices()[0], "compute_capability", ""))
        found = tuple(int(part) for part in text.split(".")) if "." in text else None
    else:
        import torch

        found = torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    return (int(found[0]), int(found[1])) if found else None


def make_repeatable(choice: BackendChoice) -> None:
    """Make a run that is repeated or resumed on this machine deterministic.

    Only on CPUs: for GPUs, TensorFlow has no deterministic gradient of its cropping op. JAX is deterministic as it is.
    """
    if choice.backend is Backend.TENSORFLOW and choice.device is Device.CPU:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
