"""An image's meta data and colors, there and back."""

import numpy as np

from mrcnn.config import Config
from mrcnn.matterport.molding import compose_image_meta, mold_image, parse_image_meta, unmold_image


def test_image_meta_round_trip():
    meta = compose_image_meta(7, (30, 40, 3), (64, 64, 3), (1, 2, 3, 4), 1.5, [0, 1, 1])
    assert meta.tolist() == [7, 30, 40, 3, 64, 64, 3, 1, 2, 3, 4, 1.5, 0, 1, 1]
    parts = parse_image_meta(meta[None])
    assert parts["image_id"].tolist() == [7]
    assert parts["active_class_ids"].tolist() == [[0, 1, 1]]


def test_mold_and_unmold_are_inverse():
    image = np.random.default_rng(4).integers(0, 256, (75, 101, 3), np.uint8)
    molded = mold_image(image, Config())
    np.testing.assert_allclose(molded[3, 5], image[3, 5] - np.array([123.7, 116.8, 103.9]), rtol=1e-6)
    difference = unmold_image(molded + 1e-3, Config()).astype(int) - image
    assert not difference.any()
