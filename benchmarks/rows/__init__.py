"""The rows of the table, a file each: `NAME`, `TITLE` and `measure(options)`."""

from __future__ import annotations

import importlib
from types import ModuleType

CPU_ROWS = (
    "resnet_1024",
    "resnet_512",
    "small",
    "automatic",
    "recorded",
    "live",
    "large",
    "cameras",
    "drawing",
    "mosaic",
    "start",
    "memory",
    "accuracy",
)
PEER_ROWS = {"coco_r50": "torchvision", "coco_r50_v2": "torchvision", "yolo": "ultralytics"}
"""Measured only where they are named, or an interpreter is that has this package."""
GPU_ROWS = ("gpu",)


def load(name: str) -> ModuleType:
    """The module of a row."""
    return importlib.import_module(f"benchmarks.rows.{name}")
