"""The machine of the measurement: processor, versions, commit, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROC = Path("/proc")
PACKAGES = (
    "tensorflow", "keras", "jax", "torch", "torchvision", "openvino", "onnx", "onnxruntime", "onnxruntime-gpu", "nncf",
    "numpy", "opencv-contrib-python", "av", "supervision",
)  # fmt: skip
CPU_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16",
                 "amx_int8", "asimd", "bf16", "i8mm", "sve")  # fmt: skip
"""Instruction sets that engines use."""


def describe() -> dict[str, Any]:
    """The machine, the versions and the state of the code, now."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": processor(),
        "cores": usable_cores(),
        "cpu_flags": processor_flags(),
        "memory_gb": memory_gb(),
        "load_at_start": load(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "commit": commit(),
    }


def processor() -> str:
    """The processor's name."""
    lines = _proc("cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def processor_flags() -> list[str]:
    """The processor's instruction sets that engines use."""
    for line in _proc("cpuinfo"):
        if line.startswith(("flags", "Features")):
            there = set(line.split(":", 1)[1].split())
            return [flag for flag in CPU_FLAGS if flag in there]
    return []


def usable_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gb() -> float | None:
    """Main memory in units of 10^9 bytes; None where the system does not say."""
    for line in _proc("meminfo"):
        if line.startswith("MemTotal"):
            return round(int(line.split()[1]) * 1024 / 1e9, 1)
    return None


def load() -> float | None:
    """Load average of the last minute; None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str]:
    """Versions of the installed packages that affect the numbers."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The git commit of the code, "+ changes" if files differ from it; "" outside a clone."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name + (" + changes" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, encoding="utf-8", errors="replace"
    )
    return done.stdout.strip()


def _proc(name: str) -> list[str]:
    path = PROC / name
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
