"""Real-time instance segmentation of cameras and video with Mask R-CNN: the command line, and the names for Python.

    python stream_segment.py                                    # camera 0 in a window
    python stream_segment.py clip.mp4                           # writes clip_segmented.mp4 where there is no screen
    python stream_segment.py weights get coco-r50               # download a model of the 80 COCO classes
    python stream_segment.py --model coco-r50 --min-score 0.7 --source clip.mp4

From Python:

    import stream_segment

    people = stream_segment.segment("photo.jpg")
    with stream_segment.Stream("clip.mp4") as stream:
        for segmented in stream:
            print(segmented.frame.pts_s, segmented.instances.names)
    with stream_segment.Cameras(stream_segment.load_settings("cameras.yaml")) as cameras:
        for camera, segmented in cameras:
            print(camera, segmented.instances.names)
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second in which Ctrl-C must leave no traceback
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pipeline.commands.main import program

    program()

from pipeline.commands.main import main
from pipeline.console.run_report import with_progress
from pipeline.errors import InputError, RunError, StreamSegmentError
from pipeline.records import Frame, Instances, SegmentedFrame, SourceInfo
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.image_instances import ImageInstances, segment
from pipeline.runtime.stream import Stream
from pipeline.scene import Event, EventKind, Scene
from pipeline.settings.loading import load_settings
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.version import __version__ as __version__

__all__ = [
    "Cameras",
    "Delivery",
    "Event",
    "EventKind",
    "Frame",
    "ImageInstances",
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
    "segment",
    "with_progress",
]
