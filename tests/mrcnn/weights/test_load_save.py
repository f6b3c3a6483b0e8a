"""Weight files: round trips, the original's layout, and every way in which a file can be wrong."""

import h5py
import numpy as np
import pytest
from keras import ops

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights.checkpoint import WeightsError, read_arrays, read_checkpoint, read_metadata
from mrcnn.weights.load_save import load_weights, save_weights
from tests.mrcnn.tiny import TinyConfig, tiny_network
from tests.mrcnn.weights.checkpoints import FILES, converted

HEADS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"]


class FourClasses(TinyConfig):
    NUM_CLASSES = 4


@pytest.fixture(scope="module")
def network():
    return tiny_network(seed=1)


@pytest.fixture
def path(network, tmp_path):
    path = tmp_path / "tiny.h5"
    save_weights(network, path)
    return path


def all_values(network):
    return {
        f"{name}/{variable.name}": ops.convert_to_numpy(variable).copy()
        for name, layer in network.layers_by_name().items()
        for variable in layer.weights
    }


def assert_same_values(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def rewrite(path, change):
    """Apply a change to the open file."""
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def rename_layer(file, old, new):
    file.move(old, new)
    names = [new.encode() if name == old.encode() else name for name in file.attrs["layer_names"]]
    file.attrs["layer_names"] = np.array(names)


def test_what_was_saved_is_loaded(network, path):
    other = tiny_network(seed=2)
    load_weights(other, path)
    assert_same_values(all_values(other), all_values(network))


def test_a_saved_file_has_the_original_layout(coco_model, oracle_layout, seeded_weights, tmp_path):
    save_weights(coco_model.network, tmp_path / "again.h5")
    with h5py.File(tmp_path / "again.h5") as ours, h5py.File(seeded_weights) as theirs:
        assert dict(ours.attrs).keys() == dict(theirs.attrs).keys()
        assert ours.attrs["layer_names"].tolist() == theirs.attrs["layer_names"].tolist()
        for name in ("backend", "keras_version"):
            assert ours.attrs[name] == theirs.attrs[name]
        for group, weights in oracle_layout:
            assert [name.decode() for name in ours[group].attrs["weight_names"]] == [name for name, _ in weights]
            for name, _ in weights:
                np.testing.assert_array_equal(ours[group][name], theirs[group][name], err_msg=name)


@pytest.mark.parametrize("name", ["torchvision_v2", "detectron2"])
def test_a_network_follows_the_widths_of_another_programs_file(name, monkeypatch, tmp_path):
    monkeypatch.setattr("mrcnn.weights.converted.user_cache", lambda: tmp_path)
    network = MaskRCNNNetwork(read_checkpoint(FILES[name]).config())
    load_weights(network, FILES[name])
    _, layers = converted(name)
    expected = {f"{layer}/{kind}": values for layer, arrays in layers.items() for kind, values in arrays.items()}
    found = all_values(network)
    assert found["conv1/kernel"].shape == (7, 7, 3, 1)
    assert found.keys() == expected.keys()
    for variable, values in expected.items():
        np.testing.assert_array_equal(found[variable].ravel(), values.ravel(), err_msg=variable)


def test_weights_under_model_weights(network, path, tmp_path):
    nested = tmp_path / "nested.h5"
    with h5py.File(path) as source, h5py.File(nested, "w") as target:
        group = target.create_group("model_weights")
        for name in source:
            source.copy(name, group)
        for name, value in source.attrs.items():
            group.attrs[name] = value
    other = tiny_network(seed=2)
    load_weights(other, nested)
    assert_same_values(all_values(other), all_values(network))


def test_numbered_and_old_weight_names(network, path):
    def change(file):
        file["fpn_p2"].move("fpn_p2/kernel:0", "fpn_p2_3/kernel:0")
        file["fpn_p2"].move("fpn_p2/bias:0", "fpn_p2_b:0")
        file["fpn_p2"].attrs["weight_names"] = np.array([b"fpn_p2_3/kernel:0", b"fpn_p2_b:0"])
        rpn = file["rpn_model"]
        rpn.move("rpn_class_raw", "rpn_class_raw_1")
        names = [name.replace(b"class_raw/", b"class_raw_1/") for name in rpn.attrs["weight_names"]]
        rpn.attrs["weight_names"] = np.array(names)

    other = tiny_network(seed=2)
    load_weights(other, rewrite(path, change))
    assert_same_values(all_values(other), all_values(network))


def test_a_list_of_names_in_pieces(network, path):
    def change(file):
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:7], names[7:]

    other = tiny_network(seed=2)
    load_weights(other, rewrite(path, change))
    assert_same_values(all_values(other), all_values(network))


