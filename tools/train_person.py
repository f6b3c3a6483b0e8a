"""Trains the shipped person model (weights/stream_segment_person.h5): the recipe behind its card, in three stages.

    python tools/convert_efficientnet_lite0.py --photo PHOTO.jpg --output efficientnet_lite0_imagenet.h5
    python tools/train_person.py --images DIR --annotations instances.json \\
        --backbone efficientnet_lite0_imagenet.h5 --output OUTPUT_DIR

Takes an hour and a half on two otherwise idle cores. A run that was stopped goes on where its last checkpoint lies when
the same command is given again. Ctrl-C writes a checkpoint first. OUTPUT_DIR/person.h5 is the result. For other classes
and photographs, `python stream_segment.py train` stands on the same functions and starts from this model.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SEED_NEW_LAYERS = 0
STAGE_TWO_STEPS = 4700
STAGE_THREE_STEPS = 4500
MASK_LOGIT_SHIFT = 0.72
"""Added to the masks' bias at the end: what the network gives 0.33 becomes 0.5, where masks are cut.

Chosen on the validation photographs, where that does well in float32 and in bfloat16.
"""
STAGE_ONE_STOP = 400
"""Stage one is planned for 800 steps and stopped here, before its learning rate gets small."""
STAGE_TWO_LAYERS = r"(?!lite0_(stem|block[0-5]_))(?!.*_depthwise$).*"
"""All but the stem, the first six blocks and the depthwise kernels, which are few, and a fifth of the backward pass."""
STAGE_THREE_LAYERS = r"(?!lite0_(stem|block[0-2]_))(?!.*_depthwise$).*"
LEAST_SCORE = 0.7
"""From here on the program shows an object: there precision and recall balance on the validation photographs."""


def main() -> int:
    """Train all stages, write person.h5."""
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
    from mrcnn.training.annotated_images import load_coco
    from mrcnn.training.augment import AugmentSettings
    from mrcnn.training.data import WindowMaker
    from mrcnn.training.initialization import prepare_new_layers
    from mrcnn.training.trainer import LAST_WEIGHTS_FILE, Trainer, TrainSettings
    from mrcnn.weights.load_save import load_weights

    # bfloat16 in the convolutions halves the time of a step on a CPU that knows it; weights and losses stay float32
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    data = load_coco(arguments.images, arguments.annotations, ["person"])
    augment = AugmentSettings(window=320, smallest_scale=0.45, largest_scale=1.3, pastes=2)
    network = MaskRCNNNetwork(person_config())
    load_weights(network, arguments.backbone, backbone_only=True)
    prepare_new_layers(network, SEED_NEW_LAYERS)

    common = {"batch": 4, "learning_rate": 1e-3, "mask_regions": 16, "warmup_steps": 50}
    first_settings = TrainSettings(steps=800, seed=3, layers="heads", average=0.99, save_every=100, **common)
    second_settings = TrainSettings(
        steps=STAGE_TWO_STEPS, seed=4, layers=STAGE_TWO_LAYERS, average=0.998, save_every=200, **common
    )
    first = Trainer(
        network, WindowMaker(data, augment, first_settings.seed), first_settings, arguments.output / "stage1"
    )
    first.resume()
    if first.step < STAGE_ONE_STOP:
        first.run(_report_until(STAGE_ONE_STOP, first))
    second = Trainer(
        network, WindowMaker(data, augment, second_settings.seed), second_settings, arguments.output / "stage2"
    )
    second.take_over(first)
    second.resume()
    second.run(_report_until(None, second))
    load_weights(network, arguments.output / "stage2" / LAST_WEIGHTS_FILE)  # the moving average
    wider = AugmentSettings(window=384, smallest_scale=0.5, largest_scale=1.4, pastes=2)
    third_settings = _third_settings()
    third = Trainer(network, WindowMaker(data, wider, third_settings.seed), third_settings, arguments.output / "stage3")
    third.take_over(second)
    third.resume()
    third.run(_report_until(None, third))
    finish(arguments.output / "stage3" / LAST_WEIGHTS_FILE, arguments.output / "person.h5")
    print(f"{arguments.output / 'person.h5'} is written")
    return 0


def _third_settings():
    from mrcnn.training.trainer import TrainSettings

    return TrainSettings(
        steps=STAGE_THREE_STEPS,
        batch=4,
        learning_rate=7e-4,
        warmup_steps=200,
        average=0.998,
        layers=STAGE_THREE_LAYERS,
        mask_regions=16,
        seed=11,
        save_every=250,
    )


def person_config():
    """The network of the shipped model: narrow everywhere, so that two cores keep up with a camera."""
    from mrcnn.training.initialization import SMALL_NETWORK, SMALL_TRAINING
    from mrcnn.weights.metadata import config_from_metadata

    own = {"NAME": "person", "NUM_CLASSES": 2, "IMAGE_MAX_DIM": 512, "IMAGE_MIN_DIM": 320}
    own |= SMALL_NETWORK | SMALL_TRAINING | {"DETECTION_MIN_CONFIDENCE": LEAST_SCORE}
    return config_from_metadata({"config": {}}, **own)


def finish(source: Path, target: Path) -> None:
    """Copy a weight file with kernels as float16 (half the size), the masks' bias moved, settings and names inside."""
    from mrcnn.training.run_files import write_compact
    from mrcnn.weights.metadata import describe

    def shift(file) -> None:
        file["mrcnn_mask"]["mrcnn_mask/bias:0"][...] += np.float32(MASK_LOGIT_SHIFT)

    write_compact(source, target, describe(person_config(), ["BG", "person"]), shift)


def _report_until(last: int | None, trainer):
    def report(line):
        if "loss" in line:
            print(time.strftime("%H:%M:%S"), line, flush=True)
        if line["step"] == last:
            trainer.stop()

    return report


if __name__ == "__main__":
    sys.exit(main())
