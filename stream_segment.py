"""Real-time instance segmentation of cameras and video with Mask R-CNN: the command line, and the names for Python.

    python stream_segment.py                                    # camera 0 in a window
    python stream_segment.py --source clip.mp4 --output out.mp4
    python stream_segment.py weights coco                       # download the COCO weights

From Python:

    import stream_segment

    settings = stream_segment.Settings.model_validate({"source": {"uri": "clip.mp4"}, "window": {"mode": "off"}})
    with stream_segment.Stream(settings) as stream:
        for segmented in stream:
            print(segmented.frame.pts_s, segmented.instances.class_ids)
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipeline.commands import COMMANDS, run
from pipeline.commands.program import print_any_text
from pipeline.commands.signals import Terminated, handled, unwind
from pipeline.errors import InputError, RunError, StreamSegmentError
from pipeline.records import Frame, Instances, SegmentedFrame, SourceInfo
from pipeline.runtime.stream import Stream
from pipeline.scene import Event, EventKind, Scene
from pipeline.settings.loading import load_settings
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.version import __version__ as __version__

__all__ = [
    "Delivery",
    "Event",
    "EventKind",
    "Frame",
    "InputError",
    "Instances",
    "Presentation",
    "RunContext",
    "RunError",
    "Scene",
    "SegmentedFrame",
    "Settings",
    "Sink",
    "SourceInfo",
    "Stream",
    "StreamSegmentError",
    "load_settings",
    "main",
]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit codes: 0 done, 1 failed while running, 2 bad usage or input, 130/143 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with handled(unwind, signal.SIGTERM):
            return _dispatch(arguments)
    except StreamSegmentError as error:
        print(f"stream_segment: error: {error}", file=sys.stderr)
        return error.exit_code
    except Terminated:
        print("stream_segment: terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("stream_segment: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def program() -> NoReturn:
    """Run `main` as a program of its own: a thread that is stuck in a driver cannot keep the process alive."""
    print_any_text()
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if Stream.any_stuck():
        os._exit(code)
    sys.exit(code)


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        command = importlib.import_module(f"pipeline.commands.{arguments[0]}")
        return int(command.run(arguments[1:]))
    return run.run(arguments)


if __name__ == "__main__":
    program()
