"""The losses of a whole batch, on a network that is as small as it may be."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training import losses
from mrcnn.training.data import BatchMaker, WindowMaker
from mrcnn.training.training_model import (
    KEYWORDS,
    LOSS_NAMES,
    MATTERPORT_LOSSES,
    TrainingModel,
    keras_policy,
    layer_pattern,
    set_trainable,
)


@pytest.fixture
def batch(tiny_data, tiny_config, tiny_augment):
    return BatchMaker(WindowMaker(tiny_data, tiny_augment, 1), tiny_config, 2, 1).make(0)


@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="half a minute op by op; the same losses are trained under JAX in test_model_training",
)
def test_losses_of_an_untrained_network_are_those_of_guessing(tiny_config, batch):
    network = MaskRCNNNetwork(tiny_config)
    for name in ("rpn_class_raw", "mrcnn_class_logits", "mrcnn_mask"):
        layer = network.layers_by_name()[name]
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    found = TrainingModel(network, categories=2, mask_regions=4)(batch)
    values = {name: float(ops.convert_to_numpy(value)) for name, value in found.items()}
    assert set(values) == {*MATTERPORT_LOSSES, "category_loss"}
    for name in ("rpn_class_loss", "mrcnn_class_loss", "mrcnn_mask_loss"):
        assert values[name] == pytest.approx(np.log(2), rel=1e-4)
    assert all(np.isfinite(value) for value in values.values())


def test_weights_of_the_losses_are_the_configs(tiny_config, batch):
    tiny_config.LOSS_WEIGHTS = dict.fromkeys(LOSS_NAMES, 0.0) | {"mrcnn_mask_loss": 3.0}
    model = TrainingModel(MaskRCNNNetwork(tiny_config), categories=0, mask_regions=4)
    found = model(batch)
    assert "category_loss" not in found
    total = float(ops.convert_to_numpy(model.compute_loss(y_pred=found)))
    assert total == pytest.approx(3.0 * float(ops.convert_to_numpy(found["mrcnn_mask_loss"])), rel=1e-5)


def test_the_dice_loss_joins_the_masks_loss(tiny_config, batch):
    network = MaskRCNNNetwork(tiny_config)
    layer = network.layers_by_name()["mrcnn_mask"]
    layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    found = [
        float(ops.convert_to_numpy(TrainingModel(network, 0, 4, dice_weight=weight)(batch)["mrcnn_mask_loss"]))
        for weight in (0.0, 2.0, 4.0)
    ]
    assert found[0] == pytest.approx(np.log(2), rel=1e-4)
    assert 0 < found[1] - found[0] < 2  # a Dice loss is below 1
    assert found[2] - found[1] == pytest.approx(found[1] - found[0], rel=1e-4)


def test_background_of_an_incomplete_image_teaches_no_category(tiny_config, batch):
    network = MaskRCNNNetwork(tiny_config)
    model = TrainingModel(network, categories=2, mask_regions=4)
    model(batch)
    kernel, _ = model.category_classifier.get_weights()
    model.category_classifier.set_weights([np.zeros_like(kernel), np.array([9.0, 0.0, 0.0], np.float32)])
    # objects cost 9 and more, background next to nothing: the mean rises where background does not count
    complete, incomplete = (
        float(ops.convert_to_numpy(model(dict(batch, is_complete=np.full(2, share, np.float32)))["category_loss"]))
        for share in (1.0, 0.0)
    )
    assert incomplete == pytest.approx(9, abs=0.01)
    assert complete < 8


def test_cells_learn_the_class_that_covers_them_on_every_level(tiny_config, batch):
    model = TrainingModel(MaskRCNNNetwork(tiny_config), categories=0, mask_regions=4, semantic_weight=0.5)
    height, width = batch["images"].shape[1:3]
    person, none = (np.full((2, height // 4, width // 4), label, np.int32) for label in (1, -1))
    model(batch)
    kernel, _ = model.cell_classifier.get_weights()
    bias = np.zeros(tiny_config.NUM_CLASSES, np.float32)
    bias[1] = 9.0
    model.cell_classifier.set_weights([np.zeros_like(kernel), bias])
    found = [
        float(ops.convert_to_numpy(model(dict(batch, class_map=labels))["semantic_loss"]))
        for labels in (person, 0 * person, none, np.where(np.arange(width // 4) < width // 8, person, none))
    ]
    assert found == pytest.approx([0, 9, 0, 0], abs=0.01)
    assert set(model.auxiliary_layers) == {"cell_logits"}
    assert set(model.trackers) == {*MATTERPORT_LOSSES, "semantic_loss"}


def test_cells_of_a_coarse_level_take_the_label_of_their_center(tiny_config, batch):
    model = TrainingModel(MaskRCNNNetwork(tiny_config), categories=0, mask_regions=4, semantic_weight=0.5)
    model(batch)
    seen = []
    model.cell_classifier = lambda level: ops.zeros((*level.shape[:3], tiny_config.NUM_CLASSES))
    loss = losses.semantic_loss
    labels = np.arange(batch["class_map"].size, dtype=np.int32).reshape(batch["class_map"].shape) % 2

    def record(found, logits):
        seen.append(np.asarray(found))
        assert found.shape == logits.shape[:3]
        return loss(found, logits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "semantic_loss", record)
        model(dict(batch, class_map=labels))
    for index, found in enumerate(seen):
        step = 2**index
        np.testing.assert_array_equal(found, labels[:, step // 2 :: step, step // 2 :: step])
    assert len(seen) == 4


def test_batch_without_any_object_has_no_box_and_no_mask_loss(tiny_config, batch):
    empty = dict(batch, gt_used=np.zeros_like(batch["gt_used"]), gt_boxes=np.zeros_like(batch["gt_boxes"]))
    empty["rpn_match"] = np.minimum(batch["rpn_match"], 0)
    found = TrainingModel(MaskRCNNNetwork(tiny_config), categories=2, mask_regions=4)(empty)
    values = {name: float(ops.convert_to_numpy(value)) for name, value in found.items()}
    assert values["rpn_bbox_loss"] == values["mrcnn_bbox_loss"] == values["mrcnn_mask_loss"] == 0
    assert values["mrcnn_class_loss"] > 0


def test_norms_keep_their_statistics_unless_asked(tiny_config, batch):
    network = MaskRCNNNetwork(tiny_config)
    model = TrainingModel(network, categories=2, mask_regions=4)
    before = network.layers_by_name()["mrcnn_class_bn1"].get_weights()
    model(batch, training=True)
    for found, expected in zip(network.layers_by_name()["mrcnn_class_bn1"].get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("train_bn", [None, True])
def test_norms_follow_the_batch_when_asked(tiny_config, batch, train_bn):
    tiny_config.TRAIN_BN = train_bn
    network = MaskRCNNNetwork(tiny_config)
    norm = network.layers_by_name()["mrcnn_class_bn1"]
    norm.set_weights([np.array(weight) + 0.5 for weight in norm.get_weights()])  # nothing is 0 or 1 by chance
    seen = []
    call = norm.call
    norm.call = lambda inputs, **settings: (seen.append(inputs), call(inputs, **settings))[1]
    before = [weight.copy() for weight in norm.get_weights()]
    TrainingModel(network, categories=2, mask_regions=4)(batch, training=True)
    inputs = ops.convert_to_numpy(seen[-1])  # Keras may trace the model before it runs it
    assert len(inputs) == 2 * tiny_config.TRAIN_ROIS_PER_IMAGE
    gamma, beta, mean, variance = norm.get_weights()
    np.testing.assert_array_equal([gamma, beta], before[:2])
    # Ioffe & Szegedy 2015; momentum 0.99, the regions of all images are one batch
    np.testing.assert_allclose(mean, 0.99 * before[2] + 0.01 * inputs.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, 0.99 * before[3] + 0.01 * inputs.var(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_only_none_lets_validation_use_the_stored_statistics(tiny_config, batch):
    for train_bn, moves in ((None, False), (True, True)):
        tiny_config.TRAIN_BN = train_bn
        network = MaskRCNNNetwork(tiny_config)
        norm = network.layers_by_name()["mrcnn_class_bn1"]
        before = norm.get_weights()[3].copy()
        TrainingModel(network, categories=2, mask_regions=4)(batch, training=False)
        assert (norm.get_weights()[3] != before).any() == moves


def test_regions_taken_for_classes_of_other_sources_have_no_loss(tiny_config, batch):
    network = MaskRCNNNetwork(tiny_config)
    layer = network.layers_by_name()["mrcnn_class_logits"]
    layer.set_weights([np.zeros(layer.kernel.shape, np.float32), np.array([0.0, 3.0], np.float32)])
    model = TrainingModel(network, categories=0, mask_regions=4)
    for active, expected in (([[1, 1], [1, 1]], False), ([[1, 0], [1, 0]], True)):
        found = model(dict(batch, active_class_ids=np.array(active, np.int32)))
        assert (float(ops.convert_to_numpy(found["mrcnn_class_loss"])) == 0) == expected
        assert float(ops.convert_to_numpy(found["mrcnn_mask_loss"])) > 0


LAYOUT = Path(__file__).parents[2] / "data" / "oracle" / "matterport_r101_coco_layout.json"

BEHIND = ("fpn_", "rpn_", "mrcnn_")
STARTS = {
    "heads": BEHIND,
    "5+": ("res5", "bn5", *BEHIND),
    "4+": ("res5", "bn5", "res4", "bn4", *BEHIND),
    "3+": ("res5", "bn5", "res4", "bn4", "res3", "bn3", *BEHIND),
    "all": ("",),
}


def layers_with_weights():
    """Names as the original gave them; those of the RPN lie together in one group."""
    groups = [(group, weights) for group, weights in json.loads(LAYOUT.read_text()) if weights]
    return {name.split("/")[-2] if group == "rpn_model" else group for group, weights in groups for name, _ in weights}


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_keywords_of_a_resnet_are_those_of_the_original(keyword):
    names = layers_with_weights()
    found = {name for name in names if re.fullmatch(layer_pattern(keyword, "resnet101"), name)}
    assert found == {name for name in names if name.startswith(STARTS[keyword])}
    assert {"rpn_conv_shared", "mrcnn_mask_bn4", "fpn_p2"} <= found
    assert ("res4w_branch2c" in found, "res3a_branch1" in found, "conv1" in found) == (
        keyword in ("3+", "4+", "all"),
        keyword in ("3+", "all"),
        keyword == "all",
    )


@pytest.mark.parametrize(("keyword", "first"), [("3+", 3), ("4+", 5), ("5+", 11)])
def test_stages_of_the_small_backbone_begin_where_its_stride_doubles(tiny_config, keyword, first):
    network = MaskRCNNNetwork(tiny_config)
    set_trainable(network, layer_pattern(keyword, "efficientnet_lite0"))
    backbone = {name for name in network.backbone_layer_names() if network.layers_by_name()[name].trainable}
    assert {int(re.match(r"lite0_block(\d+)_", name)[1]) for name in backbone} == set(range(first, 16))
    strides = {  # the depthwise convolution of a stage's first block halves the size
        name: layer.strides
        for name, layer in network.layers_by_name().items()
        if name.endswith("_depthwise") and layer.strides != (1, 1)
    }
    assert f"lite0_block{first}_depthwise" in strides
    assert all(layer.trainable for name, layer in network.layers_by_name().items() if name.startswith(BEHIND))


def test_only_the_matching_layers_are_trained_and_a_second_choice_replaces_the_first(tiny_config):
    network = MaskRCNNNetwork(tiny_config)
    set_trainable(network, layer_pattern("all"))
    chosen = set_trainable(network, "mrcnn_mask.*|lite0_stem")
    expected = {"lite0_stem", "mrcnn_mask_deconv", "mrcnn_mask"}
    expected |= {f"mrcnn_mask_{kind}{index}" for kind in ("conv", "bn") for index in range(1, 5)}
    assert {layer.name for layer in chosen} == expected
    trained = {name for name, layer in network.layers_by_name().items() if layer.trainable_variables}
    assert trained == expected


def test_a_pattern_without_a_layer_is_named_and_changes_nothing(tiny_config):
    network = MaskRCNNNetwork(tiny_config)
    set_trainable(network, "fpn_p2")
    with pytest.raises(ValueError, match="no layer with weights has a name that matches 'mrcnn' as a whole"):
        set_trainable(network, "mrcnn")
    assert [name for name, layer in network.layers_by_name().items() if layer.trainable] == ["fpn_p2"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (3, "one of heads, 3[+], 4[+], 5[+], all or a regular expression, got 3"),
        ("(mrcnn", r"got '\(mrcnn': missing \)"),
        (None, "got None"),
    ],
)
def test_what_is_no_pattern(layers, message):
    with pytest.raises(ValueError, match=message):
        layer_pattern(layers)


def test_a_backbone_of_the_users_has_the_names_of_a_resnet():
    assert re.fullmatch(layer_pattern("4+", SimpleNamespace()), "res4b_branch2a")


def test_the_policy_is_restored_after_nested_blocks_and_errors():
    def fail():
        with keras_policy("mixed_bfloat16"):
            with keras_policy("float32"):
                assert keras.layers.Dense(1).compute_dtype == "float32"
            assert keras.layers.Dense(1).compute_dtype == "bfloat16"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert keras.mixed_precision.global_policy().name == "float32"
