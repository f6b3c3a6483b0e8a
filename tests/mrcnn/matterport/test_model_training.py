"""MaskRCNN(mode="training") as users of the original know it: a whole run, where it goes on, what it refuses."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

import mrcnn.model as modellib
from mrcnn.utils import Dataset, compute_ap
from mrcnn.weights.checkpoint import read_metadata
from mrcnn.weights.load_save import load_weights
from tests.mrcnn.tiny import TinyTrainConfig, seed_weights
from tests.mrcnn.training.shapes import Shapes


class TrainConfig(TinyTrainConfig):
    """Its name is written with a capital, that of a run's folder without."""

    NAME = "Tiny"


@pytest.fixture
def model(tmp_path):
    model = modellib.MaskRCNN(mode="training", config=TrainConfig(), model_dir=str(tmp_path / "logs"))
    seed_weights(model.network, 5)
    return model


def kernels(model):
    return {
        name: np.array(layer.get_weights()[0])
        for name, layer in model.network.layers_by_name().items()
        if not name.startswith("tiny") or name.endswith("conv")
    }


def test_an_epoch_of_the_heads(model, capsys):
    assert not os.path.exists(model.log_dir)
    start = kernels(model)
    epochs = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append((epoch, logs["val_loss"])))
    history = model.train(
        Shapes().fill(), Shapes().fill(2), learning_rate=0.001, epochs=1, layers="heads", custom_callbacks=[note]
    )
    assert model.epoch == 1
    assert epochs == [(0, history.history["val_loss"][0])]
    assert model.keras_model.history is history
    heads = kernels(model)
    changed = {name for name in start if (heads[name] != start[name]).any()}
    assert {"rpn_class_raw", "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask", "fpn_p2"} <= changed
    assert not any(name.startswith("tiny") for name in changed)
    assert model.find_last() == os.path.join(model.log_dir, "mask_rcnn_tiny_0001.h5")
    text = capsys.readouterr().out
    assert "Starting at epoch 0. LR=0.001" in text
    assert f"Checkpoint Path: {model.checkpoint_path}" in text
    with pytest.raises(ValueError, match=r"1 are completed, got 1\. For one more, use epochs=2"):
        model.train(Shapes().fill(), Shapes().fill(), 0.001, 1, "heads")


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="its compiler takes half a minute for each choice of layers"
)
def test_all_layers_go_on_from_a_file_of_the_run(model):
    os.makedirs(model.log_dir)
    model.keras_model.save_weights(model.checkpoint_path.format(epoch=7))
    start = kernels(model)
    second = modellib.MaskRCNN(mode="training", config=TrainConfig(), model_dir=model.model_dir)
    second.load_weights(second.find_last(), by_name=True)
    assert (second.epoch, second.log_dir) == (7, model.log_dir)
    for name, values in kernels(second).items():
        np.testing.assert_array_equal(values, start[name])
    second.config.VALIDATION_STEPS = 0
    second.train(Shapes().fill(), None, 0.001, epochs=8, layers="all")
    assert all((values != start[name]).any() for name, values in kernels(second).items() if "conv" in name)
    assert second.find_last() == os.path.join(model.log_dir, "mask_rcnn_tiny_0008.h5")
    with open(os.path.join(model.log_dir, "log.jsonl")) as file:
        assert [json.loads(line)["epoch"] for line in file] == [8]


