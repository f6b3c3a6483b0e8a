"""Trains the shipped person model (weights/stream_segment_person.h5): the recipe behind its card, in two stages.

    python tools/convert_efficientnet_lite0.py --photo PHOTO.jpg --output efficientnet_lite0_imagenet.h5
    python tools/train_person.py --images DIR --annotations instances.json \\
        --backbone efficientnet_lite0_imagenet.h5 --output OUTPUT_DIR

Takes about an hour on two otherwise idle cores. A run that was stopped goes on where its last checkpoint lies when the
same command is given again. Ctrl-C writes a checkpoint first. OUTPUT_DIR/person.h5 is the result.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import cv2
import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SEED_NEW_LAYERS = 0
STAGE_TWO_STEPS = 4700
MASK_LOGIT_SHIFT = 0.619
"""Added to the masks' bias at the end: what the network gives 0.35 becomes 0.5, where masks are cut.

Masks cut at 0.35 fit the validation photographs best (AP50 0.36 against 0.34 at 0.5, after 2400 steps).
"""
STAGE_ONE_STOP = 400
"""Stage one is planned for 800 steps and stopped here, before its learning rate gets small."""


def main() -> int:
    """Train both stages, write person.h5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--annotations", type=Path, required=True, help="COCO instances file")
    parser.add_argument("--backbone", type=Path, required=True, help="what convert_efficientnet_lite0.py wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    cv2.setNumThreads(1)  # the batches' thread must not take the cores from the network
    import keras

    from mrcnn.network.network import MaskRCNNNetwork
    from mrcnn.training.augment import AugmentSettings
    from mrcnn.training.coco import load_coco
    from mrcnn.training.trainer import CHECKPOINT_FILE, LAST_WEIGHTS_FILE, Trainer, TrainSettings, prepare_new_layers
    from mrcnn.weights import load_weights

    # bfloat16 in the convolutions halves the time of a step on a CPU that knows it; weights and losses stay float32
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    data = load_coco(arguments.images, arguments.annotations, ["person"])
    augment = AugmentSettings(window=320, smallest_scale=0.45, largest_scale=1.3, pastes=2)
    network = MaskRCNNNetwork(person_config())
    load_weights(network, arguments.backbone, backbone_only=True)
    prepare_new_layers(network, SEED_NEW_LAYERS)
    _freeze_depthwise(network)

    common = {"batch": 4, "learning_rate": 1e-3, "mask_regions": 16, "warmup_steps": 50}
    first_settings = TrainSettings(steps=800, seed=3, frozen_blocks=16, average=0.99, save_every=100, **common)
    second_settings = TrainSettings(
        steps=STAGE_TWO_STEPS, seed=4, frozen_blocks=6, average=0.998, save_every=200, backbone_factor=0.05, **common
    )
    first = Trainer(network, data, augment, first_settings, arguments.output / "stage1")
    first.resume()
    try:
        if first.step < STAGE_ONE_STOP:
            first.run(_report_until(STAGE_ONE_STOP))
    except _StageDone:
        pass
    _thaw(network)
    _freeze_depthwise(network)
    second = Trainer(network, data, augment, second_settings, arguments.output / "stage2")
    second.take_over(first)
    if (arguments.output / "stage2" / CHECKPOINT_FILE).exists():
        second.resume()
    second.run(_report_until(None))
    finish(arguments.output / "stage2" / LAST_WEIGHTS_FILE, arguments.output / "person.h5")
    print(f"{arguments.output / 'person.h5'} is written")
    return 0


def person_config():
    """The network of the shipped model: narrow everywhere, so that two cores keep up with a camera."""
    from mrcnn.config import Config

    class PersonConfig(Config):
        NAME = "person"
        BACKBONE = "efficientnet_lite0"
        NUM_CLASSES = 2
        TOP_DOWN_PYRAMID_SIZE = 64
        RPN_CHANNELS = 64
        MASK_HEAD_CHANNELS = 64
        FPN_CLASSIF_FC_LAYERS_SIZE = 256
        MEAN_PIXEL = np.array([127.0, 127.0, 127.0])
        RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
        IMAGE_MAX_DIM = 512
        IMAGE_MIN_DIM = 320
        PRE_NMS_LIMIT = 1000
        POST_NMS_ROIS_TRAINING = 150
        POST_NMS_ROIS_INFERENCE = 100
        TRAIN_ROIS_PER_IMAGE = 96
        ROI_POSITIVE_RATIO = 1 / 3
        LOSS_WEIGHTS = {**Config.LOSS_WEIGHTS, "mrcnn_mask_loss": 1.5}  # noqa: RUF012
        DETECTION_IGNORE_BACKGROUND = True
        DETECTION_MIN_CONFIDENCE = 0.6
        DETECTION_NMS_THRESHOLD = 0.4
        DETECTION_MAX_INSTANCES = 50

    return PersonConfig()


def finish(source: Path, target: Path) -> None:
    """Copy a weight file with kernels as float16 (half the size), the masks' bias moved, settings and names inside."""
    from mrcnn.metadata import describe

    def copy(name, item):
        if isinstance(item, h5py.Dataset):
            # statistics of the normalisations can exceed what float16 holds
            kind = np.float16 if item.ndim > 1 else np.float32
            result.create_dataset(name, data=item[()].astype(kind))
            return
        group = result.require_group(name)
        group.attrs.update(item.attrs)

    part = target.with_suffix(".part")
    with h5py.File(source) as original, h5py.File(part, "w") as result:
        result.attrs.update(original.attrs)
        result.attrs["stream_segment"] = json.dumps(describe(person_config(), ["BG", "person"]))
        original.visititems(copy)
        result["mrcnn_mask"]["mrcnn_mask/bias:0"][...] += np.float32(MASK_LOGIT_SHIFT)
    os.replace(part, target)


class _StageDone(Exception):
    """Raised from a report to end a stage early; the trainer writes its checkpoint on the way."""


def _report_until(last: int | None):
    def report(line):
        print(time.strftime("%H:%M:%S"), line, flush=True)
        if last is not None and line["step"] >= last:
            raise _StageDone

    return report


def _freeze_depthwise(network) -> None:
    """The depthwise kernels keep their ImageNet weights: they are few, and a fifth of the backward pass."""
    for name, layer in network.layers_by_name().items():
        if name.endswith("_depthwise"):
            layer.trainable = False


def _thaw(network) -> None:
    for layer in network.layers_by_name().values():
        layer.trainable = True


if __name__ == "__main__":
    sys.exit(main())
