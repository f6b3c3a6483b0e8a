"""Where a run starts: what is taken from which weight file."""

import h5py
import numpy as np
import pytest
from keras import ops

from mrcnn.architecture import ARCHITECTURES
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.initialization import load_initial_weights, plan_initialization, prepare_new_layers
from mrcnn.weights.checkpoint import WeightsError
from mrcnn.weights.load_save import save_weights
from mrcnn.weights.metadata import describe
from tests.mrcnn.tiny import tiny_config as tiny_config_of


@pytest.fixture
def network(tiny_config):
    return MaskRCNNNetwork(tiny_config)


@pytest.fixture
def file(network, tiny_config, tmp_path):
    save_weights(network, tmp_path / "tiny.h5", describe(tiny_config, ["BG", "person"]))
    return tmp_path / "tiny.h5"


def same(mine, theirs, name):
    pairs = zip(mine.layers_by_name()[name].get_weights(), theirs.layers_by_name()[name].get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_same_classes_take_everything(network, file):
    plan = plan_initialization(file, ["BG", "person"], side=128)
    assert plan.describe() == f"everything from {file}"
    assert (plan.config.IMAGE_MAX_DIM, plan.config.IMAGE_MIN_DIM, plan.config.TOP_DOWN_PYRAMID_SIZE) == (128, 100, 8)
    assert plan.config.TRAIN_ROIS_PER_IMAGE == 96
    started = MaskRCNNNetwork(plan.config)
    load_initial_weights(started, plan, seed=1)
    assert all(same(started, network, name) for name in network.layers_by_name())


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_every_architecture_keeps_its_settings_with_other_classes_and_another_size(architecture, tmp_path):
    modes = {"IMAGE_RESIZE_MODE": "square", "IMAGE_MIN_DIM": 96, "IMAGE_MAX_DIM": 128}
    if architecture != "matterport":
        modes = {"IMAGE_RESIZE_MODE": "shortest", "IMAGE_MIN_DIM": 60, "IMAGE_MAX_DIM": 100}
    config = tiny_config_of(architecture, BACKBONE="efficientnet_lite0", NUM_CLASSES=4, **modes)
    network = MaskRCNNNetwork(config)
    bias = np.arange(4) + 1.0
    network.layers_by_name()["mrcnn_class_logits"].bias.assign(bias)
    network.layers_by_name()["mrcnn_mask"].bias.assign(bias)
    save_weights(network, tmp_path / "a.h5", describe(config, ["BG", "cup", "person", "unused 3"]))
    plan = plan_initialization(tmp_path / "a.h5", ["BG", "person", "dog"], side=320)
    assert getattr(plan.config, "ARCHITECTURE", "matterport") == architecture
    assert plan.config.IMAGE_MAX_DIM == 320
    assert plan.config.IMAGE_MIN_DIM == (250 if architecture == "matterport" else 192)  # 0.78, or the file's 0.6
    started = MaskRCNNNetwork(plan.config)
    load_initial_weights(started, plan, seed=1)
    assert set(started.layers_by_name()) == set(network.layers_by_name())
    kept = set(network.layers_by_name()) - {"mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"}
    assert all(same(started, network, name) for name in kept)
    logits, masks = (started.layers_by_name()[name].get_weights()[1] for name in ("mrcnn_class_logits", "mrcnn_mask"))
    np.testing.assert_array_equal(logits, [1, 3, 0])
    np.testing.assert_array_equal(masks, [1, 3, 3])  # a new class begins as the mean of 2, 3 and 4


def test_other_classes_keep_the_rows_of_known_names(network, file):
    for name in ("mrcnn_bbox_fc", "mrcnn_mask", "mrcnn_class_logits"):
        bias = network.layers_by_name()[name].bias
        bias.assign(np.arange(bias.shape[0]) + 1.0)
    save_weights(network, file, describe(network.config, ["BG", "person"]))
    plan = plan_initialization(file, ["BG", "cup", "person"])
    assert plan.describe() == f"all but the class layers from {file}, and its class rows of person"
    assert plan.config.IMAGE_MAX_DIM == 64  # the file's
    started = MaskRCNNNetwork(plan.config)
    load_initial_weights(started, plan, seed=1)
    assert same(started, network, "fpn_p2")
    assert same(started, network, "lite0_stem")

    def weights(which, name):
        return which.layers_by_name()[name].get_weights()

    (old_kernel, _), (kernel, bias) = (
        weights(network, "mrcnn_class_logits"),
        weights(started, "mrcnn_class_logits"),
    )
    np.testing.assert_array_equal(kernel[:, [0, 2]], old_kernel)
    np.testing.assert_array_equal(bias, [1, 0, 2])
    assert 0 < np.abs(kernel[:, 1]).max() < 0.1
    (old_kernel, _), (kernel, bias) = weights(network, "mrcnn_bbox_fc"), weights(started, "mrcnn_bbox_fc")
    np.testing.assert_array_equal(kernel[:, 8:], old_kernel[:, 4:])
    np.testing.assert_array_equal(kernel[:, 4:8], old_kernel[:, 4:])  # the only class is the average of all
    np.testing.assert_array_equal(bias, [1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8])
    assert weights(started, "mrcnn_mask")[1].tolist() == [1, 2, 2]


def test_a_backbone_alone_leaves_everything_else_new(network, file, tmp_path):
    backbone = tmp_path / "backbone.h5"
    with h5py.File(file) as source, h5py.File(backbone, "w") as target:
        names = [name for name in source.attrs["layer_names"] if name.startswith(b"lite0_")]
        target.attrs["layer_names"] = np.array(names)
        for name in names:
            source.copy(source[name], target, name.decode())
    plan = plan_initialization(backbone, ["BG", "cup", "dog"])
    assert plan.backbone_only
    assert plan.describe() == f"backbone from {backbone}, everything else new"
    assert (plan.config.NUM_CLASSES, plan.config.IMAGE_MAX_DIM, plan.config.TOP_DOWN_PYRAMID_SIZE) == (3, 512, 64)
    started = MaskRCNNNetwork(plan.config)
    load_initial_weights(started, plan, seed=1)
    assert same(started, network, "lite0_block4_expand")
    assert np.abs(started.layers_by_name()["mrcnn_class_logits"].get_weights()[0]).max() < 0.1


def write_resnet(path, blocks, classes):
    """A file with the names that tell a ResNet, and class layers of the size that tells the classes."""
    layers = {f"res4{chr(97 + i)}_branch2a": {"kernel": (1, 1, 2, 2)} for i in range(blocks)} | {
        "mrcnn_class_logits": {"kernel": (4, classes), "bias": (classes,)}
    }
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for name, kinds in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/{kind}:0".encode() for kind in kinds])
            for kind, shape in kinds.items():
                group[f"{name}/{kind}:0"] = np.zeros(shape, np.float32)


@pytest.mark.parametrize(("blocks", "backbone"), [(6, "resnet50"), (23, "resnet101")])
def test_matterports_files_are_known_by_their_layers(tmp_path, blocks, backbone):
    write_resnet(tmp_path / "a.h5", blocks, classes=3)
    plan = plan_initialization(tmp_path / "a.h5", ["BG", "dog"], names_by_count={3: ("BG", "cup", "dog")})
    assert (plan.config.BACKBONE, plan.config.IMAGE_MAX_DIM, plan.config.TOP_DOWN_PYRAMID_SIZE) == (backbone, 1024, 256)
    assert plan.file_names == ("BG", "cup", "dog")
    assert not plan.same_classes
    assert plan_initialization(tmp_path / "a.h5", ["BG", "dog"]).file_names is None


def test_another_architecture_is_one_clear_line(file, tmp_path):
    with pytest.raises(WeightsError, match="has the backbone efficientnet_lite0, expected resnet50"):
        plan_initialization(file, ["BG", "dog"], backbone="resnet50")
    write_resnet(tmp_path / "odd.h5", 9, classes=3)
    with pytest.raises(WeightsError, match="has none of the backbones"):
        plan_initialization(tmp_path / "odd.h5", ["BG", "dog"])
    write_resnet(tmp_path / "cut.h5", 6, classes=2)
    plan = plan_initialization(tmp_path / "cut.h5", ["BG", "dog"])
    with pytest.raises(WeightsError, match="has no layer 'conv1'"):
        load_initial_weights(MaskRCNNNetwork(plan.config), plan, seed=1)


def test_new_layers_start_near_zero(network):
    before = network.layers_by_name()["fpn_c4p4"].get_weights()[0].copy()
    prepare_new_layers(network, seed=0)
    logits, deltas = network.features(ops.zeros((1, 64, 128, 3)))[1:]
    assert np.abs(ops.convert_to_numpy(logits)).max() < 0.5
    assert np.abs(ops.convert_to_numpy(deltas)).max() < 0.5
    np.testing.assert_allclose(network.layers_by_name()["fpn_c4p4"].get_weights()[0], 0.15 * before, rtol=1e-5)
