"""OpenVINO: what it says when it cannot, its precisions. That it computes the right thing: test_graph_engine."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mrcnn.architecture import MATTERPORT
from mrcnn.engines import openvino_runtime
from mrcnn.engines.base import EngineError
from mrcnn.engines.create import exported_parts
from mrcnn.engines.graph_engine import sort_by_level
from mrcnn.engines.openvino_runtime import (
    BODY,
    HEAD,
    CpuPrecision,
    OpenVinoRuntime,
    check_precision,
    core,
    cpu_has_bfloat16,
    quantizable_models,
    save_models,
)
from mrcnn.network.anchors import feature_shapes
from mrcnn.network.constants import LEVELS
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.tiny import tiny_image

pytestmark = ONCE


def test_openvino_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    core.cache_clear()
    with pytest.raises(EngineError, match=r"the engine openvino is unavailable \(.*\): pip install openvino"):
        check_precision(CpuPrecision.FLOAT32)
    monkeypatch.undo()
    core.cache_clear()
    check_precision(CpuPrecision.FLOAT32)


def test_a_cpu_without_bfloat16(monkeypatch, tiny_files):
    monkeypatch.setattr(openvino_runtime, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(EngineError, match="does not support bfloat16: use precision float32 or int8"):
        OpenVinoRuntime(exported_parts(*tiny_files), CpuPrecision.BFLOAT16)


@pytest.mark.parametrize(("capabilities", "expected"), [(["FP32", "INT8"], False), (["FP32", "BF16"], True)])
def test_capability_is_what_openvino_says(monkeypatch, capabilities, expected):
    class Fake:
        def get_property(self, device, name):
            return {("CPU", "OPTIMIZATION_CAPABILITIES"): capabilities}[device, name]

    monkeypatch.setattr(openvino_runtime, "core", Fake)
    assert cpu_has_bfloat16() is expected


def test_without_openvino_no_bfloat16(monkeypatch):
    def missing():
        raise EngineError("the engine openvino is unavailable")

    monkeypatch.setattr(openvino_runtime, "core", missing)
    assert cpu_has_bfloat16() is False


def test_a_file_that_is_no_graph(tmp_path, tiny_files):
    bad = tmp_path / "features.onnx"
    bad.write_bytes(b"no graph at all")
    with pytest.raises(EngineError, match=r"OpenVINO cannot read .*features.onnx: ") as caught:
        OpenVinoRuntime(exported_parts(*tiny_files) | {"features": bad}, CpuPrecision.FLOAT32)
    assert "\n" not in str(caught.value)


def raw_outputs(files, precision, images, exact_stem=True):
    """Class probabilities of fixed regions, and the RPN's logits, in a precision."""
    weights, config = files
    runtime = OpenVinoRuntime(exported_parts(weights, config), precision, 1, exact_stem)
    pyramid = runtime.run("features", {"images": images})
    rois = np.float32([[0.1, 0.1, 0.6, 0.4], [0.3, 0.2, 0.9, 0.95], [0, 0, 1, 1]])
    canvas_hw, image_indices = images.shape[1:3], np.zeros(len(rois), np.int64)
    level_hws = feature_shapes(canvas_hw, config.BACKBONE_STRIDES)[: len(LEVELS)]
    regions = sort_by_level(rois, image_indices, level_hws, canvas_hw, config.POOL_SIZE, MATTERPORT)
    probs = runtime.run("boxes", {**pyramid, **regions.inputs})["class_probs"]
    return probs.copy(), pyramid["rpn_class_logits"].copy()


def test_bfloat16_is_near_float32_and_not_the_same(tiny_files):
    """8 bits of fraction: 0.4 % for each of a dozen layers."""
    images = tiny_image(96, 128)[None]
    exact_probs, exact_logits = raw_outputs(tiny_files, CpuPrecision.FLOAT32, images)
    if not cpu_has_bfloat16():
        with pytest.raises(EngineError, match="does not support bfloat16"):
            raw_outputs(tiny_files, CpuPrecision.BFLOAT16, images)
        return
    probs, logits = raw_outputs(tiny_files, CpuPrecision.BFLOAT16, images)
    assert 0 < np.abs(probs - exact_probs).max() < 0.03
    error = np.linalg.norm(logits - exact_logits) / np.linalg.norm(exact_logits)
    assert 1e-5 < error < 0.02


