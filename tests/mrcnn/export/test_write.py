"""From a weight file to files of parts."""

import onnx
import pytest

from mrcnn.export.write import write_parts
from mrcnn.network.constants import PART_NAMES
from mrcnn.weights.checkpoint import WeightsError
from mrcnn.weights.load_save import save_weights
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.tiny import TinyConfig, tiny_network

pytestmark = ONCE


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
