"""The order of the groups in a weight file, against the layout that the original wrote."""

from types import SimpleNamespace

from mrcnn.weights.layout import backbone_of, file_groups, group_layers
from tests.mrcnn.tiny import tiny_network


def test_resnet101_has_the_recorded_order(oracle_layout):
    network = SimpleNamespace(config=SimpleNamespace(BACKBONE="resnet101"))
    assert file_groups(network) == [group for group, _ in oracle_layout]


def test_resnet50_counts_its_own_blocks():
    groups = file_groups(SimpleNamespace(config=SimpleNamespace(BACKBONE="resnet50")))
    assert [group for group in groups if group.startswith("res4") and group.endswith("out")] == [
        f"res4{letter}_out" for letter in "abcdef"
    ]
    # 16 blocks of three activations, of which the last is called …_out, and the first convolution's
    assert [group for group in groups if group.startswith("activation")][32] == "activation_33"
    assert groups[groups.index("mrcnn_class_bn1") + 1] == "activation_34"
    assert groups[groups.index("mrcnn_mask_bn1") + 1] == "activation_37"


def test_another_backbone_lists_its_own_layers():
    groups = file_groups(tiny_network())
    assert groups[:5] == ["input_image", "tiny2_conv", "tiny2_bn", "tiny3_conv", "tiny3_bn"]
    assert groups[groups.index("tiny5_bn") + 1] == "fpn_c5p5"


def test_the_rpn_lies_in_one_group():
    assert group_layers("rpn_model") == ("rpn_conv_shared", "rpn_conv_shared2", "rpn_class_raw", "rpn_bbox_pred")
    assert group_layers("fpn_p2") == ("fpn_p2",)


def test_backbones_are_recognized_by_their_layers(oracle_layout):
    assert backbone_of(group for group, _ in oracle_layout) == "resnet101"
    assert backbone_of(file_groups(SimpleNamespace(config=SimpleNamespace(BACKBONE="resnet50")))) == "resnet50"
    assert backbone_of(["lite0_stem", "fpn_p5"]) == "efficientnet_lite0"
    assert backbone_of(["block1_conv1", "res4a_branch2a"]) is None
