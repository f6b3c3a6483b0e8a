"""Changes of a graph that make it int8: found, kept in a file, and applied to the same graph read anew."""

import io
import json

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from mrcnn.engines.base import EngineError
from mrcnn.engines.calibration import (
    ACTIVATION,
    CONSTANT,
    WEIGHTS,
    Calibration,
    CalibrationFault,
    Change,
    apply_changes,
    calibration_path,
    changes_between,
    layer_groups,
    name_operations,
    read_calibration,
    without,
    write_calibration,
)
from tests.unreadable import refuse_below

KERNEL = np.array([[0.5, -1.27, 0.0], [0.2, 0.4, -0.6]], np.float32).reshape(2, 3, 1, 1)
SCALE = np.array([0.01, 0.0], np.float32).reshape(2, 1, 1, 1)


def network():
    """Images (1, 3, 2, 2) through a convolution, a bias and a ReLU that nobody named."""
    images = ops.parameter([1, 3, 2, 2], np.float32)
    images.set_friendly_name("images")
    convolution = ops.convolution(images, ops.constant(KERNEL), [1, 1], [0, 0], [0, 0], [1, 1])
    convolution.set_friendly_name("conv")
    biased = ops.add(convolution, ops.constant(np.array([1.0, 2.0], np.float32).reshape(1, 2, 1, 1)))
    biased.set_friendly_name("biased")
    model = openvino.Model([ops.relu(biased)], [images], "network")
    name_operations(model)
    return model


def result(model, images):
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]


CHANGES = [
    Change(ACTIVATION, [("conv", 0)], [np.array(limit, np.float32) for limit in (0, 2.55, 0, 2.55)], 256),
    Change(WEIGHTS, [("conv", 1)], [SCALE]),
    Change(CONSTANT, [("biased", 1)], [np.array([1.5, 2.0], np.float32).reshape(1, 2, 1, 1)]),
]


def test_each_change_does_what_it_says():
    model = network()
    apply_changes(model, CHANGES)
    images = np.array([0.004, 1.0, 9.0, 0.3], np.float32).reshape(1, 1, 2, 2).repeat(3, axis=1)
    quantized = np.array([0.0, 1.0, 2.55, 0.3])  # steps of 0.01 up to 2.55
    first = np.maximum(0, quantized * (0.5 - 1.27 + 0.0) + 1.5)
    found = result(model, images).reshape(2, 4)
    np.testing.assert_allclose(found[0], first, atol=1e-6)
    np.testing.assert_allclose(found[1], 2.0, atol=1e-6)  # a channel whose scale is 0 has no weights


