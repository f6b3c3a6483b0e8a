import subprocess

import pytest

from benchmarks import gpu_probe


@pytest.mark.parametrize(
    ("card", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10G", 70),
        ("NVIDIA A10", 125),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("Tesla T4", 65),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA L40", None),
        ("GPU", None),
    ],
)
def test_peaks_go_by_whole_words(card, peak):
    assert gpu_probe.peak_tflops(card) == peak


def test_backends_that_are_installed_are_asked(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(gpu_probe.importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    monkeypatch.setattr(gpu_probe, "device_of", {"tensorflow": "", "jax": "NVIDIA H100"}.__getitem__)
    assert gpu_probe.backends_with_gpu() == {"jax": "NVIDIA H100"}
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert gpu_probe.backends_with_gpu() == {}


@pytest.mark.parametrize(
    ("code", "out", "device"), [(0, "noise\nNVIDIA H100\n", "NVIDIA H100"), (1, "x", ""), (0, "", "")]
)
def test_a_backend_says_which_card_it_sees(monkeypatch, code, out, device):
    def run(arguments, **more):
        assert "Backend('jax')" in arguments[2]
        assert more["env"]["KERAS_BACKEND"] == "jax"
        return subprocess.CompletedProcess(arguments, code, out, "")

    monkeypatch.setattr(gpu_probe.subprocess, "run", run)
    assert gpu_probe.device_of("jax") == device


def test_a_backend_that_hangs_sees_none(monkeypatch):
    def run(arguments, **more):
        raise subprocess.TimeoutExpired(arguments, more["timeout"])

    monkeypatch.setattr(gpu_probe.subprocess, "run", run)
    assert gpu_probe.device_of("torch") == ""
