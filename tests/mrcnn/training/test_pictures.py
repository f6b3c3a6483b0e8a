"""The store of photographs, and what happens when one goes bad in the middle of a run."""

import numpy as np
import pytest

from mrcnn.training.data import WindowMaker
from mrcnn.training.pictures import PatientWindowMaker, PictureError, PictureStore


def test_a_photograph_is_read_once_and_the_oldest_goes_first(tiny_data):
    first, second = tiny_data.images
    store = PictureStore(memory_bytes=100 * 150 * 3)  # room for the first alone
    held = store.get(first)
    assert held.shape == (100, 150, 3)
    assert store.get(first) is held
    store.get(second)
    assert store.get(first) is not held
    np.testing.assert_array_equal(store.get(first), held)


def test_a_photograph_that_went_bad_is_told_once_and_left_out(tiny_data, tiny_augment, caplog):
    store = PictureStore()
    maker = PatientWindowMaker(tiny_data, tiny_augment, 3, store)
    whole = [maker.make(number) for number in range(12)]
    bad = tiny_data.images[1].path
    bad.write_bytes(bad.read_bytes()[:40])

    store = PictureStore()
    maker = PatientWindowMaker(tiny_data, tiny_augment, 3, store)
    windows = [maker.make(number) for number in range(12)]
    assert list(store.unreadable) == [str(bad)]
    assert [record.getMessage() for record in caplog.records] == [
        f"{bad} cannot be read as an image: it is left out from here on (1 so far)"
    ]
    same = [np.array_equal(mine.image_rgb, theirs.image_rgb) for mine, theirs in zip(windows, whole, strict=True)]
    assert any(same)  # those that did not need it
    assert not all(same)


def test_windows_are_those_of_the_plain_maker(tiny_data, tiny_augment):
    plain, patient = WindowMaker(tiny_data, tiny_augment, 3), PatientWindowMaker(tiny_data, tiny_augment, 3)
    for number in (0, 5):
        np.testing.assert_array_equal(plain.make(number).image_rgb, patient.make(number).image_rgb)


def test_when_none_can_be_read_it_is_an_error(tiny_data, tiny_augment):
    for image in tiny_data.images:
        image.path.unlink()
    with pytest.raises(PictureError, match="of 2 photographs, 2 cannot be read any more"):
        PatientWindowMaker(tiny_data, tiny_augment, 3).make(0)