def test_changes_are_found_again():
    model = network()
    apply_changes(model, CHANGES)
    found = {one.kind: one for one in changes_between(network(), model)}
    assert set(found) == {ACTIVATION, WEIGHTS, CONSTANT}
    for change in CHANGES:
        other = found[change.kind]
        assert (list(other.targets), other.levels) == (list(change.targets), change.levels)
        for expected, array in zip(change.arrays, other.arrays, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_half_a_step_is_rounded_towards_zero():
    model = network()
    apply_changes(model, [Change(WEIGHTS, [("conv", 1)], [np.full((2, 1, 1, 1), 0.02, np.float32)])])
    node = next(one for one in model.get_ops() if one.get_friendly_name() == "conv")
    int8 = node.input_value(1).get_node().input_value(0).get_node().input_value(0).get_node().data
    assert int8.reshape(2, 3).tolist() == [[25, -63, 0], [10, 20, -30]]


def test_names_do_not_depend_on_what_was_made_before():
    names = [[node.get_friendly_name() for node in network().get_ordered_ops()] for _ in range(2)]
    assert names[0] == names[1]
    assert "Relu(biased)" in names[0]


def test_what_else_a_quantization_does_is_an_error():
    model = network()
    parameter = next(iter(model.get_parameters()))
    target = next(iter(parameter.output(0).get_target_inputs()))
    inner = ops.fake_quantize(parameter, 0.0, 1.0, 0.0, 1.0, 256)
    inserted = ops.multiply(inner, np.float32(2))
    inserted.set_friendly_name("inserted")
    target.replace_source_output(inserted.output(0))
    with pytest.raises(EngineError, match="added the operation inserted"):
        list(changes_between(network(), model))


@pytest.mark.parametrize("targets", [[("absent", 0)], [("conv", 7)]])
def test_another_network_is_refused(targets):
    with pytest.raises(CalibrationFault, match="does not fit the exported network"):
        apply_changes(network(), [Change(CONSTANT, targets, [np.zeros(1, np.float32)])])


def change(kind, *targets):
    return Change(kind, list(targets), [np.ones(1, np.float32)], 256)


BODY = [
    change(ACTIVATION, ("a", 0), ("skip", 0)),
    change(WEIGHTS, ("a", 1)),
    change(CONSTANT, ("a bias", 1)),
    change(ACTIVATION, ("add", 0)),
    change(ACTIVATION, ("b", 0), ("c", 0)),
    change(WEIGHTS, ("b", 1)),
    change(WEIGHTS, ("c", 1)),
    change(WEIGHTS, ("skip", 1)),
]
HEAD = [change(ACTIVATION, ("product", 0)), change(WEIGHTS, ("product", 1)), change(CONSTANT, ("product bias", 1))]


def test_groups_of_layers_share_all_changes_out():
    groups = layer_groups(Calibration({"features_body": BODY, "boxes_head": HEAD}), 5)
    spans = [(str(one), one.part, one.first, one.last) for one in groups]
    assert spans == [
        ("features 1/4", "features_body", 0, 2),
        ("features 2/4", "features_body", 2, 6),
        ("features 3/4", "features_body", 6, 7),
        ("features 4/4", "features_body", 7, 8),
        ("boxes 1/1", "boxes_head", 0, 3),
    ]
    assert [str(one) for one in layer_groups(Calibration({"features_body": BODY, "boxes_head": HEAD}), 2)] == [
        "features 1/2",
        "features 2/2",
        "boxes 1/1",
    ]
    assert layer_groups(Calibration({}), 8) == []


def test_a_group_left_out_leaves_other_readers_of_its_inputs_quantized():
    whole = Calibration({"features_body": BODY, "boxes_head": HEAD}, {"canvases": 3}, "digest")
    first, second, _, _, head = layer_groups(whole, 5)
    kept = without(whole, [first])
    assert kept.parts["features_body"][0].targets == [("skip", 0)], "skip reads the same value, and stays int8"
    assert [one.targets for one in kept.parts["features_body"][1:]] == [one.targets for one in BODY[2:]]
    assert (kept.parts["boxes_head"], kept.facts, kept.digest) == (HEAD, {"canvases": 3}, "")
    kept = without(whole, [second, head])
    expected = [[("a", 0), ("skip", 0)], [("a", 1)], [("c", 0)], [("c", 1)], [("skip", 1)]]
    assert [one.targets for one in kept.parts["features_body"]] == expected
    assert kept.parts["boxes_head"] == []
    assert without(whole, []).parts == whole.parts


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "net.h5"
    path.write_bytes(b"weights")
    return path


def test_a_calibration_travels_with_its_weights(weights, tmp_path):
    with pytest.raises(CalibrationFault, match=r"int8 is not prepared for .*net\.h5: run the command optimize"):
        read_calibration(weights)
    facts = {"admissible": True, "source": "clip"}
    assert write_calibration(weights, Calibration({"features_body": CHANGES}, facts)) == tmp_path / "net.int8.npz"
    elsewhere = tmp_path / "elsewhere" / "other.h5"
    elsewhere.parent.mkdir()
    weights.rename(elsewhere)
    calibration_path(weights).rename(calibration_path(elsewhere))
    found = read_calibration(elsewhere)
    assert (found.facts, found.is_admissible, list(found.parts)) == (facts, True, ["features_body"])
    assert [one.kind for one in found.parts["features_body"]] == [ACTIVATION, WEIGHTS, CONSTANT]
    np.testing.assert_array_equal(found.parts["features_body"][1].arrays[0], SCALE)
    assert len(found.digest) == 16


def test_other_facts_are_the_same_graphs_and_other_changes_are_others(weights):
    def digest(changes, facts):
        write_calibration(weights, Calibration({"features_body": changes}, facts))
        return read_calibration(weights).digest

    first = digest(CHANGES, {})
    assert digest(CHANGES, {"admissible": True}) == first
    assert digest(CHANGES[:2], {}) != first


def test_a_folder_that_cannot_be_written_leaves_the_users_cache(weights, monkeypatch):
    from mrcnn.engines import calibration

    written = calibration.write_whole

    def refuses(path, content):
        if path.parent == weights.parent:
            raise PermissionError(13, "Permission denied")
        written(path, content)

    monkeypatch.setattr(calibration, "write_whole", refuses)
    path = write_calibration(weights, Calibration({"features_body": CHANGES}))
    assert path.parent.name == "int8"
    assert len(read_calibration(weights).parts["features_body"]) == 3
    weights.write_bytes(b"others")
    with pytest.raises(CalibrationFault, match="not prepared"):
        read_calibration(weights)


def test_a_cache_that_may_not_be_read_holds_none(weights, tmp_path, monkeypatch):
    """Such as root's, for a service whose HOME is left as it was."""
    refuse_below(tmp_path / "cache", monkeypatch)
    with pytest.raises(CalibrationFault, match="int8 is not prepared"):
        read_calibration(weights)
    write_calibration(weights, Calibration({"features_body": CHANGES}))
    assert len(read_calibration(weights).parts["features_body"]) == 3


def test_one_in_the_users_cache_replaces_what_lies_beside_read_only_weights(weights, monkeypatch):
    from mrcnn.engines import calibration

    def kept():
        return len(read_calibration(weights).parts["features_body"])

    written = calibration.write_whole

    def refuses(path, content):
        if path.parent == weights.parent:
            raise PermissionError(13, "Permission denied")
        written(path, content)

    write_calibration(weights, Calibration({"features_body": CHANGES}))
    with monkeypatch.context() as patched:
        patched.setattr(calibration, "write_whole", refuses)
        path = write_calibration(weights, Calibration({"features_body": CHANGES[:2]}))
    assert (path.parent.name, kept()) == ("int8", 2)
    assert write_calibration(weights, Calibration({"features_body": CHANGES[:1]})) == calibration_path(weights)
    assert (path.exists(), kept()) == (False, 1)


def test_other_weights_under_the_same_name_do_not_get_it(weights):
    write_calibration(weights, Calibration({"features_body": CHANGES}))
    weights.write_bytes(b"other weights")
    with pytest.raises(CalibrationFault, match="belongs to other weights"):
        read_calibration(weights)


def archive(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def index(**entries):
    return np.frombuffer(json.dumps(entries).encode(), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 no archive",
        archive(other=np.zeros(3)),
        archive(index=index()),
        archive(index=np.frombuffer(b"[1", np.uint8)),
        archive(index=np.array([{"a": 1}], object)),
    ],
    ids=["empty", "cut", "no index", "no version", "no json", "pickled"],
)
def test_damaged_files_are_one_line(weights, content):
    calibration_path(weights).write_bytes(content)
    with pytest.raises(CalibrationFault, match=r"^[^\n]*net\.int8\.npz cannot be read \([^\n]*\)$"):
        read_calibration(weights)


def foreign_block(content):
    """Deflate has no blocks of type 3."""
    name = content.index(b"index.npy")
    content[name + len(b"index.npy") + content[name - 2]] = 0xFF  # behind the extra field


def encrypted(content):
    content[content.index(b"PK\x01\x02") + 8] |= 1  # in the flags of a directory entry


@pytest.mark.parametrize("damage", [foreign_block, encrypted])
def test_a_changed_byte_is_one_line(weights, damage):
    write_calibration(weights, Calibration({"features_body": CHANGES}))
    content = bytearray(calibration_path(weights).read_bytes())
    damage(content)
    calibration_path(weights).write_bytes(content)
    with pytest.raises(CalibrationFault, match=r"^[^\n]*net\.int8\.npz cannot be read \([^\n]*\)$"):
        read_calibration(weights)


def test_a_huge_file_is_not_read(weights, monkeypatch):
    from mrcnn.engines import calibration

    write_calibration(weights, Calibration({"features_body": CHANGES}))
    monkeypatch.setattr(calibration, "MAX_BYTES", 100)
    with pytest.raises(CalibrationFault, match="it is too large"):
        read_calibration(weights)
