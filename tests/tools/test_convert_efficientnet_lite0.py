"""Folding a normalization into a convolution gives what the two give one after the other."""

import importlib.util
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).parents[2] / "tools" / "convert_efficientnet_lite0.py"


def load_script():
    spec = importlib.util.spec_from_file_location("convert_efficientnet_lite0", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def norm(name, channels, rng):
    return {
        f"{name}.weight": rng.uniform(0.5, 2, channels),
        f"{name}.bias": rng.normal(size=channels),
        f"{name}.running_mean": rng.normal(size=channels),
        f"{name}.running_var": rng.uniform(0.1, 3, channels),
    }


def test_every_layer_of_the_backbone_is_converted():
    import keras

    script = load_script()
    image = keras.Input((64, 64, 3))
    backbone = keras.Model(image, script.build_efficientnet_lite0(image))
    rng = np.random.default_rng(0)
    state = {}
    for layer in backbone.layers:
        if not layer.weights:
            continue
        height, width, inputs, outputs = layer.weights[0].shape
        block = layer.name.removeprefix("lite0_").rpartition("_")[0].removeprefix("block")
        prefix, bn = {
            "stem": ("_conv_stem", "_bn0"),
            "expand": (f"_blocks.{block}._expand_conv", f"_blocks.{block}._bn0"),
            "depthwise": (f"_blocks.{block}._depthwise_conv", f"_blocks.{block}._bn1"),
            "project": (f"_blocks.{block}._project_conv", f"_blocks.{block}._bn2"),
        }[layer.name.rpartition("_")[2]]
        shape = (inputs, 1, height, width) if "depthwise" in prefix else (outputs, inputs, height, width)
        state[f"{prefix}.weight"] = rng.normal(size=shape)
        state |= norm(bn, shape[0], rng)
    converted = script.convert(state)
    check_pointwise(converted["lite0_block1_expand"], state, "_blocks.1._expand_conv", "_blocks.1._bn0")
    for layer in backbone.layers:
        if layer.weights:
            arrays = converted.pop(layer.name)
            assert [tuple(w.shape) for w in layer.weights] == [arrays["kernel"].shape, arrays["bias"].shape]
    assert not converted


def check_pointwise(folded, state, convolution, bn):
    """A folded 1x1 convolution equals the convolution and then the normalization."""
    kernel = state[f"{convolution}.weight"][:, :, 0, 0]
    weight, bias, mean, variance = (state[f"{bn}.{name}"] for name in ("weight", "bias", "running_mean", "running_var"))
    x = np.random.default_rng(1).normal(size=kernel.shape[1])
    expected = weight * (kernel @ x - mean) / np.sqrt(variance + 1e-3) + bias
    np.testing.assert_allclose(x @ folded["kernel"][0, 0] + folded["bias"], expected, rtol=1e-4, atol=1e-5)
