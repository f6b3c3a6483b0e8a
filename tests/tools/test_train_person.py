"""The settings of the shipped model, and how its file is finished."""

import h5py
import numpy as np
from keras import ops

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights.checkpoint import read_metadata
from mrcnn.weights.load_save import load_weights, save_weights
from mrcnn.weights.metadata import class_names_from_metadata, config_from_metadata
from tools.train_person import MASK_LOGIT_SHIFT, finish, person_config


def test_finished_file_is_half_as_large_and_loads_by_itself(tmp_path):
    person_config().validate()
    network = MaskRCNNNetwork(person_config())
    variance = network.layers_by_name()["mrcnn_class_bn1"].moving_variance
    variance.assign(np.full(variance.shape, 70000.0))  # more than float16 holds
    save_weights(network, tmp_path / "whole.h5")
    finish(tmp_path / "whole.h5", tmp_path / "person.h5")
    assert (tmp_path / "person.h5").stat().st_size < 0.6 * (tmp_path / "whole.h5").stat().st_size

    metadata = read_metadata(tmp_path / "person.h5")
    assert class_names_from_metadata(metadata) == ["BG", "person"]
    again = MaskRCNNNetwork(config_from_metadata(metadata))
    load_weights(again, tmp_path / "person.h5")
    bias = again.layers_by_name()["mrcnn_mask"].bias
    bias.assign_sub(np.full(bias.shape, MASK_LOGIT_SHIFT))
    for mine, theirs in zip(again.variables, network.variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(mine), ops.convert_to_numpy(theirs), rtol=1e-3, atol=1e-6)
    with h5py.File(tmp_path / "person.h5") as file:
        assert file["mrcnn_mask"]["mrcnn_mask/kernel:0"].dtype == np.float16