def test_modes_do_what_they_are_for(model):
    with pytest.raises(ValueError, match='detect needs a model with mode="inference"'):
        model.detect([np.zeros((48, 64, 3), np.uint8)] * 2)
    with pytest.raises(ValueError, match='detect needs a model with mode="inference"'):
        model.detect_molded(np.zeros((2, 64, 64, 3), np.float32), np.zeros((2, 15)))
    model.mode = "inference"
    with pytest.raises(ValueError, match='train needs a model with mode="training"'):
        model.train(Shapes().fill(), Shapes().fill(), 0.1, 1, "heads")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be a positive number, got 0"),
        ({"epochs": 0}, "epochs must be a whole number of 1 or more, got 0"),
        ({"layers": "head"}, "no layer with weights has a name that matches 'head'"),
        ({"layers": "("}, "regular expression, got '[(]'"),
        ({"train_dataset": Dataset()}, "train_dataset has no images"),
        ({"val_dataset": None}, "val_dataset must be a utils[.]Dataset, got NoneType"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_written(model, arguments, message):
    right = {
        "train_dataset": Shapes().fill(),
        "val_dataset": Shapes().fill(),
        "learning_rate": 0.001,
        "epochs": 1,
        "layers": "heads",
    }
    with pytest.raises(ValueError, match=message) as caught:
        model.train(**(right | arguments))
    assert "\n" not in str(caught.value)
    assert not os.path.exists(model.model_dir)


def test_settings_of_training_are_checked_when_the_model_is_made(tmp_path):
    config = TrainConfig()
    config.LEARNING_MOMENTUM = 1.5
    with pytest.raises(ValueError, match=r"TrainConfig\.LEARNING_MOMENTUM must be"):
        modellib.MaskRCNN("training", config, tmp_path)
    with pytest.raises(ValueError, match="needs a model_dir"):
        modellib.MaskRCNN("training", TrainConfig(), None)


def test_names_that_scripts_use(model, capsys):
    model.set_trainable("fpn_p2|rpn_.*")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "fpn_p2",
        "rpn_conv_shared",
        "rpn_class_raw",
        "rpn_bbox_pred",
    ]
    layer = model.keras_model.get_layer("fpn_p2")
    assert model.find_trainable_layer(layer) is layer
    assert model.find_trainable_layer(keras.layers.TimeDistributed(layer)) is layer
    assert layer in model.get_trainable_layers()
    compiled = model.compile(0.02, 0.8)
    assert len(compiled.trainable_variables) == 8
    assert float(keras.ops.convert_to_numpy(compiled.optimizer.learning_rate)) == pytest.approx(0.02)
    assert (compiled.optimizer.momentum, compiled.optimizer.global_clipnorm) == (0.8, 5.0)
    model.set_log_dir("/elsewhere/tiny20200102T0304/mask_rcnn_tiny_0017.h5")
    assert model.epoch == 17
    assert model.log_dir == os.path.join(model.model_dir, "tiny20200102T0304")
    model.set_log_dir()
    assert model.epoch == 0


class OverfitConfig(TrainConfig):
    """The small backbone, everything behind it narrow, 128 pixels."""

    BACKBONE = "efficientnet_lite0"
    MEAN_PIXEL = np.array([127.0, 127.0, 127.0])
    IMAGES_PER_GPU = 3
    IMAGE_MIN_DIM, IMAGE_MAX_DIM = 96, 128
    TOP_DOWN_PYRAMID_SIZE = RPN_CHANNELS = MASK_HEAD_CHANNELS = 32
    FPN_CLASSIF_FC_LAYERS_SIZE = 256  # with 64, two trainings of twelve miss an object
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    PRE_NMS_LIMIT = 300
    POST_NMS_ROIS_TRAINING = POST_NMS_ROIS_INFERENCE = 60
    TRAIN_ROIS_PER_IMAGE = 24
    DETECTION_MIN_CONFIDENCE = 0.7
    STEPS_PER_EPOCH = 200
    VALIDATION_STEPS = 0


class OneImage(OverfitConfig):
    IMAGES_PER_GPU = 1


def mean_mask_ap50(model, dataset):
    """Mean over the images of the average precision of their masks at an overlap of 0.5."""
    precisions = []
    for image_id in dataset.image_ids:
        image, _, class_ids, boxes, masks = modellib.load_image_gt(dataset, model.config, image_id)
        found = model.detect([image])[0]
        answers = (found["rois"], found["class_ids"], found["scores"], found["masks"])
        precisions.append(compute_ap(boxes, class_ids, masks, *answers)[0])
    return np.mean(precisions)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="one backend is enough: the others run a whole small training above"
)
def test_overfitting_three_images_reaches_ap50_of_95(tmp_path):
    """From the backbone of the shipped model; pyramid, proposals and heads are random when it begins."""
    keras.utils.set_random_seed(1)
    dataset = Shapes().fill(3)
    model = modellib.MaskRCNN(mode="training", config=OverfitConfig(), model_dir=tmp_path)
    shipped = Path(__file__).parents[3] / "weights" / "stream_segment_person.h5"
    load_weights(model.network, shipped, backbone_only=True)
    untrained = modellib.MaskRCNN(mode="inference", config=OneImage(), model_dir=None)
    for mine, theirs in zip(untrained.network.variables, model.network.variables, strict=True):
        mine.assign(theirs)
    assert mean_mask_ap50(untrained, dataset) < 0.2
    model.train(dataset, None, learning_rate=0.01, epochs=1, layers="heads")
    path = model.find_last()
    assert read_metadata(path)["class_names"] == ["BG", "disc", "cross"]
    untrained.load_weights(path, by_name=True)
    assert mean_mask_ap50(untrained, dataset) >= 0.95