def test_heads_of_another_number_of_classes_are_excluded(network, path):
    other = tiny_network(FourClasses(), seed=2)
    before = all_values(other)
    load_weights(other, path, exclude=HEADS)
    stored, after = all_values(network), all_values(other)
    for name in after:
        expected = before if name.split("/")[0] in HEADS else stored
        np.testing.assert_array_equal(after[name], expected[name], err_msg=name)


def test_another_number_of_classes_is_explained_and_nothing_changes(path):
    other = tiny_network(FourClasses(), seed=2)
    before = all_values(other)
    message = (
        r"tiny.h5: mrcnn_(class_logits|bbox_fc)/kernel has shape \(16, \d+\), this network needs \(16, \d+\): "
        r"the file has 3 classes including the background, NUM_CLASSES is 4.*"
        r"exclude=\['mrcnn_class_logits', 'mrcnn_bbox_fc', 'mrcnn_mask'\]"
    )
    with pytest.raises(WeightsError, match=message):
        load_weights(other, path)
    assert_same_values(all_values(other), before)


def test_bbox_head_counts_four_numbers_a_class(path):
    other = tiny_network(FourClasses(), seed=2)
    with pytest.raises(WeightsError, match=r"mrcnn_bbox_fc/kernel has shape \(16, 12\).*the file has 3 classes"):
        load_weights(other, path, exclude=["mrcnn_class_logits"])


def test_another_width_is_explained(path):
    class Wide(TinyConfig):
        TOP_DOWN_PYRAMID_SIZE = 12

    with pytest.raises(WeightsError, match=r"fpn_c5p5/kernel has shape .*, this network needs .*TOP_DOWN_PYRAMID_SIZE"):
        load_weights(tiny_network(Wide()), path)


def test_a_layer_of_ours_without_a_partner(path):
    rewrite(path, lambda file: rename_layer(file, "fpn_p4", "fpn_p9"))
    with pytest.raises(WeightsError, match=r"tiny.h5 has no layer 'fpn_p4'.*exclude"):
        load_weights(tiny_network(), path)


def test_a_layer_of_the_file_without_a_partner(path):
    def change(file):
        file.copy("fpn_p4", file, "fpn_p9")
        file.attrs["layer_names"] = np.append(file.attrs["layer_names"], b"fpn_p9")

    with pytest.raises(WeightsError, match=r"has the layer 'fpn_p9', which this network .* does not have"):
        load_weights(tiny_network(), rewrite(path, change))


def test_a_layer_with_other_weights(path):
    def change(file):
        file["fpn_p4"].attrs["weight_names"] = file["fpn_p4"].attrs["weight_names"][:1]

    with pytest.raises(WeightsError, match="layer fpn_p4 must have the weights bias, kernel, the file has kernel"):
        load_weights(tiny_network(), rewrite(path, change))


def test_numbers_that_are_none(path):
    def change(file):
        shape = file["fpn_p4/fpn_p4/bias:0"].shape
        del file["fpn_p4/fpn_p4/bias:0"]
        file["fpn_p4/fpn_p4/bias:0"] = np.full(shape, b"x")

    with pytest.raises(WeightsError, match="fpn_p4/bias must hold floating-point numbers"):
        load_weights(tiny_network(), rewrite(path, change))


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        (["mrcnn_clas_logits"], "exclude names 'mrcnn_clas_logits', which"),
        ("mrcnn_mask", r"must be a list .*\['mrcnn_mask'\]"),
    ],
)
def test_wrong_exclude(path, exclude, message):
    with pytest.raises(WeightsError, match=message):
        load_weights(tiny_network(), path, exclude=exclude)


def test_the_whole_rpn_can_be_excluded(network, path):
    other = tiny_network(seed=2)
    before = all_values(other)
    load_weights(other, path, exclude=["rpn_model"])
    after = all_values(other)
    np.testing.assert_array_equal(after["rpn_conv_shared/kernel"], before["rpn_conv_shared/kernel"])
    np.testing.assert_array_equal(after["fpn_p2/kernel"], all_values(network)["fpn_p2/kernel"])


