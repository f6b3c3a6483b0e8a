"""The network as one Keras model: its summary, its layers, its files."""

import pytest

from mrcnn.matterport.keras_model import as_keras_model
from mrcnn.weights.checkpoint import WeightsError, read_metadata
from tests.mrcnn.tiny import tiny_network


def test_it_shows_and_saves_the_layers(tmp_path, capsys):
    model = as_keras_model(tiny_network())
    model.summary()
    assert "mrcnn_mask_deconv" in capsys.readouterr().out
    names = {layer.name for layer in model.layers}
    assert {"tiny2_conv", "tiny5_bn", "fpn_p2", "rpn_model", "mrcnn_class_logits", "mrcnn_mask"} <= names
    path = tmp_path / "saved.h5"
    model.save_weights(str(path))
    assert read_metadata(path) is None
    other = as_keras_model(tiny_network(seed=3))
    before = other.get_layer("mrcnn_mask").get_weights()[0]
    other.load_weights(str(path), by_name=True, exclude=["mrcnn_mask", "mrcnn_bbox"])
    assert (other.get_layer("mrcnn_mask").get_weights()[0] == before).all()
    assert (other.get_layer("fpn_p2").get_weights()[0] == model.get_layer("fpn_p2").get_weights()[0]).all()
    with pytest.raises(FileExistsError, match="overwrite is False"):
        model.save_weights(path, overwrite=False)
    with pytest.raises(WeightsError, match="exclude names 'mask'"):
        model.load_weights(path, exclude=["mask"])


def test_its_files_carry_its_metadata(tmp_path):
    model = as_keras_model(tiny_network())
    model.metadata = {"config": {"NUM_CLASSES": 3}, "class_names": ["BG", "a", "b"]}
    model.save_weights(tmp_path / "saved.h5")
    assert read_metadata(tmp_path / "saved.h5") == model.metadata
