"""The four parts of the tiny network, run by ONNX Runtime and by OpenVINO, against the network's own stages."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from keras import ops

from mrcnn.architecture import ARCHITECTURES, architecture_of
from mrcnn.engines.graph_engine import proposal_inputs, sort_by_level
from mrcnn.engines.openvino_runtime import core
from mrcnn.export.parts import export_parts, write_parts
from mrcnn.network.anchors import normalize_boxes
from mrcnn.network.constants import LEVELS, PART_NAMES
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights.checkpoint import WeightsError
from mrcnn.weights.load_save import save_weights
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.exporting import save_parts
from tests.mrcnn.tiny import TinyConfig, tiny_config, tiny_image, tiny_network

pytestmark = ONCE

HW = (64, 96)
LEVEL_HWS = [(16, 24), (8, 12), (4, 6), (2, 3)]
STRIDE_2 = {"RPN_ANCHOR_STRIDE": 2, "RPN_ANCHOR_RATIOS": [0.5, 2.0], "PRE_NMS_LIMIT": 90}


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def network(request) -> MaskRCNNNetwork:
    settings = STRIDE_2 if request.param == "matterport" else {"PRE_NMS_LIMIT": 90}
    return tiny_network(tiny_config(request.param, **settings))


@pytest.fixture(scope="module")
def windows(network) -> np.ndarray:
    """PIXEL_WINDOWS in the coordinates of the network's architecture."""
    return normalize_boxes(PIXEL_WINDOWS, *HW, architecture_of(network.config).last_pixel_is_one)


@pytest.fixture(scope="module")
def paths(network, tmp_path_factory):
    return save_parts(export_parts(network), tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def run(request, paths):
    """run(part, inputs) -> {output: array}, in float32."""
    if request.param == "onnxruntime":
        sessions = {name: onnxruntime.InferenceSession(str(path)) for name, path in paths.items()}

        def run_part(part, inputs):
            names = [output.name for output in sessions[part].get_outputs()]
            return dict(zip(names, sessions[part].run(names, inputs), strict=True))
    else:
        models = {
            name: core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}) for name, path in paths.items()
        }

        def run_part(part, inputs):
            values = models[part](inputs)
            return {name: values[name].copy() for output in values for name in output.get_names()}

    return run_part


PIXEL_WINDOWS = np.array([[0, 0, 64, 96], [0, 0, 50, 70]])


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([tiny_image(*HW, seed) for seed in (1, 2)])


@pytest.fixture(scope="module")
def extracted(network, images, windows):
    """What the network makes of the images: pyramid [P2 … P5], class logits, deltas."""
    pyramid, logits, deltas = network.extract(ops.convert_to_tensor(images), windows)
    return [ops.convert_to_numpy(level) for level in pyramid[:4]], *map(ops.convert_to_numpy, (logits, deltas))


@pytest.fixture(scope="module")
def propose(network, extracted, windows):
    """propose(limit, count, surplus) -> the config, class logits, and the network's regions and how many they are."""

    @cache
    def proposed(limit, count, surplus):
        by_logits = architecture_of(network.config).proposals_per_level
        logits = extracted[1] + np.array([0, surplus if by_logits else 0], np.float32)
        config = type(network.config)()
        config.PRE_NMS_LIMIT, config.POST_NMS_ROIS_INFERENCE = limit, count
        same = MaskRCNNNetwork(config, network.models)
        return config, logits, *map(ops.convert_to_numpy, same.propose(logits, extracted[2], windows, HW))

    return proposed


@pytest.fixture(scope="module")
def levels(extracted):
    return {
        f"p{level}": np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        for level, x in zip(LEVELS, extracted[0], strict=True)
    }


def test_all_parts_are_there(paths):
    assert tuple(paths) == PART_NAMES


def test_features(run, network, images, extracted):
    inputs = {"images": images}
    if architecture_of(network.config).padding_after_mean:
        inputs["windows"] = PIXEL_WINDOWS
    found = run("features", inputs)
    for level, expected in zip(LEVELS, extracted[0], strict=True):
        np.testing.assert_allclose(found[f"p{level}"].transpose(0, 2, 3, 1), expected, atol=2e-5 * expected.max())
    np.testing.assert_allclose(found["rpn_class_logits"], extracted[1], atol=1e-4)
    np.testing.assert_allclose(found["rpn_deltas"], extracted[2], atol=1e-4)


