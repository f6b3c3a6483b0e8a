"""Writes detections as JSON Lines, one line per frame.

Shape letters: h, w height and width of an object's box inside the frame, in pixels.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.drawing.masks import encode_mask, paste_mask
from pipeline.errors import InputError, OutputClosedError, RunError, is_broken_pipe
from pipeline.file_names import user_path, utf8_name
from pipeline.labels import class_name
from pipeline.records import Frame, Instances, SourceKind
from pipeline.settings.output_settings import DetectionsSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.paths import Outputs, is_exempt, write_all

_one_writer = threading.Lock()
"""Several cameras may write to standard output, which may take a line in parts."""
STDOUT = "-"
"""The path that stands for standard output."""


class Detections(Sink):
    """The detections file. It is created with the first frame; each line is written as a whole and unbuffered.

    Args:
        settings: the path, and whether to write masks and events.
        outputs: the files that the run writes, this one among them.
        mask_threshold: a pixel belongs to an object at this probability or above.
    """

    name = "detections"
    delivery = Delivery.EVERY_FRAME
    wants_overlay = False

    def __init__(
        self, settings: DetectionsSettings, outputs: Outputs | None = None, mask_threshold: float = 0.5
    ) -> None:
        self._settings = settings
        self._path = None if settings.path == STDOUT else user_path(settings.path, "--detections")
        self._outputs = outputs or Outputs()
        self._name: Path | None = None
        self._mask_threshold = mask_threshold
        self._labels: Sequence[str] = ()
        self._run: dict[str, Any] | None = None
        self._live = False
        self._file: BinaryIO | None = None
        self._whole_bytes = 0

    def open(self, context: RunContext) -> None:
        """Check the path; nothing is written yet. Raises InputError."""
        if self._path is not None:
            self._outputs.claim_file(self._path, "--detections")
        elif sys.stdout is None:  # where it is closed, and under pythonw
            raise InputError("--detections -: standard output is closed: give a file instead")
        self._labels = context.labels
        self._run = run_record(context)
        self._live = context.source.kind is SourceKind.LIVE

    def write(self, presentation: Presentation) -> None:
        """Write one frame's line. Raises RunError if that fails (disk full …)."""
        segmented = presentation.segmented
        threshold = self._mask_threshold if self._settings.masks else None
        record = frame_record(segmented.frame, segmented.instances, self._labels, threshold)
        if self._settings.events:
            record["events"] = [event.record() for event in segmented.scene.events] if segmented.scene else []
        if self._live and segmented.times.latency_s is not None:
            record["latency_ms"] = round(1000 * segmented.times.latency_s, 1)
        if self._run is not None:
            record["run"], self._run = self._run, None
        # ASCII only: file names may contain bytes that are not text, and readers may not expect UTF-8.
        line = json.dumps(record, ensure_ascii=True, separators=(", ", ": ")).encode("ascii") + b"\n"
        try:
            if self._file is None:
                self._file = self._opened()
            with _one_writer if self._path is None else nullcontext():
                write_all(self._file, line)
                self._file.flush()
            self._whole_bytes += len(line)
        except OSError as error:
            if self._path is None and is_broken_pipe(error):
                raise OutputClosedError("nobody reads the detections any more") from error
            if isinstance(error, BrokenPipeError):
                raise RunError(f"Writing the detections to {self._name} failed: its reader has gone.") from error
            self._cut_half_a_line()
            raise RunError(
                f"Writing the detections to {self._name or self._settings.path} failed: {error.strerror or error}."
            ) from error

    def close(self) -> None:
        """Close the file; standard output stays open."""
        file, self._file = self._file, None
        if self._path is not None:
            if file is not None:
                file.close()
            self._outputs.release(self._path)

    def _cut_half_a_line(self) -> None:
        """Take back what a full disk accepted of a line."""
        if self._file is not None and self._name is not None and not is_exempt(self._name):
            with suppress(OSError):
                self._file.truncate(self._whole_bytes)

    @property
    def outputs(self) -> Sequence[str]:
        """The detections file, if it was created."""
        return (str(self._name),) if self._name is not None and self._name.is_file() else ()

    def _opened(self) -> BinaryIO:
        if self._path is None:
            return _standard_output()
        # Unbuffered: a line is one system call, so that a killed run never leaves half a line.
        self._name = self._outputs.name_of(self._path)
        return open(self._name, "wb", buffering=0)


def _standard_output() -> BinaryIO:
    """Standard output, unbuffered where it is a file: a write that blocks then holds no lock that the exit needs."""
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # replaced by an object in memory
        return sys.stdout.buffer
    return open(descriptor, "wb", buffering=0, closefd=False)


def run_record(context: RunContext) -> dict[str, Any]:
    """What the first line says of the whole run, as a JSON-serializable dict: kind, privacy, lines and zones."""
    return {
        "kind": context.source.kind.value,
        "privacy": context.privacy.value,
        "lines": [line.model_dump(mode="json") for line in context.lines],
        "zones": [zone.model_dump(mode="json") for zone in context.zones],
    }


def frame_record(
    frame: Frame, instances: Instances, labels: Sequence[str], mask_threshold: float | None
) -> dict[str, Any]:
    """One frame's line as a JSON-serializable dict; masks are None if `mask_threshold` is None.

    Returns:
        camera (in a run with several), source, frame, pts (seconds), width, height and objects with class_id, label,
        score, box (x1, y1, x2, y2 in pixels), mask (COCO compressed RLE) and track_id.
    """
    camera = {} if frame.camera is None else {"camera": utf8_name(frame.camera)}
    return {
        **camera,
        "source": utf8_name(frame.source_id),
        "frame": frame.index,
        "pts": round(frame.pts_s, 6),
        "width": frame.width,
        "height": frame.height,
        "objects": [_object_record(frame, instances, i, labels, mask_threshold) for i in range(len(instances))],
    }


def _object_record(
    frame: Frame, instances: Instances, i: int, labels: Sequence[str], mask_threshold: float | None
) -> dict[str, Any]:
    class_id = int(instances.class_ids[i])
    box = instances.boxes_xyxy[i]
    mask = None
    if mask_threshold is not None:
        pasted, y0, x0 = paste_mask(instances.mask_probs[i], box, frame.height, frame.width, mask_threshold)
        mask = encode_mask(pasted, y0, x0, frame.height, frame.width)
    return {
        "class_id": class_id,
        "label": class_name(class_id, labels),
        "score": round(float(instances.scores[i]), 4),
        "box": [round(float(edge), 2) for edge in box],
        "mask": mask,
        "track_id": None if instances.track_ids is None else int(instances.track_ids[i]) or None,  # 0: none yet
    }
