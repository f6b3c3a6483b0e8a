"""Reads a stretch of a recording: exactly the frames that a run of the whole gets there."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from pipeline.batch.stored_answers import checksum_of
from pipeline.batch.stretches import SeamError, Splitting, Stretch
from pipeline.errors import InputError
from pipeline.records import Clock, Frame, SourceInfo
from pipeline.settings.schema import Settings
from pipeline.sources.base import Source
from pipeline.sources.uri import UriKind, parse_uri
from pipeline.sources.video import REPAIRED, VideoFile

SEAM_FRAMES = 8
"""Frames at the beginning of a stretch that are decoded twice and compared."""
FARTHEST_POINT_S = 60.0
"""A recording is one piece if decoding would have to begin longer before a stretch."""
FIRST_STEP_BACK_S = 0.1
"""How much before a random-access point the one before it is first searched; doubled with every further try."""


def seams_of(path: str, settings: Settings, splitting: Splitting) -> tuple[list[int], int | None]:
    """Where to cut a recording, and how many frames it has, as well as it can tell.

    Args:
        path: of the recording.
        settings: of its run.
        splitting: how long the stretches are to be.

    Returns:
        Milliseconds, none if the recording is one piece or cannot be opened; and the number of frames.
    """
    source, target = settings.source, parse_uri(path)
    limited = source.start_s > 0 or source.duration_s is not None or source.max_frames is not None
    # Which frames are keyframes, and which frames share a batch, is counted from the first frame.
    counts = not settings.motion.infers_all or settings.model.batch_size > 1
    if limited or counts or target.kind is not UriKind.VIDEO:
        return [], None
    with contextlib.suppress(InputError), contextlib.closing(VideoFile(target.location)) as video:
        info = video.open()
        if video.is_seekable and info.duration_s is not None:
            return list(splitting.seams_ms(info.duration_s)), info.frame_count
    return [], None  # of what cannot be opened, the run says why


class StretchSource(Source):
    """Frames of a stretch, with the time stamps of the whole recording.

    Decoding begins at the last random-access point but one before the stretch. What lies before is discarded, and the
    first frames are compared with those that decoding from the last such point gives: where they differ, later frames
    depend on earlier ones in a way that no point stops (open GOP, intra refresh, a damaged index).

    Args:
        stretch: what to read.
        clock: seconds, monotonic.
    """

    def __init__(self, stretch: Stretch, clock: Clock = time.monotonic) -> None:
        self._stretch = stretch
        self._clock = clock
        self._location = parse_uri(stretch.recording.path).location
        self._video: VideoFile | None = None
        self._first: deque[Frame] = deque()
        self._interrupted = False
        self._count = 0

    def open(self) -> SourceInfo:
        start_ms = self._stretch.start_ms
        info = self._opened((start_ms or 0) / 1000)
        if start_ms is not None:
            self._read_first(start_ms / 1000)
        begins_s, end_ms = (start_ms or 0) / 1000, self._stretch.end_ms
        length_s = (info.duration_s or 0.0) if end_ms is None else end_ms / 1000 - begins_s
        return replace(info, frame_count=round(length_s * info.fps) if info.fps else None, duration_s=length_s)

    def read(self) -> Frame | None:
        frame = self._first.popleft() if self._first else self._next()
        if frame is None or self._stretch.is_over(frame):
            assert self._video is not None
            if any(text.startswith(REPAIRED) for text in self._video.warnings.texts()):
                raise SeamError("its time stamps jump or repeat")
            return None
        self._count += 1
        return replace(frame, index=self._count - 1)

    def interrupt(self) -> None:
        self._interrupted = True
        if self._video is not None:
            self._video.interrupt()

    def close(self) -> None:
        if self._video is not None:
            self._video.close()

    def _opened(self, start_s: float) -> SourceInfo:
        """Open the file so that the first frame is the first one at or after a time."""
        self._video = VideoFile(self._location, start_s=start_s, clock=self._clock)
        try:
            return self._video.open()
        except InputError as error:
            raise SeamError(str(error)) from None

    def _read_first(self, start_s: float) -> None:
        """Read the first frames of the open file; two times, unless decoding began with the file. Raises SeamError."""
        assert self._video is not None
        point_s = self._video.decoded_from_s
        self._check_distance(start_s)
        if point_s is None:
            self._first.extend(self._first_frames())
            return
        expected = [_identity(frame) for frame in self._first_frames()]
        self.close()
        self._open_before(point_s)
        self._first.extend(self._first_frames())
        if [_identity(frame) for frame in self._first] != expected and not self._interrupted:
            raise SeamError(f"its frames at {start_s:g} s depend on where decoding begins")

    def _open_before(self, point_s: float) -> None:
        """Open the file so that decoding begins at the last random-access point before another one, or at the start."""
        step_back_s = FIRST_STEP_BACK_S
        while True:
            self._opened(max(0.0, point_s - step_back_s))
            assert self._video is not None
            from_s = self._video.decoded_from_s
            if from_s is None or from_s < point_s:
                self._check_distance(point_s)
                return
            self.close()
            step_back_s *= 2

    def _check_distance(self, position_s: float) -> None:
        """Raises SeamError if decoding the open file began too long before a position."""
        assert self._video is not None
        if position_s - (self._video.decoded_from_s or 0.0) > FARTHEST_POINT_S:
            raise SeamError(f"decoding can begin nowhere in the {FARTHEST_POINT_S:g} s before {position_s:g} s")

    def _first_frames(self) -> Iterator[Frame]:
        """The first frames of the stretch, and some behind it if it is shorter."""
        frame = self._next()
        while frame is not None and self._stretch.is_before(frame):
            frame = self._next()
        for number in range(SEAM_FRAMES):
            if frame is not None:
                yield frame
                frame = self._next() if number < SEAM_FRAMES - 1 else None

    def _next(self) -> Frame | None:
        assert self._video is not None
        return None if self._interrupted else self._video.read()


def _identity(frame: Frame) -> tuple[int, int]:
    return frame.pts, checksum_of(frame.image_bgr)
