"""This machine: only what can be said on every one."""

from pathlib import Path

import pytest

from mrcnn.engines import create, openvino_runtime
from mrcnn.engines.base import EngineError
from mrcnn.weights.checkpoint import WeightsError
from pipeline.errors import InputError
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.network_model import NetworkModel
from pipeline.segmentation.weights_file import WeightsChoice
from pipeline.settings.model_settings import EngineKind, ModelSettings, Precision

MODEL = NetworkModel(ModelSettings(), WeightsChoice(Path("some.h5"), "of the tests"), None, ("BG", "thing"))


def machine_with(*signs):
    class Signed(Machine):
        nvidia_signs = tuple(str(sign) for sign in signs)

    return Signed()


def test_there_is_a_core_and_what_the_requirements_name():
    assert Machine().cores() >= 1
    assert all(Machine().has(engine) for engine in (EngineKind.OPENVINO, EngineKind.ONNX, EngineKind.KERAS))


def test_a_runtime_that_does_not_load_has_no_bfloat16(monkeypatch):
    def fails():
        raise EngineError("the engine openvino is not there")

    monkeypatch.setattr(openvino_runtime, "cpu_has_bfloat16", fails)
    assert not Machine().has_bfloat16()


@pytest.mark.parametrize(
    ("maker", "make"),
    [
        ("create_keras_engine", lambda: Machine().make_keras(MODEL, Precision.FLOAT32)),
        ("create_openvino_engine", lambda: Machine().make_openvino(MODEL, Precision.FLOAT32, None)),
        ("create_onnx_engine", lambda: Machine().make_onnx(MODEL, Precision.FLOAT32, "cpu")),
    ],
)
def test_weights_that_do_not_fit_are_the_users_mistake(monkeypatch, maker, make):
    def fails(*_):
        raise WeightsError("some.h5 has no layer fpn_p2")

    monkeypatch.setattr(create, maker, fails)
    with pytest.raises(InputError, match=r"some\.h5 has no layer fpn_p2"):
        make()


@pytest.mark.parametrize(("hidden", "signs"), [("", False), ("-1", False), ("0", True), ("1,2", True)])
def test_a_hidden_gpu_is_none(monkeypatch, tmp_path, hidden, signs):
    (tmp_path / "version").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert machine_with(tmp_path / "version").gpu_is_likely() is signs


def test_no_driver_and_no_tool_are_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not machine_with(tmp_path / "missing").gpu_is_likely()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert machine_with(tmp_path / "missing").gpu_is_likely()
