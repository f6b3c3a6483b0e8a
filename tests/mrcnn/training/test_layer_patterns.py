"""Which layers each keyword means: for the ResNets by the recorded names of the original's file."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.layer_patterns import KEYWORDS, layer_pattern, set_trainable

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
