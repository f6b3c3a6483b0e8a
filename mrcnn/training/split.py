"""Splits annotated images into training and validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrcnn.training.annotated_images import AnnotatedImages

VALIDATION_SHARE = 0.1
MAX_VALIDATION = 200
MIN_TO_SPLIT = 10
"""With fewer images, the training images serve as validation too."""


def split(data: AnnotatedImages, seed: int) -> tuple[AnnotatedImages, AnnotatedImages]:
    """(images to train on, images to validate on): one image in ten, chosen by the seed among those with an object.

    The last image of a class is used for training.

    Args:
        data: is not changed.
        seed: the same seed and images give the same choice.

    Returns:
        Both parts in the order of the file; with fewer than `MIN_TO_SPLIT` images both are all of them.
    """
    count = len(data.images)
    if count < MIN_TO_SPLIT:
        return data, data
    classes = [{one.class_id for one in image.instances if one.class_id} for image in data.images]
    left = {class_id: sum(class_id in found for found in classes) for class_id in range(1, len(data.class_names))}
    wanted = min(MAX_VALIDATION, max(1, round(VALIDATION_SHARE * count)))
    aside: set[int] = set()
    for index in np.random.default_rng([seed, 7]).permutation(count):
        found = classes[index]
        if len(aside) == wanted:
            break
        if found and all(left[class_id] > 1 for class_id in found):
            aside.add(int(index))
            for class_id in found:
                left[class_id] -= 1
    if not aside:
        return data, data
    train = tuple(image for index, image in enumerate(data.images) if index not in aside)
    validation = tuple(image for index, image in enumerate(data.images) if index in aside)
    return replace(data, images=train), replace(data, images=validation)
