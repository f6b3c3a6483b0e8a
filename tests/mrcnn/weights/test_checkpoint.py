"""What a weight file says about its network: of Matterport's package, of this one, and of neither."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mrcnn.weights.checkpoint import WeightsError, read_checkpoint
from tests.mrcnn.weights.files import layers_of, write_file

SETTINGS = {"NUM_CLASSES": 3, "BACKBONE": "resnet50", "MEAN_PIXEL": [1.5, 2.5, 3.5], "IMAGE_MAX_DIM": 512}


def with_metadata(path, metadata, **shape):
    with h5py.File(write_file(path, layers_of(3, **shape)), "a") as file:
        file.attrs["stream_segment"] = json.dumps(metadata)
    return path


@pytest.mark.parametrize(("blocks", "backbone"), [(6, "resnet50"), (23, "resnet101"), (0, None), (7, None)])
@pytest.mark.parametrize("under", [None, "model_weights"])
def test_a_file_of_matterports_package(tmp_path, blocks, backbone, under):
    path = write_file(tmp_path / "a.h5", layers_of(7, blocks), under)
    checkpoint = read_checkpoint(str(path))
    assert (checkpoint.path, checkpoint.num_classes, checkpoint.backbone) == (path, 7, backbone)
    assert checkpoint.class_names is None
    assert checkpoint.metadata is None


def test_its_settings_are_matterports_defaults(tmp_path):
    config = read_checkpoint(write_file(tmp_path / "a.h5", layers_of(7, 23))).config({"DETECTION_MIN_CONFIDENCE": 0.4})
    assert (config.NUM_CLASSES, config.BACKBONE, config.BATCH_SIZE, config.IMAGE_META_SIZE) == (7, "resnet101", 1, 19)
    assert (config.IMAGE_MAX_DIM, config.DETECTION_MIN_CONFIDENCE, config.DETECTION_NMS_THRESHOLD) == (1024, 0.4, 0.3)
    np.testing.assert_array_equal(config.MEAN_PIXEL, [123.7, 116.8, 103.9])


@pytest.mark.parametrize("extra", [{}, {"lite0_stem": {}}])
def test_without_settings_another_backbone_is_unknown(tmp_path, extra):
    checkpoint = read_checkpoint(write_file(tmp_path / "a.h5", {**extra, **layers_of(7, 0)}))
    assert checkpoint.backbone == ("efficientnet_lite0" if extra else None)
    with pytest.raises(WeightsError, match=r"a\.h5 has neither settings nor a ResNet-50 or ResNet-101 backbone"):
        checkpoint.config()


def test_a_file_of_ours(tmp_path):
    metadata = {"config": SETTINGS, "class_names": ["BG", "cat", "dog"]}
    checkpoint = read_checkpoint(with_metadata(tmp_path / "a.h5", metadata))
    assert checkpoint.class_names == ("BG", "cat", "dog")
    assert checkpoint.metadata == metadata
    config = checkpoint.config({"IMAGE_MAX_DIM": 640, "IMAGES_PER_GPU": 2})
    assert (config.NUM_CLASSES, config.BACKBONE, config.IMAGE_MAX_DIM, config.BATCH_SIZE) == (3, "resnet50", 640, 2)
    np.testing.assert_array_equal(config.MEAN_PIXEL, [1.5, 2.5, 3.5])
    assert checkpoint.config().IMAGE_MAX_DIM == 512


def test_a_file_of_ours_may_have_any_backbone_and_no_class_names(tmp_path):
    settings = SETTINGS | {"BACKBONE": "efficientnet_lite0"}
    checkpoint = read_checkpoint(with_metadata(tmp_path / "a.h5", {"config": settings}, blocks=0))
    assert checkpoint.class_names is None
    assert checkpoint.config().BACKBONE == "efficientnet_lite0"


@pytest.mark.parametrize(
    ("settings", "overrides", "message"),
    [
        ({"SHINE": 1}, {}, r"a\.h5: .*unknown setting 'SHINE'"),
        ({"BACKBONE": "vgg"}, {}, r"a\.h5: .*BACKBONE must be one of resnet50"),
        ({}, {"IMAGE_MAX_DIM": 500}, r"a\.h5: .*IMAGE_MAX_DIM must be a multiple of 64"),
    ],
)
def test_invalid_settings_are_named_with_the_file(tmp_path, settings, overrides, message):
    checkpoint = read_checkpoint(with_metadata(tmp_path / "a.h5", {"config": SETTINGS | settings}))
    with pytest.raises(WeightsError, match=message):
        checkpoint.config(overrides)


def test_class_names_of_another_number_of_classes(tmp_path):
    path = with_metadata(tmp_path / "a.h5", {"config": SETTINGS, "class_names": ["BG", "cat"]})
    with pytest.raises(WeightsError, match="must be 3 names, got"):
        read_checkpoint(path)


def test_another_networks_file_names_what_is_missing(tmp_path):
    path = write_file(tmp_path / "vgg.h5", {"block1_conv1": {"block1_conv1/kernel:0": (3, 3, 3, 4)}})
    with pytest.raises(WeightsError, match=r"vgg\.h5 has no layer 'fpn_p5'.*not a Mask R-CNN checkpoint"):
        read_checkpoint(path)


def test_a_class_layer_without_bias(tmp_path):
    layers = {**layers_of(), "mrcnn_class_logits": {"mrcnn_class_logits/kernel:0": (4, 7)}}
    with pytest.raises(WeightsError, match="mrcnn_class_logits has no bias"):
        read_checkpoint(write_file(tmp_path / "a.h5", layers))


def test_a_file_that_ends_early(tmp_path):
    path = write_file(tmp_path / "a.h5", layers_of(2000))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="damaged or truncated"):
        read_checkpoint(path)


def test_reading_a_checkpoint_loads_no_framework():
    code = (
        "import sys, mrcnn.weights.checkpoint, mrcnn.weights.load_save, mrcnn.engines.create, mrcnn.engines.quantize; "
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow', 'jax', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
