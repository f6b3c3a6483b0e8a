"""This machine: only what can be said on every one."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from mrcnn.engines import cache, create, openvino_runtime
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


@pytest.mark.parametrize("has_torch", [False, True])
def test_under_windows_a_driver_is_of_use_to_pytorch_only(monkeypatch, tmp_path, has_torch):
    (tmp_path / "version").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if has_torch or name != "torch" else None)
    assert machine_with(tmp_path / "version").gpu_is_likely() is has_torch


@pytest.mark.parametrize(
    ("files", "cores", "of_one", "of_two"),
    [
        ({"cpu.max": "150000 100000\n"}, 2, 2, 1),
        ({"cpu.max": "50000 100000\n"}, 1, 1, 1),
        ({"cpu.max": "max 100000\n"}, 6, None, 3),
        ({"cpu.max": "99900000 100000\n"}, 6, 6, 3),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4, 4, 2),
        ({"cpu/docker/cpu.cfs_quota_us": "300000\n", "cpu/docker/cpu.cfs_period_us": "100000\n"}, 3, 3, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6, None, 3),
        ({"cpu.max": "nonsense\n"}, 6, None, 3),
        ({"kiosk.slice/a.service/cpu.max": "250000 100000\n", "kiosk.slice/cpu.max": "max 100000\n"}, 3, 3, 1),
        ({"kiosk.slice/a.service/cpu.max": "max 100000\n", "kiosk.slice/cpu.max": "200000 100000\n"}, 2, 2, 1),
        ({"other.slice/cpu.max": "100000 100000\n"}, 6, None, 3),
        ({}, 6, None, 3),
    ],
)
def test_a_containers_quota_limits_cores_and_threads(monkeypatch, tmp_path, files, cores, of_one, of_two):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    machine = Machine()
    machine.control_groups, machine.own_group = tmp_path / "groups", tmp_path / "own"
    machine.own_group.write_text("2:cpu,cpuacct:/docker\n1:name=systemd:/elsewhere\n0::/kiosk.slice/a.service\n")
    assert (machine.cores(), machine.threads(1), machine.threads(2)) == (cores, of_one, of_two)


@pytest.mark.parametrize(
    ("files", "spare"),
    [
        ({"meminfo": "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n"}, 4_096_000),
        ({"meminfo": "MemAvailable: 4000 kB\n", "groups/memory.max": "max\n", "groups/memory.current": "5"}, 4_096_000),
        ({"meminfo": "MemAvailable: 4000 kB\n", "groups/memory.max": "9000", "groups/memory.current": "5000"}, 4000),
        (
            {
                "groups/kiosk.slice/a.service/memory.max": "9000",
                "groups/kiosk.slice/a.service/memory.current": "8000",
                "groups/kiosk.slice/a.service/memory.stat": "anon 3\ninactive_file 2500\n",
            },
            3500,
        ),
        ({"groups/kiosk.slice/memory.max": "9000", "groups/kiosk.slice/memory.current": "9500"}, 0),
        ({"groups/other.slice/memory.max": "9000", "groups/other.slice/memory.current": "8000"}, None),
        (
            {
                "groups/memory/docker/memory.limit_in_bytes": "9000",
                "groups/memory/docker/memory.usage_in_bytes": "8000",
                "groups/memory/docker/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
                "groups/memory/memory.limit_in_bytes": "9223372036854771712",
                "groups/memory/memory.usage_in_bytes": "8000",
            },
            1500,
        ),
        ({"meminfo": "nonsense"}, None),
        ({"meminfo": "MemAvailable: much kB"}, None),
        ({}, None),
    ],
)
def test_spare_memory_is_the_machines_or_what_its_control_groups_leave(tmp_path, files, spare):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = Machine()
    machine.control_groups, machine.own_group = tmp_path / "groups", tmp_path / "own"
    machine.meminfo = tmp_path / "meminfo"
    machine.own_group.write_text("4:memory:/docker\n1:name=systemd:/elsewhere\n0::/kiosk.slice/a.service\n")
    assert machine.spare_memory() == spare


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says it there")
def test_used_memory_grows_with_what_is_allocated():
    before = Machine().used_memory()
    filled = bytearray(b"x") * 80_000_000
    assert 70e6 < Machine().used_memory() - before < 90e6
    assert len(filled) == 80_000_000
    machine = Machine()
    machine.own_status = Path("/nowhere")
    assert machine.used_memory() is None


def test_measurements_are_kept_beside_the_graphs_and_a_damaged_one_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "cache_folder", lambda weights, config: tmp_path / "graphs")
    assert Machine().recall(MODEL, "key") == {}
    Machine().remember(MODEL, "key", {"last": "1x64x96"})
    assert Machine().recall(MODEL, "key") == {"last": "1x64x96"}
    assert Machine().recall(MODEL, "another") == {}
    (path,) = (tmp_path / "graphs").rglob("*.json")
    for text in ("[1]", "{", ""):
        path.write_text(text)
        assert Machine().recall(MODEL, "key") == {}


def test_the_processor_has_a_name():
    assert Machine().processor().strip()
