"""Small weight files for tests."""

import h5py
import numpy as np


def write_file(path, layers, under=None):
    """A file in Keras 2's layout: layers is {group: {weight name: shape}}."""
    with h5py.File(path, "w") as file:
        root = file if under is None else file.create_group(under)
        root.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for name, weights in layers.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = np.array([weight.encode() for weight in weights], dtype="S64")
            for index, (weight, shape) in enumerate(weights.items()):
                group.create_dataset(weight, data=np.full(shape, index, np.float32))
    return path


def layers_of(classes=7, blocks=6):
    """Layers by which a Mask R-CNN is recognized, with few weights."""
    stage_4 = {f"res4{chr(ord('a') + i)}_branch2a": {} for i in range(blocks)}
    return {
        **stage_4,
        "fpn_p5": {},
        "rpn_model": {"rpn_conv_shared/kernel:0": (3, 3, 2, 5), "rpn_conv_shared/bias:0": (5,)},
        "mrcnn_class_logits": {
            "mrcnn_class_logits/kernel:0": (4, classes), "mrcnn_class_logits/bias:0": (classes,)
        },
        "mrcnn_bbox_fc": {},
        "mrcnn_mask": {},
    }  # fmt: skip
