"""Images that are taken and those that are refused; `test_mask_rcnn.py` has the words for each."""

import numpy as np
import pytest

from mrcnn.matterport.image_checks import check_image, check_same_shape


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_colors_of_8_bits_in_any_dtype_are_taken(dtype):
    check_image(0, np.full((5, 6, 3), 255, dtype), 3)
    check_image(0, np.zeros((5, 6, 4), dtype), 4)


@pytest.mark.parametrize("value", [-1, 256, np.nan])
def test_other_colors_are_refused_with_the_number_of_the_image(value):
    with pytest.raises(ValueError, match="image 7 must have values from 0 to 255"):
        check_image(7, np.full((5, 6, 3), value, np.float32), 3)


def test_images_of_one_size_make_a_batch():
    images = [np.zeros((5, 6, 3), np.uint8)] * 2
    check_same_shape(images)
    with pytest.raises(ValueError, match=r"got \[\(5, 6, 3\), \(6, 5, 3\)\]"):
        check_same_shape([*images, np.zeros((6, 5, 3), np.uint8)])