@pytest.mark.parametrize(("limit", "count", "surplus"), [(90, 40, 0), (90, 3, 0), (1, 40, 0), (90, 40, 30)])
def test_proposals(run, propose, extracted, windows, limit, count, surplus):
    """With a surplus of the objects' logits, all probabilities are 1; those of Matterport's do not get it, since they
    rank anchors and a tie may fall either way."""
    config, logits, rois, counts = propose(limit, count, surplus)
    for image in (0, 1):
        inputs = {"rpn_class_logits": logits[image], "rpn_deltas": extracted[2][image]}
        inputs |= proposal_inputs(config, windows[image], *HW)
        found = run("proposals", inputs)["rois"]
        assert 1 <= len(found) <= count
        np.testing.assert_allclose(found, rois[image, : counts[image]], atol=1e-5)


def regions(network, size):
    """Regions of every level and of both images, in no order; as arrays for Keras and as inputs of the heads."""
    rng = np.random.default_rng(2)
    centers, sides = rng.uniform(0.2, 0.8, (2, 9, 2)), np.exp(rng.uniform(-4, 0, (2, 9, 2)))
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], axis=2).clip(0, 1).astype(np.float32)
    # on this canvas only P2 is near; larger claims spread the regions over all levels
    claimed_hw = (1800, 2400)
    image_indices = np.repeat(np.arange(2), 9)
    flat = sort_by_level(
        boxes.reshape(-1, 4), image_indices, LEVEL_HWS, claimed_hw, size, architecture_of(network.config)
    )
    assert all(len(flat.inputs[f"images{level}"]) for level in LEVELS)
    return boxes, flat, claimed_hw


def test_boxes(run, network, extracted, levels):
    boxes, flat, claimed_hw = regions(network, network.config.POOL_SIZE)
    logits, deltas = network.classify(list(map(ops.convert_to_tensor, extracted[0])), boxes, claimed_hw)
    found = run("boxes", levels | flat.inputs)
    probs = ops.convert_to_numpy(ops.softmax(logits)).reshape(18, 3)
    assert probs.std(axis=0).min() > 0.02  # regions that are told apart
    np.testing.assert_allclose(flat.restore(found["class_probs"]), probs, atol=1e-4)
    np.testing.assert_allclose(
        flat.restore(found["deltas"]), ops.convert_to_numpy(deltas).reshape(18, 3, 4), rtol=1e-4, atol=1e-4
    )


def test_masks_are_those_of_the_own_class(run, network, extracted, levels):
    boxes, flat, claimed_hw = regions(network, network.config.MASK_POOL_SIZE)
    class_ids = np.random.default_rng(3).integers(1, 3, (2, 9)).astype(np.int32)
    pyramid = list(map(ops.convert_to_tensor, extracted[0]))
    expected = ops.convert_to_numpy(network.predict_masks(pyramid, boxes, class_ids, claimed_hw)).reshape(18, 28, 28)
    sorted_ids = class_ids.reshape(-1)[flat.order].astype(np.int64)
    found = run("masks", levels | flat.inputs | {"class_ids": sorted_ids})["mask_probs"]
    assert expected.std() > 0.02
    np.testing.assert_allclose(flat.restore(found), expected, atol=1e-4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.h5"
    save_weights(tiny_network(), path)
    return path


def test_every_part_is_a_file_with_the_weights_in_it(weights, tmp_path):
    write_parts(weights, TinyConfig(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.onnx" for name in PART_NAMES}
    network = tiny_network()
    kernel = network.layers_by_name()["mrcnn_class_logits"].kernel.numpy()
    constants = onnx.load(tmp_path / "boxes.onnx").graph.initializer
    assert any(onnx.numpy_helper.to_array(c).tolist() == kernel.tolist() for c in constants if list(c.dims) == [16, 3])


def test_weights_of_another_network_are_refused(weights, tmp_path):
    other = type("Wider", (TinyConfig,), {"NUM_CLASSES": 5})()
    with pytest.raises(WeightsError, match=r"mrcnn_class_logits|mrcnn_bbox_fc"):
        write_parts(weights, other, tmp_path)
    assert not list(tmp_path.iterdir())
