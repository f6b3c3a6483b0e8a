"""The part that is held out."""

import numpy as np
import pytest

from mrcnn.training.annotated_images import AnnotatedImage, AnnotatedImages, Instance
from mrcnn.training.split import split


def images(*class_ids_per_image):
    made = []
    for index, class_ids in enumerate(class_ids_per_image):
        instances = tuple(Instance(c, c + 1, np.array([0, 0, 2, 3]), np.ones((2, 3), np.uint8)) for c in class_ids)
        made.append(AnnotatedImage(index, f"{index}.png", 20, 30, instances, np.zeros((0, 4), np.float32)))
    return AnnotatedImages(("BG", "cup", "dog"), ("cup", "dog"), tuple(made))


def ids(data):
    return [image.image_id for image in data.images]


def test_a_tenth_is_set_aside_and_nothing_is_lost():
    data = images(*[[1]] * 40)
    train, validation = split(data, seed=1)
    assert len(validation.images) == 4
    assert sorted(ids(train) + ids(validation)) == list(range(40))
    assert ids(train) == sorted(ids(train))
    assert train.class_names == validation.class_names == data.class_names
    assert ids(split(data, seed=1)[1]) == ids(validation)
    assert ids(split(data, seed=2)[1]) != ids(validation)


@pytest.mark.parametrize("seed", range(20))
def test_the_last_image_of_a_class_and_empty_ones_stay_with_the_training(seed):
    data = images([2], [], *[[1, 1]] * 9, [])
    validation = split(data, seed)[1]
    assert len(validation.images) == 1
    assert ids(validation)[0] in range(2, 11)


def test_few_images_are_not_split():
    data = images(*[[1]] * 9)
    assert split(data, seed=1) == (data, data)
    alone = images(*[[2]], *[[]] * 11)
    assert split(alone, seed=1) == (alone, alone)
