"""Names of layers in the state dicts of torchvision and detectron2, and networks that are not supported."""

import pytest

from mrcnn.weights.foreign_names import DETECTRON2, TORCHVISION, layer_of, origin_of
from mrcnn.weights.hdf5 import WeightsError


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("backbone.body.conv1.weight", "conv1"),
        ("backbone.body.bn1.running_var", "bn_conv1"),
        ("backbone.body.layer1.0.conv1.weight", "res2a_branch2a"),
        ("backbone.body.layer1.0.bn3.bias", "bn2a_branch2c"),
        ("backbone.body.layer4.2.conv2.weight", "res5c_branch2b"),
        ("backbone.body.layer3.22.conv3.weight", "res4w_branch2c"),
        ("backbone.body.layer2.0.downsample.0.weight", "res3a_branch1"),
        ("backbone.body.layer2.0.downsample.1.weight", "bn3a_branch1"),
        ("backbone.fpn.inner_blocks.0.0.weight", "fpn_c2p2"),
        ("backbone.fpn.inner_blocks.3.weight", "fpn_c5p5"),
        ("backbone.fpn.inner_blocks.3.1.weight", "fpn_c5p5_bn"),
        ("backbone.fpn.layer_blocks.1.0.bias", "fpn_p3"),
        ("backbone.fpn.layer_blocks.2.bias", "fpn_p4"),
        ("backbone.fpn.layer_blocks.0.1.bias", "fpn_p2_bn"),
        ("rpn.head.conv.weight", "rpn_conv_shared"),
        ("rpn.head.conv.0.0.weight", "rpn_conv_shared"),
        ("rpn.head.conv.1.0.bias", "rpn_conv_shared2"),
        ("rpn.head.cls_logits.bias", "rpn_class_raw"),
        ("rpn.head.bbox_pred.bias", "rpn_bbox_pred"),
        ("roi_heads.box_head.fc6.weight", "mrcnn_class_conv1"),
        ("roi_heads.box_head.fc7.weight", "mrcnn_class_conv2"),
        ("roi_heads.box_head.0.0.weight", "mrcnn_box_conv1"),
        ("roi_heads.box_head.3.1.weight", "mrcnn_box_bn4"),
        ("roi_heads.box_head.5.bias", "mrcnn_class_conv1"),
        ("roi_heads.box_predictor.cls_score.bias", "mrcnn_class_logits"),
        ("roi_heads.box_predictor.bbox_pred.bias", "mrcnn_bbox_fc"),
        ("roi_heads.mask_head.mask_fcn2.weight", "mrcnn_mask_conv2"),
        ("roi_heads.mask_head.2.0.weight", "mrcnn_mask_conv3"),
        ("roi_heads.mask_head.3.1.running_mean", "mrcnn_mask_bn4"),
        ("roi_heads.mask_predictor.conv5_mask.weight", "mrcnn_mask_deconv"),
        ("roi_heads.mask_predictor.mask_fcn_logits.bias", "mrcnn_mask"),
        ("roi_heads.mask_head.3.1.num_batches_tracked", None),
    ],
)
def test_torchvision(name, layer):
    assert layer_of(TORCHVISION, name) == layer


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("backbone.bottom_up.stem.conv1.weight", "conv1"),
        ("backbone.bottom_up.stem.conv1.norm.weight", "bn_conv1"),
        ("backbone.bottom_up.res2.0.shortcut.weight", "res2a_branch1"),
        ("backbone.bottom_up.res2.0.shortcut.norm.bias", "bn2a_branch1"),
        ("backbone.bottom_up.res4.22.conv3.weight", "res4w_branch2c"),
        ("backbone.bottom_up.res5.1.conv2.norm.running_var", "bn5b_branch2b"),
        ("backbone.fpn_lateral5.weight", "fpn_c5p5"),
        ("backbone.fpn_output2.bias", "fpn_p2"),
        ("proposal_generator.rpn_head.conv.weight", "rpn_conv_shared"),
        ("proposal_generator.rpn_head.objectness_logits.weight", "rpn_class_raw"),
        ("proposal_generator.rpn_head.anchor_deltas.weight", "rpn_bbox_pred"),
        ("roi_heads.box_head.fc1.weight", "mrcnn_class_conv1"),
        ("roi_heads.box_head.fc2.weight", "mrcnn_class_conv2"),
        ("roi_heads.box_predictor.cls_score.weight", "mrcnn_class_logits"),
        ("roi_heads.box_predictor.bbox_pred.weight", "mrcnn_bbox_fc"),
        ("roi_heads.mask_head.mask_fcn4.weight", "mrcnn_mask_conv4"),
        ("roi_heads.mask_head.deconv.weight", "mrcnn_mask_deconv"),
        ("roi_heads.mask_head.predictor.weight", "mrcnn_mask"),
        ("proposal_generator.anchor_generator.cell_anchors.4", None),
        ("pixel_mean", None),
    ],
)
def test_detectron2(name, layer):
    assert layer_of(DETECTRON2, name) == layer


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        (TORCHVISION, "roi_heads.keypoint_head.0.weight"),
        (TORCHVISION, "backbone.body.layer1.999.conv1.weight"),
        (TORCHVISION, "backbone.body.layer1.0.conv1.0.weight"),
        (TORCHVISION, "backbone.fpn.extra_blocks.p6.weight"),
        (TORCHVISION, "weight"),
        (TORCHVISION, "backbone.body.conv1\n.weight"),
        (DETECTRON2, "roi_heads.box_head.0.fc1.weight"),
        (DETECTRON2, "roi_heads.mask_head.mask_fcn5.weight"),
    ],
)
def test_layers_that_are_not_supported(origin, name):
    with pytest.raises(WeightsError, match="which no Mask R-CNN of"):
        layer_of(origin, name)


@pytest.mark.parametrize(
    "name",
    [
        "backbone.fpn_lateral3.norm.weight",
        "backbone.fpn_output3.norm.running_mean",
        "proposal_generator.rpn_head.conv.conv0.weight",
        "roi_heads.box_head.conv1.weight",
    ],
)
def test_detectron2s_newer_baselines_are_refused(name):
    with pytest.raises(WeightsError, match=r"newer baselines \(LSJ\).*are not supported\. Use .*coco-r50-3x"):
        origin_of(["backbone.bottom_up.stem.conv1.weight", name])


def test_origins():
    assert origin_of(["x", "backbone.body.conv1.weight"]) is TORCHVISION
    assert origin_of(["backbone.bottom_up.stem.conv1.weight"]) is DETECTRON2
    with pytest.raises(WeightsError, match=r"has the tensors 'fc\.weight', 'conv1\.weight': it is no Mask R-CNN"):
        origin_of(["fc.weight", "conv1.weight"])
