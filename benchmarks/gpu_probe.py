"""Keras backends that see a GPU, and the peak performance of cards."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from benchmarks.footage import ROOT

BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
"""The module that each Keras backend needs."""
PROBE = (
    "from pipeline.segmentation.backend import prepare_backend; from pipeline.settings.schema import Backend, Device; "
    "print(prepare_backend(Backend('{}'), Device.GPU).device_name)"
)
DEADLINE_S = 120.0
FRAME_GFLOP = 770.0
"""Cost model: ResNet-101, 81 classes, a canvas of 1024x1024, 1000 proposals, 100 masks; a multiply-add counts two."""
PEAK_TFLOPS = {
    "H100 NVL": 835.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "H200": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10G": 70.0,
    "A10": 125.0,
    "V100": 125.0,
    "T4": 65.0,
    "RTX 4090": 165.0,
}
"""NVIDIA's data sheets: dense matrix products of 16-bit numbers with float32 sums, in 10^12 operations a second."""


def backends_with_gpu() -> dict[str, str]:
    """Name of the card by Keras backend, each queried in a process of its own."""
    wanted = os.environ.get("KERAS_BACKEND")
    names = [name for name in BACKENDS if wanted in (None, "", name)]
    seen = {name: device_of(name) for name in names if importlib.util.find_spec(BACKENDS[name]) is not None}
    return {name: device for name, device in seen.items() if device}


def device_of(backend: str) -> str:
    """The card that a backend sees; "" for none."""
    variables = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE.format(backend)],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=DEADLINE_S,
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else ""


def peak_tflops(card: str) -> float | None:
    """Peak of a card by its name; None for one that is not in the table."""
    words = card.replace("-", " ").split()
    for name, peak in PEAK_TFLOPS.items():
        if all(part in words for part in name.split()):
            return peak
    return None
