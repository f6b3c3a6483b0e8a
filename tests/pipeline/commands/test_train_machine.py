"""Which precision pays on which machine."""

import pytest

from pipeline.commands import train_machine
from pipeline.commands.train_machine import choose_precision, cpu_has_bfloat16
from pipeline.segmentation.backend import BackendChoice
from pipeline.settings.model_settings import Backend, Device

CPU_TF = BackendChoice(Backend.TENSORFLOW, Device.CPU, "CPU")
CPU_JAX = BackendChoice(Backend.JAX, Device.CPU, "CPU")
GPU = BackendChoice(Backend.TENSORFLOW, Device.GPU, "some GPU")


@pytest.mark.parametrize(
    ("wanted", "choice", "bfloat16", "capability", "expected"),
    [
        ("auto", CPU_TF, True, None, "mixed_bfloat16"),
        ("auto", CPU_TF, False, None, "float32"),
        ("auto", CPU_JAX, True, None, "float32"),
        ("mixed", CPU_TF, False, None, "mixed_bfloat16"),
        ("float32", CPU_TF, True, None, "float32"),
        ("auto", GPU, False, (7, 5), "mixed_float16"),
        ("auto", GPU, False, (8, 0), "mixed_bfloat16"),
        ("mixed", GPU, False, None, "mixed_float16"),
        ("float32", GPU, False, (9, 0), "float32"),
    ],
)
def test_precision(monkeypatch, wanted, choice, bfloat16, capability, expected):
    monkeypatch.setattr(train_machine, "cpu_has_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(train_machine, "gpu_capability", lambda backend: capability)
    assert choose_precision(wanted, choice) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t: fpu avx512_bf16 avx\n", True),
        ("x\nflags : amx_bf16\n", True),
        ("flags : avx512f\n", False),
        ("", False),
    ],
)
def test_the_processor_says_what_it_knows(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_has_bfloat16(tmp_path / "cpuinfo") is expected
    assert cpu_has_bfloat16(tmp_path / "none") is False