def test_a_backbone_alone(network, path):
    def change(file):
        names = [name for name in file.attrs["layer_names"] if name.startswith(b"tiny")]
        file.attrs["layer_names"] = np.array([*names, b"fc1000"])
        file.create_group("fc1000").attrs["weight_names"] = np.array([b"fc1000/bias:0"])
        file["fc1000/fc1000/bias:0"] = np.zeros(3, np.float32)

    rewrite(path, change)
    other = tiny_network(seed=2)
    before = all_values(other)
    with pytest.raises(WeightsError, match="has no layer 'fpn_"):
        load_weights(other, path)
    load_weights(other, path, backbone_only=True)
    third = tiny_network(seed=2)
    load_weights(third, path, backbone_only=None)  # what the file is decides
    assert_same_values(all_values(third), all_values(other))
    after, stored = all_values(other), all_values(network)
    np.testing.assert_array_equal(after["tiny4_bn/moving_mean"], stored["tiny4_bn/moving_mean"])
    np.testing.assert_array_equal(after["fpn_p2/kernel"], before["fpn_p2/kernel"])


def test_a_whole_file_is_not_taken_for_a_backbone(network, path):
    other = tiny_network(seed=2)
    load_weights(other, path, backbone_only=None)
    assert_same_values(all_values(other), all_values(network))


def test_layers_without_weights_can_be_excluded_too(network, path):
    other = tiny_network(seed=2)
    before = all_values(other)
    load_weights(other, path, exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"])
    after = all_values(other)
    np.testing.assert_array_equal(after["mrcnn_mask/kernel"], before["mrcnn_mask/kernel"])
    np.testing.assert_array_equal(after["fpn_p2/kernel"], all_values(network)["fpn_p2/kernel"])


def test_files_that_are_none(tmp_path, path):
    content = path.read_bytes()
    cut, empty, text, foreign = (tmp_path / name for name in ("cut.h5", "empty.h5", "text.h5", "foreign.h5"))
    cut.write_bytes(content[: len(content) // 2])
    empty.write_bytes(b"")
    text.write_bytes(b"version https://git-lfs")
    with h5py.File(foreign, "w") as file:
        file["temperature"] = np.arange(3)
    expected = {
        tmp_path / "missing.h5": "missing.h5 does not exist$",
        tmp_path: "is a folder",
        empty: r"empty.h5 is empty \(0 bytes\)",
        cut: "cut.h5 is damaged or truncated",
        text: "text.h5 is not an HDF5 file",
        foreign: r"without the attribute 'layer_names'.*\(it has 'temperature'\)",
    }
    for wrong, message in expected.items():
        with pytest.raises(WeightsError, match=message):
            load_weights(tiny_network(), wrong)


def test_a_checkpoint_of_something_else(tmp_path):
    path = tmp_path / "vgg.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"block1_conv1"])
        file.create_group("block1_conv1").attrs["weight_names"] = np.array([b"block1_conv1/kernel:0"])
        file["block1_conv1/block1_conv1/kernel:0"] = np.zeros((3, 3, 3, 64), np.float32)
    with pytest.raises(WeightsError, match=r"none of the layers of a Mask R-CNN.*'block1_conv1'"):
        load_weights(tiny_network(), path)


def test_a_group_that_is_listed_and_missing(path):
    def change(file):
        del file["fpn_p3"]

    with pytest.raises(WeightsError, match="damaged or truncated"):
        read_arrays(rewrite(path, change))


def test_settings_travel_with_the_file(network, path, tmp_path):
    assert read_metadata(path) is None
    metadata = {"config": {"NUM_CLASSES": 3}, "class_names": ["BG", "person", "café"]}
    save_weights(network, tmp_path / "with.h5", metadata)
    assert read_metadata(tmp_path / "with.h5") == metadata
    load_weights(tiny_network(), tmp_path / "with.h5")


@pytest.mark.parametrize("text", ["{", "[]", '{"class_names": []}'])
def test_damaged_settings(path, text):
    rewrite(path, lambda file: file.attrs.__setitem__("stream_segment", text))
    with pytest.raises(WeightsError, match="stream_segment"):
        read_metadata(path)


def test_a_failed_save_leaves_the_old_file_and_no_part(network, path, tmp_path):
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(network, path, {"config": object()})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.h5"]
    with pytest.raises(OSError, match="nowhere"):
        save_weights(network, tmp_path / "nowhere" / "x.h5")
