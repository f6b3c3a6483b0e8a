"""Trains the shipped person model (weights/stream_segment_person.h5): the recipe behind its card.

    python tools/convert_efficientnet_lite0.py --photo PHOTO.jpg --output efficientnet_lite0_imagenet.h5
    python tools/train_person.py --images DIR --annotations instances.json \\
        --backbone efficientnet_lite0_imagenet.h5 --output OUTPUT_DIR \\
        --people-images DIR --people-annotations instances_people.json

trains four stages, which takes some two and a half hours on two otherwise idle cores. OUTPUT_DIR/person.h5 is the
result, an average of the third and the fourth stage. The photographs of the second set in OUTPUT_DIR/held_out.json are
kept from training, to choose settings on. Without the second set, there is no fourth stage: the first version of the
model. `--start FILE` takes a finished model of three stages in place of the backbone.

Ctrl-C writes a checkpoint and ends the run; the same command resumes a run from its last checkpoint. For other classes
and photographs, `python stream_segment.py train` stands on the same functions and starts from this model.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SEED_NEW_LAYERS = 0
MASK_LOGIT_SHIFT = 0.72
"""Added to the masks' bias at the end: masks are cut at a probability of 0.5, which this makes of 0.33.

Chosen on the validation photographs, where that does well in float32 and in bfloat16.
"""
STAGE_FOUR_MASK_LOGIT_SHIFT = 0.32
"""The same for 0.42, chosen on the held-out photographs: with the Dice loss, edges get a higher probability."""
STAGE_TWO_LAYERS = r"(?!lite0_(stem|block[0-5]_))(?!.*_depthwise$).*"
"""All but the stem, the first six blocks and the depthwise kernels, which are few, and a fifth of the backward pass."""
STAGE_THREE_LAYERS = r"(?!lite0_(stem|block[0-2]_))(?!.*_depthwise$).*"
LEAST_SCORE = 0.7
"""From here on the program shows an object: there precision and recall balance on the validation photographs."""
STAGE_FOUR_LEAST_SCORE = 0.75
"""There the model of stage four shows as many people of the held-out photographs as that of stage three at 0.7."""
STAGE_FOUR_SHARE = 0.8
"""Of stage four in the average with stage three, chosen on the held-out photographs."""
CROWDED_REPEATS = 3
"""How often each photograph of the first set, which has the crowds, counts for one of the second set."""
HELD_OUT_COMPLETE, HELD_OUT_PEOPLE = 52, 68
"""Photographs of the second set on which settings are chosen: with all categories annotated, and with people alone."""


def main() -> int:
    """Train all stages, write person.h5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--annotations", type=Path, required=True, help="their COCO instances file")
    parser.add_argument("--people-images", type=Path, help="folder of the second set, for stage four")
    parser.add_argument("--people-annotations", type=Path, help="its COCO instances file")
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--backbone", type=Path, help="what convert_efficientnet_lite0.py wrote")
    start.add_argument("--start", type=Path, help="a finished model of stage three: only stage four is trained")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    arguments = parser.parse_args()
    if (arguments.people_images is None) != (arguments.people_annotations is None):
        parser.error("--people-images and --people-annotations are given together")
    if arguments.start is not None and arguments.people_images is None:
        parser.error("--start needs the second set: give --people-images and --people-annotations")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    cv2.setNumThreads(1)  # the batches' thread must not take the cores from the network
    import keras

    from mrcnn.network.network import MaskRCNNNetwork
    from mrcnn.training.annotated_images import load_coco
    from mrcnn.training.initialization import prepare_new_layers
    from mrcnn.training.run_files import write_compact
    from mrcnn.training.trainer import LAST_WEIGHTS_FILE
    from mrcnn.weights.load_save import load_weights

    # bfloat16 in the convolutions halves the time of a step on a CPU that has it; weights and losses stay float32
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    crowded = load_coco(arguments.images, arguments.annotations, ["person"])
    stages = first_stages(crowded)
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.people_images is not None:
        people = load_coco(arguments.people_images, arguments.people_annotations, ["person"])
        record = json.loads(arguments.people_annotations.read_text(encoding="utf-8"))
        (arguments.output / "held_out.json").write_text(json.dumps(only_held_out(record)), encoding="utf-8")
        stages.append(last_stage(stages[-1], both_sets(crowded, people, record)))
    network = MaskRCNNNetwork(person_config())
    third = arguments.output / "stage3" / LAST_WEIGHTS_FILE
    if arguments.start is None:
        load_weights(network, arguments.backbone, backbone_only=True)
        prepare_new_layers(network, SEED_NEW_LAYERS)
    else:
        third = arguments.output / "start.h5"
        write_compact(arguments.start, third, change=lambda file: shift_masks(file, -MASK_LOGIT_SHIFT))
        load_weights(network, third)
        stages = [replace(stages[-1], from_average=False)]
    try:
        last = train(network, stages, arguments.output)
    except KeyboardInterrupt:
        print("stopped; the same command resumes the run")
        return 130
    target = arguments.output / "person.h5"
    if arguments.people_images is None:
        finish(last, target, person_config(), MASK_LOGIT_SHIFT)
    else:
        average(last, third, STAGE_FOUR_SHARE, arguments.output / "average.h5")
        config = person_config(STAGE_FOUR_LEAST_SCORE)
        finish(arguments.output / "average.h5", target, config, STAGE_FOUR_MASK_LOGIT_SHIFT)
    print(f"{target} is written")
    return 0


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A part of the recipe.

    Attributes:
        name: of its folder.
        data: its photographs.
        augment: how windows are made of them.
        settings: of its training.
        last_step: where it ends, if that is before its schedule does.
        from_average: begin with the moving average of the stage before it, else with its last weights.
        mask_weight: of the masks' loss.
    """

    name: str
    data: Any
    augment: Any
    settings: Any
    last_step: int | None = None
    from_average: bool = False
    mask_weight: float = 1.5


def first_stages(crowded: Any) -> list[Stage]:
    """The three stages of the shipped model, on the first set."""
    from mrcnn.training.augment import AugmentSettings
    from mrcnn.training.trainer import TrainSettings

    narrow = AugmentSettings(window=320, smallest_scale=0.45, largest_scale=1.3, pastes=2)
    wide = AugmentSettings(window=384, smallest_scale=0.5, largest_scale=1.4, pastes=2)
    first = TrainSettings(
        steps=800, warmup_steps=50, average=0.99, layers="heads", mask_regions=16, seed=3, save_every=100
    )
    second = TrainSettings(
        steps=4700, warmup_steps=50, average=0.998, layers=STAGE_TWO_LAYERS, mask_regions=16, seed=4, save_every=200
    )
    third = replace(
        second, steps=4500, warmup_steps=200, learning_rate=7e-4, layers=STAGE_THREE_LAYERS, seed=11, save_every=250
    )
    return [
        Stage("stage1", crowded, narrow, first, last_step=400),  # before its learning rate gets small
        Stage("stage2", crowded, narrow, second),
        Stage("stage3", crowded, wide, third, from_average=True),
    ]


def last_stage(third: Stage, both: Any) -> Stage:
    """The fourth stage, on both sets, at the scales that the network meets."""
    from mrcnn.training.augment import AugmentSettings

    longer_side = int(person_config().IMAGE_MAX_DIM)
    augment = AugmentSettings(
        window=384, smallest_scale=0.45, largest_scale=1.8, longer_side=longer_side, pastes=3, degrade=0.15
    )
    settings = replace(
        third.settings,
        steps=8000,
        warmup_steps=200,
        learning_rate=1e-3,
        backbone_factor=0.1,
        average=0.999,
        dice_weight=0.5,
        seed=41,
        save_every=500,
    )
    return Stage("stage4", both, augment, settings, from_average=True, mask_weight=2.0)


def train(network: Any, stages: Sequence[Stage], output: Path) -> Path:
    """Train the stages one after the other, each from its last checkpoint; return the weights of the last one."""
    from mrcnn.training.data import WindowMaker
    from mrcnn.training.trainer import LAST_WEIGHTS_FILE, Trainer
    from mrcnn.weights.load_save import load_weights

    earlier, weights = None, None
    for stage in stages:
        if stage.from_average:
            load_weights(network, weights)
        network.config.LOSS_WEIGHTS = network.config.LOSS_WEIGHTS | {"mrcnn_mask_loss": stage.mask_weight}
        windows = WindowMaker(stage.data, stage.augment, stage.settings.seed)
        trainer = Trainer(network, windows, stage.settings, output / stage.name)
        if earlier is not None:
            trainer.take_over(earlier)
        trainer.resume()
        last_step = stage.last_step or stage.settings.steps
        if trainer.step < last_step:
            trainer.run(_report_until(last_step, trainer))
        earlier, weights = trainer, output / stage.name / LAST_WEIGHTS_FILE
    return weights


def held_out(record: dict[str, Any]) -> set[int]:
    """Ids of the photographs of the second set that are not trained on: evenly spaced by id, in both of its parts.

    The model of stage three has not seen any of that set, so that it can be compared with its successors on them.

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
    """The photographs of stage four: both sets, without the held-out ones.

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


def person_config(least_score: float = LEAST_SCORE):
    """The network of the shipped model: narrow everywhere, so that two cores keep up with a camera."""
    from mrcnn.training.initialization import SMALL_NETWORK, SMALL_TRAINING
    from mrcnn.weights.metadata import config_from_metadata

    own = {"NAME": "person", "NUM_CLASSES": 2, "IMAGE_MAX_DIM": 512, "IMAGE_MIN_DIM": 320}
    own |= SMALL_NETWORK | SMALL_TRAINING | {"DETECTION_MIN_CONFIDENCE": least_score}
    return config_from_metadata({"config": {}}, **own)


def average(first: Path, second: Path, share: float, target: Path) -> None:
    """Write share * first + (1 - share) * second, of two weight files of one network (Wortsman et al. 2022)."""
    from mrcnn.training.run_files import write_compact

    with h5py.File(second) as other:

        def mix(file) -> None:
            def visit(name: str, found) -> None:
                if isinstance(found, h5py.Dataset):
                    found[...] = share * found[...].astype(np.float32) + (1 - share) * other[name][...].astype(
                        np.float32
                    )

            file.visititems(visit)

        write_compact(first, target, change=mix)


def finish(source: Path, target: Path, config: Any, mask_logit_shift: float) -> None:
    """Copy a weight file with kernels as float16 (half the size), the masks' bias moved, settings and names inside."""
    from mrcnn.training.run_files import write_compact
    from mrcnn.weights.metadata import describe

    write_compact(source, target, describe(config, ["BG", "person"]), lambda file: shift_masks(file, mask_logit_shift))


def shift_masks(file: Any, shift: float) -> None:
    """Add to the masks' bias in an open weight file."""
    file["mrcnn_mask"]["mrcnn_mask/bias:0"][...] += np.float32(shift)


def _report_until(last: int, trainer):
    def report(line):
        if "loss" in line:
            print(time.strftime("%H:%M:%S"), line, flush=True)
        if line["step"] == last:
            trainer.stop()

    return report


if __name__ == "__main__":
    sys.exit(main())
