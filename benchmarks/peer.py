"""Another package in a process and an interpreter of its own, to be timed alternately with ours."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

MATTERPORT = Path(__file__).with_name("peer_matterport.py")
TORCHVISION = Path(__file__).with_name("peer_torchvision.py")
ULTRALYTICS = Path(__file__).with_name("peer_ultralytics.py")
"""Scripts that the other interpreter runs. Each takes the file of a frame (.npy, uint8 RGB) and further arguments,
prints "ready" when its model is loaded, and for every line on standard input segments the frame and prints the
seconds."""

NOT_INHERITED = ("TF2_BEHAVIOR", "KERAS_BACKEND")
"""TensorFlow 2 and Keras 3 set these in the process that measures; TensorFlow 1 would compute eagerly, and fail."""


class Peer:
    """A context manager; each call segments one frame.

    Args:
        python: an interpreter that can import the package.
        script: `MATTERPORT`, `TORCHVISION` or `ULTRALYTICS`.
        image_bgr: uint8 (H, W, 3).
        arguments: of the script, after the frame.
    """

    def __init__(self, python: str, script: Path, image_bgr: NDArray[np.uint8], *arguments: object) -> None:
        self._folder = tempfile.TemporaryDirectory()
        frame = Path(self._folder.name) / "frame.npy"
        np.save(frame, np.ascontiguousarray(image_bgr[..., ::-1]))
        self._command = [python, str(script), str(frame), *map(str, arguments)]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            cwd=self._folder.name,
            env={name: value for name, value in os.environ.items() if name not in NOT_INHERITED},
        )
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def __call__(self) -> float:
        """Detect once; return the seconds that the process measured."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the other package does not run: try {' '.join(self._command)}")
        return line
