"""ONNX Runtime: what it says when it cannot, which provider it takes. That it computes the right thing:
test_graph_engine."""

import sys
import types

import pytest

from mrcnn.engines import onnx_runtime
from mrcnn.engines.base import EngineError
from mrcnn.engines.create import exported_parts
from mrcnn.engines.onnx_runtime import OnnxRuntime, available_providers, onnxruntime
from tests.mrcnn.conftest import ONCE

pytestmark = ONCE


def with_providers(monkeypatch, *names, broken=()):
    """An ONNX Runtime that has these providers, some of which do not load, and keeps what sessions are asked for."""
    sessions = []

    def session(path, options, providers):
        sessions.append((path, providers))
        loaded = [name for name, _ in providers if name not in broken]
        return types.SimpleNamespace(get_providers=lambda: loaded)

    fake = types.SimpleNamespace(
        get_available_providers=lambda: list(names), InferenceSession=session, SessionOptions=types.SimpleNamespace
    )
    monkeypatch.setattr(onnx_runtime, "onnxruntime", lambda: fake)
    return sessions


def test_onnxruntime_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    onnxruntime.cache_clear()
    with pytest.raises(EngineError, match=r"the engine onnx is unavailable \(.*\): pip install onnxruntime"):
        available_providers()[0]
    monkeypatch.undo()
    onnxruntime.cache_clear()
    assert available_providers()[0] in onnx_runtime.PROVIDERS


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"), "tensorrt"),
        (("CUDAExecutionProvider", "CPUExecutionProvider"), "cuda"),
        (("AzureExecutionProvider", "CPUExecutionProvider"), "cpu"),
    ],
)
def test_the_fastest_provider_is_taken(monkeypatch, there, expected):
    with_providers(monkeypatch, *there)
    assert available_providers()[0] == expected


def test_a_provider_that_is_not_there(monkeypatch):
    with_providers(monkeypatch, "CPUExecutionProvider")
    with pytest.raises(EngineError, match="has no cuda: pip install onnxruntime-gpu"):
        OnnxRuntime({}, "cuda")


def test_half_precision_needs_tensorrt():
    with pytest.raises(EngineError, match="float16 with TensorRT only, not with cpu"):
        OnnxRuntime({}, "cpu", half=True)


def test_what_tensorrt_is_asked_for(monkeypatch, tmp_path):
    """Seen in the arguments alone: there is no NVIDIA hardware in these tests."""
    sessions = with_providers(monkeypatch, *onnx_runtime.PROVIDERS["tensorrt"])
    OnnxRuntime({"features": tmp_path / "f.onnx", "proposals": tmp_path / "p.onnx"}, "tensorrt", True, tmp_path)
    (_, fast), (_, exact) = sessions
    assert [name for name, _ in fast] == list(onnx_runtime.PROVIDERS["tensorrt"])
    assert fast[0][1]["trt_fp16_enable"] == "1"
    assert fast[0][1]["trt_engine_cache_path"] == str(tmp_path)
    assert exact == [("CPUExecutionProvider", {})]  # boxes are float32 on the host


def test_a_provider_that_does_not_load(monkeypatch, tmp_path):
    """ONNX Runtime would go on without it, slowly."""
    with_providers(monkeypatch, *onnx_runtime.PROVIDERS["cuda"], broken=["CUDAExecutionProvider"])
    with pytest.raises(EngineError, match="CUDA"):
        OnnxRuntime({"features": tmp_path / "f.onnx"}, "cuda")


def test_a_file_that_is_no_graph(tmp_path, tiny_files):
    bad = tmp_path / "boxes.onnx"
    bad.write_bytes(b"no graph at all")
    with pytest.raises(EngineError, match=r"ONNX Runtime cannot load .*boxes.onnx: ") as caught:
        OnnxRuntime(exported_parts(*tiny_files) | {"boxes": bad}, "cpu")
    assert "\n" not in str(caught.value)
