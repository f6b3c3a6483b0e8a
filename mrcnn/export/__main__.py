"""Exports a weight file in a separate process, so that the calling process loads no deep-learning framework.

    python -m mrcnn.export WEIGHTS FOLDER < SETTINGS

SETTINGS: JSON, {"config": {setting: value}}, see `mrcnn.weights.hdf5.Metadata`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path


def main() -> int:
    """Write the ONNX files; an error is one line on standard error and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.update(lightest_backend())
    from mrcnn.export.parts import write_parts
    from mrcnn.weights.metadata import config_from_metadata

    weights, folder = (Path(argument) for argument in sys.argv[1:3])
    try:
        write_parts(weights, config_from_metadata(json.load(sys.stdin)), folder)
    except (ValueError, OSError) as error:  # WeightsError, ExportError
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def lightest_backend() -> dict[str, str]:
    """The environment that selects Keras' OpenVINO backend, if OpenVINO loads.

    Every backend holds the same weights, so the files are the same. This one needs no framework, half of TensorFlow's
    time and a third of its memory.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # see mrcnn.engines.openvino_runtime
    try:
        importlib.import_module("openvino")
    except (ImportError, OSError):
        return {}
    return {"KERAS_BACKEND": "openvino"}


def end_with(parent: int) -> None:
    """End this process when the one that started it has ended: nobody needs the files then.

    Windows does not tell; the export finishes there.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    # A terminal sends Ctrl-C here too: the first stops the calling process in its own way, the second ends both.
    signal.signal(signal.SIGINT, lambda number, _: signal.signal(number, signal.SIG_DFL))
    sys.exit(main())