def test_a_stem_that_is_not_exact_follows_the_precision(tiny_files):
    images = tiny_image(96, 128)[None]
    has_bfloat16 = cpu_has_bfloat16()
    precision = CpuPrecision.BFLOAT16 if has_bfloat16 else CpuPrecision.FLOAT32
    _, with_exact = raw_outputs(tiny_files, precision, images)
    _, without = raw_outputs(tiny_files, precision, images, exact_stem=False)
    assert np.array_equal(with_exact, without) is not has_bfloat16
    assert np.linalg.norm(without - with_exact) < 0.02 * np.linalg.norm(with_exact)


@pytest.mark.parametrize("precision", CpuPrecision)
def test_only_float32_is_computed_by_winograds_method(tiny_files, monkeypatch, precision):
    if precision is CpuPrecision.BFLOAT16 and not cpu_has_bfloat16():
        pytest.skip("this CPU does not support bfloat16")
    rewritten = []
    monkeypatch.setattr(openvino_runtime, "use_winograd", lambda model, is_faster: rewritten.append(model.inputs))
    raw_outputs(tiny_files, precision, tiny_image(96, 128)[None])
    names = {name.any_name for inputs in rewritten for name in inputs}
    assert names == ({"images", "pooled", "class_ids"} if precision is CpuPrecision.FLOAT32 else set())


def test_int8_is_never_computed_by_winograds_method(tiny_files, tmp_path, monkeypatch):
    weights, config = tiny_files
    parts = exported_parts(weights, config)
    save_models(quantizable_models(parts), tmp_path)  # in float32, as layers that are kept from int8
    rewritten = []
    monkeypatch.setattr(openvino_runtime, "use_winograd", lambda model, is_faster: rewritten.append(model))
    for name in (BODY, "boxes" + HEAD, "masks" + HEAD):
        runtime = OpenVinoRuntime(parts | {name: tmp_path / f"{name}.xml"}, CpuPrecision.FLOAT32, 1)
        runtime.run("features", {"images": tiny_image(96, 128)[None]})
    assert not rewritten


def _relu(shape):
    import openvino
    from openvino import opset13

    values = opset13.parameter(shape, np.float32, name="values")
    model = openvino.Model([opset13.relu(values)], [values])
    return core().compile_model(model, "CPU", {}).create_infer_request()


def test_neither_inputs_nor_outputs_are_copied():
    request, image = _relu([1024, 1024]), np.full((1024, 1024), -1.0, np.float32)
    openvino_runtime.run(request, [image])
    tracemalloc.start()
    try:
        openvino_runtime.run(request, {"values": image})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < image.nbytes / 100
    assert np.shares_memory(request.get_input_tensor(0).data, image)
    assert not request.get_output_tensor(0).data.any()


@pytest.mark.parametrize("lies", ["in pieces", "read-only"])
def test_an_input_that_cannot_be_shared_is_copied(lies):
    given = np.arange(16, dtype=np.float32).reshape(4, 4) - 8
    given = given.T if lies == "in pieces" else given
    given.flags.writeable = lies == "in pieces"
    request = _relu([4, 4])
    openvino_runtime.run(request, {"values": given})
    np.testing.assert_array_equal(request.get_output_tensor(0).data, np.maximum(given, 0))


def test_the_copy_of_an_input_lives_as_long_as_the_part_runs():
    """In a process of its own, which gives memory back as soon as it is free: using it then ends the process."""
    program = """
import numpy as np, openvino
from openvino import opset13
from mrcnn.engines.openvino_runtime import core, run
values = opset13.parameter([1024, 2048], np.float32, name="values")
model = openvino.Model([opset13.relu(values)], [values])
request = core().compile_model(model, "CPU", {}).create_infer_request()
given = np.arange(-(1 << 20), 1 << 20, dtype=np.float32).reshape(1024, 2048)
given.flags.writeable = False
run(request, {"values": given})
assert np.array_equal(request.get_output_tensor(0).data, np.maximum(given, 0))
"""
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "8192"}
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
