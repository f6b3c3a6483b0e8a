"""Which precision pays on which machine."""

import pytest

from pipeline.commands import train_machine
from pipeline.segmentation.backend import BackendChoice
from pipeline.segmentation.machine import Machine
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
    class OtherMachine(Machine):
        def has_bfloat16(self):
            return bfloat16

    monkeypatch.setattr(train_machine, "gpu_capability", lambda backend: capability)
    assert train_machine.choose_precision(wanted, choice, OtherMachine()) == expected
