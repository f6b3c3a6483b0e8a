"""One training run: batches, steps, log, checkpoints, weight files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights import save_weights

from .augment import AugmentSettings
from .checkpoint import load_checkpoint, save_checkpoint
from .coco import AnnotatedImages
from .data import BatchMaker, BatchSettings, BatchThread, WindowMaker
from .model import TrainingModel
from .optimizer import GroupedAdamW, WarmupCosine

CHECKPOINT_FILE = "checkpoint.npz"
LAST_WEIGHTS_FILE = "last.h5"
LOG_FILE = "log.jsonl"

LAST_LAYER_DEVIATIONS = {
    "rpn_class_raw": 0.01,
    "rpn_bbox_pred": 0.01,
    "mrcnn_class_logits": 0.01,
    "mrcnn_bbox_fc": 0.001,
}
LATERAL_LAYERS = ("fpn_c5p5", "fpn_c4p4", "fpn_c3p3", "fpn_c2p2")
LITE0_LATERAL_SCALE = 0.15


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """A training run.

    Attributes:
        steps: optimizer steps in all.
        batch: windows per step.
        learning_rate: peak, for the layers that start from random weights.
        backbone_factor: the backbone's share of it. Adam moves every weight by about the learning rate, however small
            its gradient: with 0.3 the ImageNet features were gone after a few hundred steps.
        warmup_steps: steps of rising learning rate.
        weight_decay: AdamW's.
        average: momentum of the moving average of the weights, 0 … 1; the average is what is saved for use.
        frozen_blocks: the stem and so many first blocks of the backbone keep their ImageNet weights.
        mask_regions: regions per window whose masks are trained.
        seed: of everything that is left to chance.
        log_every: steps.
        save_every: steps from checkpoint to checkpoint.
    """

    steps: int = 10000
    batch: int = 4
    learning_rate: float = 1e-3
    backbone_factor: float = 0.05
    warmup_steps: int = 200
    weight_decay: float = 0.05
    average: float = 0.999
    frozen_blocks: int = 3
    mask_regions: int = 16
    seed: int = 1
    log_every: int = 50
    save_every: int = 500


class Trainer:
    """Owns the model, the optimizer and the folder of a run.

    Attributes:
        step: how many steps are done.
    """

    def __init__(
        self,
        network: MaskRCNNNetwork,
        data: AnnotatedImages,
        augment: AugmentSettings,
        settings: TrainSettings,
        folder: Path,
        metadata: dict[str, Any] | None = None,
    ):
        """Build everything; nothing is written yet.

        Args:
            network: with the weights to start from.
            data: the annotated images.
            augment: how windows are made.
            settings: the run.
            folder: where its files go; made if need be.
            metadata: what its weight files carry (see `weights.save_weights`).
        """
        keras.utils.set_random_seed(settings.seed)
        self._network, self._settings, self._folder, self._metadata = network, settings, folder, metadata
        self._state = {"settings": asdict(settings), "augment": asdict(augment)}
        self.step = 0
        _freeze(network, settings.frozen_blocks)
        categories = len(data.category_names) if len(data.category_names) >= len(data.class_names) else 0
        self._model = TrainingModel(network, categories, settings.mask_regions)
        maker = WindowMaker(data, augment, settings.seed)
        sizes = BatchSettings(settings.batch, int(network.config.POST_NMS_ROIS_TRAINING), settings.seed)
        self._batches = BatchMaker(maker, network.config, augment, sizes)
        self._model(self._batches.make(0))  # builds what is built lazily
        self._optimizer = _optimizer(network, settings, float(network.config.GRADIENT_CLIP_NORM))
        self._model.compile(optimizer=self._optimizer, jit_compile=False)
        self._optimizer.build(self._model.trainable_variables)

    def resume(self) -> bool:
        """Take up the run whose checkpoint lies in the folder; False if there is none.

        Raises:
            ValueError: the checkpoint is damaged or of a run with other settings.
        """
        path = self._folder / CHECKPOINT_FILE
        if not path.exists():
            return False
        self.step = int(load_checkpoint(path, self._variables())["step"])
        return True

    def take_over(self, earlier: Trainer) -> None:
        """Start with the second classifier of an earlier run that trained the same network object."""
        mine, theirs = self._model.category_classifier, earlier._model.category_classifier
        if mine is not None and theirs is not None:
            mine.set_weights(theirs.get_weights())

    def run(self, report: Callable[[dict[str, float]], None] = lambda _: None) -> None:
        """Train to the last step, with log lines and checkpoints on the way.

        An exception or Ctrl-C ends the run after a last checkpoint, and is raised again.

        Args:
            report: called with each log line.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with BatchThread(self._batches, self.step) as batches:
            try:
                self._steps(iter(batches), report)
            finally:
                self.save()

    def save(self) -> None:
        """Write the checkpoint, and the averaged weights for use."""
        save_checkpoint(self._folder / CHECKPOINT_FILE, self._variables(), self._state | {"step": self.step})
        with self.averaged_weights():
            save_weights(self._network, self._folder / LAST_WEIGHTS_FILE, self._metadata)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside, the network has the moving average of its weights."""
        variables = self._model.trainable_variables
        own = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
        if self._settings.average > 0 and self.step > 0:
            self._optimizer.finalize_variable_values(variables)
        try:
            yield
        finally:
            for variable, values in zip(variables, own, strict=True):
                variable.assign(values)

    def _steps(self, batches, report) -> None:
        started, first = time.monotonic(), self.step
        while self.step < self._settings.steps:
            logs = self._model.train_on_batch(next(batches), return_dict=True)
            self.step += 1
            if self.step % self._settings.log_every == 0:
                line = {name: round(float(value), 5) for name, value in logs.items()}
                if not np.isfinite(line["loss"]):
                    raise FloatingPointError(
                        f"the loss is {line['loss']} after {self.step} steps: try a smaller learning rate"
                    )
                seconds = (time.monotonic() - started) / (self.step - first)
                self._log({"step": self.step, "seconds_per_step": round(seconds, 4), **line}, report)
                self._model.reset_metrics()
            if self.step % self._settings.save_every == 0:
                self.save()

    def _log(self, line, report) -> None:
        with (self._folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        report(line)

    def _variables(self) -> list:
        classifier = self._model.category_classifier
        own = classifier.variables if classifier is not None else []
        return [*self._network.variables, *own, *self._optimizer.variables]


def prepare_new_layers(network: MaskRCNNNetwork, seed: int) -> None:
    """Gives the layers behind an ImageNet backbone a start in which no loss dwarfs the others.

    The last layers of the heads begin near zero (Ren et al. 2015, section 3.1.3: a standard deviation of 0.01), and an
    EfficientNet-Lite0's stages, which end without normalisation at a standard deviation of 5 to 10, are brought to
    about 1 where they enter the pyramid.
    """
    rng = np.random.default_rng(seed)
    layers = network.layers_by_name()
    for name, deviation in LAST_LAYER_DEVIATIONS.items():
        kernel, bias = layers[name].get_weights()
        layers[name].set_weights([rng.normal(0, deviation, kernel.shape), bias])
    if network.config.BACKBONE == "efficientnet_lite0":
        for name in LATERAL_LAYERS:
            kernel, bias = layers[name].get_weights()
            layers[name].set_weights([kernel * LITE0_LATERAL_SCALE, bias])


def _freeze(network: MaskRCNNNetwork, blocks: int) -> None:
    """The stem and the first blocks of an EfficientNet-Lite0 are not trained."""
    frozen = tuple(f"lite0_block{index}_" for index in range(blocks)) + (("lite0_stem",) if blocks else ())
    for name, layer in network.layers_by_name().items():
        if name.startswith(frozen):
            layer.trainable = False


def _optimizer(network: MaskRCNNNetwork, settings: TrainSettings, clip_norm: float) -> GroupedAdamW:
    layers = network.layers_by_name()
    backbone = [variable for name in network.backbone_layer_names() for variable in layers[name].trainable_variables]
    optimizer = GroupedAdamW(
        factors={variable.path: settings.backbone_factor for variable in backbone},
        learning_rate=WarmupCosine(settings.learning_rate, settings.warmup_steps, settings.steps),
        weight_decay=settings.weight_decay,
        global_clipnorm=clip_norm,
        use_ema=settings.average > 0,
        ema_momentum=settings.average if settings.average > 0 else 0.99,
    )
    # the backbone's normalisation is folded into its weights: they have the scale that they need
    optimizer.exclude_from_weight_decay(var_list=backbone, var_names=["bias", "beta", "gamma"])
    return optimizer
