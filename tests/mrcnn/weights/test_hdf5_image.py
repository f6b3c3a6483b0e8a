"""Weight files that are written from arrays, without a network."""

import h5py
import numpy as np
import pytest

from mrcnn.weights.hdf5 import read_arrays, read_metadata
from mrcnn.weights.hdf5_image import hdf5_image

LAYERS = {
    "conv1": {"kernel": np.float32([[1, 2]]), "bias": np.float32([3, 4])},
    "rpn_class_raw": {"kernel": np.float64([5.0])},
    "rpn_bbox_pred": {"kernel": np.float32([6.0])},
}
GROUPS = ["input_image", "conv1", "rpn_model"]


def readers():
    return {name: (lambda arrays=arrays: arrays) for name, arrays in LAYERS.items()}


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(hdf5_image(GROUPS, readers(), {"config": {"NUM_CLASSES": 2}}))
    found = read_arrays(path)
    assert found.keys() == LAYERS.keys()
    for layer, arrays in LAYERS.items():
        assert found[layer].keys() == arrays.keys()
        for kind, values in arrays.items():
            np.testing.assert_array_equal(found[layer][kind], values)
            assert found[layer][kind].dtype == np.float32
    assert read_metadata(path) == {"config": {"NUM_CLASSES": 2}}


def test_layers_share_the_group_of_the_rpn(tmp_path):
    (tmp_path / "a.h5").write_bytes(hdf5_image(GROUPS, readers()))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["layer_names"].tolist() == [b"input_image", b"conv1", b"rpn_model"]
        assert file["input_image"].attrs["weight_names"].tolist() == []
        assert file["rpn_model"].attrs["weight_names"].tolist() == [
            b"rpn_class_raw/kernel:0",
            b"rpn_bbox_pred/kernel:0",
        ]
        assert file["rpn_model/rpn_class_raw/kernel:0"][()].tolist() == [5.0]


def test_no_layer_is_lost():
    with pytest.raises(ValueError, match="would lack the layers conv1: no group"):
        hdf5_image(["input_image", "rpn_model"], readers())
