"""Class names of COCO, as models have them: 80 classes without gaps, or as many as COCO's category ids."""

from __future__ import annotations

_RUNS = {
    1: "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant",
    13: "stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe",
    27: "backpack, umbrella",
    31: "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, "
    "skateboard, surfboard, tennis racket, bottle",
    46: "wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, "
    "donut, cake, chair, couch, potted plant, bed",
    67: "dining table",
    70: "toilet",
    72: "tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator",
    84: "book, clock, vase, scissors, teddy bear, hair drier, toothbrush",
}
"""Names by the first of consecutive category ids; ids between the runs are unused."""

CATEGORIES = {first + index: name for first, names in _RUNS.items() for index, name in enumerate(names.split(", "))}
"""The 80 names by COCO's category id, 1 … 90."""

COCO_NAMES = ("BG", *CATEGORIES.values())
"""The background and the 80 classes, as Matterport's and detectron2's models have them."""


def coco_names(num_classes: int) -> tuple[str, ...] | None:
    """Class names of a model with COCO's classes, the background first; None for other numbers of classes.

    Args:
        num_classes: 81 for consecutive classes; 91 for category ids, of which 10 are unused ("unused 12" …).
    """
    if num_classes == len(COCO_NAMES):
        return COCO_NAMES
    if num_classes == max(CATEGORIES) + 1:
        return (COCO_NAMES[0], *(CATEGORIES.get(index, f"unused {index}") for index in range(1, num_classes)))
    return None
