"""The cache of images, and what happens when one goes bad in the middle of a run."""

import cv2
import numpy as np
import pytest

from mrcnn.training.data import WindowMaker
from mrcnn.training.image_cache import ImageCache, UnreadableImageError, read_image


def test_an_image_is_read_once_and_the_oldest_goes_first(tiny_data):
    first, second = tiny_data.images
    cache = ImageCache(memory_bytes=100 * 150 * 3)  # room for the first alone
    held = cache.get(first)
    assert held.shape == (100, 150, 3)
    assert cache.get(first) is held
    cache.get(second)
    assert cache.get(first) is not held
    np.testing.assert_array_equal(cache.get(first), held)


def test_an_image_that_went_bad_is_told_once_and_left_out(tiny_data, tiny_augment, caplog):
    cache = ImageCache()
    maker = WindowMaker(tiny_data, tiny_augment, 3, cache)
    whole = [maker.make(number) for number in range(12)]
    bad = tiny_data.images[1].path
    bad.write_bytes(bad.read_bytes()[:40])

    cache = ImageCache()
    maker = WindowMaker(tiny_data, tiny_augment, 3, cache)
    windows = [maker.make(number) for number in range(12)]
    assert list(cache.unreadable) == [str(bad)]
    assert [record.getMessage() for record in caplog.records] == [
        f"{bad} cannot be read as an image: it is left out from here on (1 so far)"
    ]
    same = [np.array_equal(mine.image_rgb, theirs.image_rgb) for mine, theirs in zip(windows, whole, strict=True)]
    assert any(same)  # those that did not need it
    assert not all(same)


def test_when_none_can_be_read_it_is_an_error(tiny_data, tiny_augment):
    for image in tiny_data.images:
        image.path.unlink()
    with pytest.raises(UnreadableImageError, match="of 2 images, 2 can no longer be read"):
        WindowMaker(tiny_data, tiny_augment, 3).make(0)


def test_an_image_of_another_size_than_annotated_is_an_error(tiny_data):
    cv2.imwrite(str(tiny_data.images[0].path), np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(ValueError, match="60 x 50 pixels, the annotations say 150 x 100"):
        read_image(tiny_data.images[0])
