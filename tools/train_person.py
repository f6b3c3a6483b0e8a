"""Trains the shipped person model (weights/stream_segment_person.h5): the recipe behind its card.

    python tools/convert_efficientnet_lite0.py --photo PHOTO.jpg --output efficientnet_lite0_imagenet.h5
    python tools/train_person.py --images DIR --annotations instances.json \\
        --people-images DIR --people-annotations instances_people.json \\
        --backbone efficientnet_lite0_imagenet.h5 --output OUTPUT_DIR

writes OUTPUT_DIR/person.h5, in an hour and a half on two otherwise idle cores. The photographs of the second set in
OUTPUT_DIR/held_out.json are kept from training, to choose settings on.

Ctrl-C writes a checkpoint and ends the run; the same command resumes a run from its last checkpoint. For other classes
and photographs, `python stream_segment.py train` stands on the same functions and starts from this model.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SEED_NEW_LAYERS = 0
MASK_LOGIT_SHIFT = 0.32
"""Added to the masks' bias at the end: masks are cut at a probability of 0.5, which this makes of 0.42.

Chosen on the held-out photographs.
"""
LEAST_SCORE = 0.85
"""From here on the program shows an object. Chosen on the held-out photographs: the former model at 0.75 finds as many
people there, with three times as many false ones."""
TRAINED_LAYERS = r"(?!lite0_(stem|block[0-2]_))(?!lite0_block([3-9]|10)_depthwise$).*"
"""All but the stem, the first three blocks, and the depthwise kernels on fine grids, which are few, and a fifth of the
backward pass."""
CROWDED_REPEATS = 3
"""How often each photograph of the first set, which has the crowds, counts for one of the second set."""
HELD_OUT_COMPLETE, HELD_OUT_PEOPLE = 52, 68
"""Photographs of the second set on which settings are chosen: with all categories annotated, and with people alone."""


def main() -> int:
    """Train both stages, write person.h5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the first set's photographs")
    parser.add_argument("--annotations", type=Path, required=True, help="their COCO instances file")
    parser.add_argument("--people-images", type=Path, required=True, help="folder of the second set's photographs")
    parser.add_argument("--people-annotations", type=Path, required=True, help="their COCO instances file")
    parser.add_argument("--backbone", type=Path, required=True, help="what convert_efficientnet_lite0.py wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    cv2.setNumThreads(1)  # the batches' thread must not take the cores from the network
    import keras

    from mrcnn.network.network import MaskRCNNNetwork
    from mrcnn.training.annotated_images import load_coco
    from mrcnn.training.initialization import prepare_new_layers
    from mrcnn.weights.load_save import load_weights

    # bfloat16 in the convolutions halves the time of a step on a CPU that has it; weights and losses stay float32
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    crowded = load_coco(arguments.images, arguments.annotations, ["person"])
    people = load_coco(arguments.people_images, arguments.people_annotations, ["person"])
    record = json.loads(arguments.people_annotations.read_text(encoding="utf-8"))
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "held_out.json").write_text(json.dumps(only_held_out(record)), encoding="utf-8")
    network = MaskRCNNNetwork(person_config())
    load_weights(network, arguments.backbone, backbone_only=True)
    prepare_new_layers(network, SEED_NEW_LAYERS)
    try:
        last = train(network, both_sets(crowded, people, record), arguments.output)
    except KeyboardInterrupt:
        print("stopped; the same command resumes the run")
        return 130
    target = arguments.output / "person.h5"
    finish(last, target)
    print(f"{target} is written")
    return 0


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A part of the recipe.

    Attributes:
        name: of its folder.
        settings: of its training.
        last_step: where it ends; its schedule may go on.
    """

    name: str
    settings: Any
    last_step: int


def stages() -> list[Stage]:
    """The backbone as it is at first, until the layers behind it give it sensible gradients; then nearly all layers."""
    from mrcnn.training.trainer import TrainSettings

    common = TrainSettings(mask_regions=32, dice_weight=0.5, semantic_weight=0.5)
    heads = replace(common, steps=800, warmup_steps=50, average=0.99, layers="heads", seed=3, save_every=100)
    main = replace(common, steps=18000, backbone_factor=0.1, layers=TRAINED_LAYERS, seed=51)
    return [Stage("heads", heads, 400), Stage("main", main, main.steps)]


def train(network: Any, data: Any, output: Path) -> Path:
    """Train the stages one after the other, each from its last checkpoint; return the weights of the last one."""
    from mrcnn.training.augment import AugmentSettings
    from mrcnn.training.data import WindowMaker
    from mrcnn.training.trainer import LAST_WEIGHTS_FILE, Trainer

    longer_side = int(network.config.IMAGE_MAX_DIM)
    augment = AugmentSettings(
        window=384, smallest_scale=0.45, largest_scale=1.8, longer_side=longer_side, pastes=3, degrade=0.15
    )
    earlier, weights = None, None
    for stage in stages():
        trainer = Trainer(network, WindowMaker(data, augment, stage.settings.seed), stage.settings, output / stage.name)
        if earlier is not None:
            trainer.take_over(earlier)
        trainer.resume()
        if trainer.step < stage.last_step:
            trainer.run(_report_until(stage.last_step, trainer))
        earlier, weights = trainer, output / stage.name / LAST_WEIGHTS_FILE
    return weights


def held_out(record: dict[str, Any]) -> set[int]:
    """Ids of the photographs of the second set that are not trained on: evenly spaced by id, in both of its parts.

    Args:
        record: the content of the annotation file; "only_people" marks the photographs in which people alone are
            annotated.
    """
    by_part: dict[bool, list[int]] = {False: [], True: []}
    for image in record["images"]:
        by_part[bool(image.get("only_people"))].append(image["id"])
    chosen: set[int] = set()
    for ids, count in ((by_part[False], HELD_OUT_COMPLETE), (by_part[True], HELD_OUT_PEOPLE)):
        ids.sort()
        chosen |= {ids[(2 * place + 1) * len(ids) // (2 * count)] for place in range(min(count, len(ids)))}
    return chosen


def only_held_out(record: dict[str, Any]) -> dict[str, Any]:
    """The annotation file of the held-out photographs."""
    ids = held_out(record)
    images = [image for image in record["images"] if image["id"] in ids]
    return record | {"images": images, "annotations": [one for one in record["annotations"] if one["image_id"] in ids]}


def both_sets(crowded: Any, people: Any, record: dict[str, Any]) -> Any:
    """The training photographs: both sets, without the held-out ones.

    Args:
        crowded: the first set.
        people: the second set.
        record: the content of its annotation file.
    """
    from mrcnn.training.annotated_images import concatenate

    aside = held_out(record)
    incomplete = {image["id"] for image in record["images"] if image.get("only_people")}
    images = tuple(
        replace(image, is_complete=image.image_id not in incomplete)
        for image in people.images
        if image.image_id not in aside
    )
    return concatenate([crowded] * CROWDED_REPEATS + [replace(people, images=images)])


def person_config():
    """The network of the shipped model: narrow everywhere, so that two cores keep up with a camera."""
    from mrcnn.training.initialization import SMALL_NETWORK, SMALL_TRAINING
    from mrcnn.weights.metadata import config_from_metadata

    own = {"NAME": "person", "NUM_CLASSES": 2, "IMAGE_MAX_DIM": 512, "IMAGE_MIN_DIM": 320}
    own |= SMALL_NETWORK | SMALL_TRAINING | {"DETECTION_MIN_CONFIDENCE": LEAST_SCORE}
    own["LOSS_WEIGHTS"] = SMALL_TRAINING["LOSS_WEIGHTS"] | {"mrcnn_mask_loss": 2.0}
    return config_from_metadata({"config": {}}, **own)


def finish(source: Path, target: Path) -> None:
    """Copy a weight file with kernels as float16 (half the size), the masks' bias moved, settings and names inside."""
    from mrcnn.training.run_files import write_compact
    from mrcnn.weights.metadata import describe

    write_compact(source, target, describe(person_config(), ["BG", "person"]), shift_masks)


def shift_masks(file: Any) -> None:
    """Move the masks' bias in an open weight file."""
    file["mrcnn_mask"]["mrcnn_mask/bias:0"][...] += np.float32(MASK_LOGIT_SHIFT)


def _report_until(last: int, trainer):
    def report(line):
        if "loss" in line:
            print(time.strftime("%H:%M:%S"), line, flush=True)
        if line["step"] == last:
            trainer.stop()

    return report


if __name__ == "__main__":
    sys.exit(main())
