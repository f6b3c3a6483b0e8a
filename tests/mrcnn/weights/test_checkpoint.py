import subprocess
import sys

import h5py
import numpy as np
import pytest

from mrcnn.weights.checkpoint import WeightsError, read_arrays, read_metadata, summarize


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


def checkpoint(classes=7, blocks=6):
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


@pytest.mark.parametrize(("blocks", "backbone"), [(6, "resnet50"), (23, "resnet101"), (0, None)])
@pytest.mark.parametrize("under", [None, "model_weights"])
def test_summary_of_a_file(tmp_path, blocks, backbone, under):
    summary = summarize(write_file(tmp_path / "a.h5", checkpoint(7, blocks), under))
    assert (summary.num_classes, summary.backbone, summary.metadata) == (7, backbone, None)


def test_arrays_by_layer_and_kind(tmp_path):
    arrays = read_arrays(write_file(tmp_path / "a.h5", checkpoint(3)))
    assert arrays["rpn_conv_shared"]["kernel"].shape == (3, 3, 2, 5)
    assert arrays["rpn_conv_shared"]["bias"].tolist() == [1, 1, 1, 1, 1]
    assert arrays["mrcnn_class_logits"]["bias"].shape == (3,)


def test_another_networks_file_names_what_is_missing(tmp_path):
    path = write_file(tmp_path / "vgg.h5", {"block1_conv1": {"block1_conv1/kernel:0": (3, 3, 3, 4)}})
    with pytest.raises(WeightsError, match=r"vgg\.h5 has no layer 'fpn_p5'.*not a Mask R-CNN checkpoint"):
        summarize(path)


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("measurements", data=[1, 2])
    with pytest.raises(WeightsError, match=r"'measurements'.*not a Mask R-CNN checkpoint"):
        summarize(tmp_path / "x.h5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, world", "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "damaged or cut off"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "bad.h5"
    path.write_bytes(content)
    for read in (summarize, read_arrays, read_metadata):
        with pytest.raises(WeightsError, match=message):
            read(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        summarize(tmp_path / "absent.h5")
    with pytest.raises(WeightsError, match="is a folder"):
        summarize(tmp_path)


def test_a_file_cut_off_in_the_middle(tmp_path):
    path = write_file(tmp_path / "a.h5", checkpoint(2000))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="damaged or cut off"):
        summarize(path)


def test_settings_that_are_no_json(tmp_path):
    path = write_file(tmp_path / "a.h5", checkpoint())
    with h5py.File(path, "a") as file:
        file.attrs["stream_segment"] = "{not json"
    with pytest.raises(WeightsError, match="not valid JSON"):
        summarize(path)


def test_looking_at_a_file_loads_no_framework():
    code = (
        "import sys, mrcnn.weights.checkpoint, mrcnn.weights.metadata; "
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow', 'jax', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
