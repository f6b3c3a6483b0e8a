"""What the tests of the exported graphs and of the engines share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def run_onnx(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs of a model, by ONNX Runtime on the CPU without its rewriting of graphs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def save_parts(parts: dict[str, onnx.ModelProto], folder: Path) -> dict[str, Path]:
    """The parts as files, by part name."""
    paths = {name: folder / f"{name}.onnx" for name in parts}
    for name, path in paths.items():
        onnx.save(parts[name], path)
    return paths


NO_NETWORK = """
import socket
def refuse(*arguments, **options):
    raise SystemExit(f"something is sent: {arguments}")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.getaddrinfo = socket.create_connection = refuse
"""
"""Beginning of a program that fails if it uses the network."""
