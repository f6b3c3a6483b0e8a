"""Records annotated frames as an animated GIF: smaller, fewer of them, in the 256 colors that suit them."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any, Protocol

import av
import av.filter
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.letterbox import letterbox
from pipeline.records import Frame

LONGER_SIDE = 480
"""Pixels: larger frames are reduced to it, as a GIF takes about a megabyte a second then."""
MOST_FPS = 12.5
_ASSUMED_FPS = 25.0
"""For sources that state no rate."""
_TICK_S = Fraction(1, 100)
"""The time stamps of a GIF are hundredths of a second."""
_FRAMES_OF_A_PALETTE = 50
"""So many frames share their colors: what stands still does not flicker, and what comes later gets colors too."""

_BGR = av.VideoFormat("bgr24")

Image = NDArray[np.uint8]


class _File(Protocol):
    """What a recording is written to: see `MediaFile` in media_file.py."""

    error: OSError | None

    def sync_if_due(self) -> None: ...

    def close(self) -> None: ...


class GifRecording:
    """An open GIF. Frames reach the file with their palette, some seconds late.

    Args:
        file: what to write to; closed by `close`.
        size_wh: width and height of the first frame in square pixels.
        fps: frame rate of the source; every nth frame is kept. None if unknown.
    """

    def __init__(self, file: _File, size_wh: tuple[int, int], fps: float | None) -> None:
        self.file = file
        self._full_wh = size_wh
        scale = min(1.0, LONGER_SIDE / max(size_wh))
        self._size_wh = max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))
        self._first_s: Fraction | None = None
        fps = fps or _ASSUMED_FPS
        self._step_s = ceil(fps / MOST_FPS) / fps
        self._tolerance_s = 0.5 / fps
        self._due_s = 0.0
        self._last_tick = -1
        self._frames: list[tuple[int, Image]] = []
        self._output: Any = av.open(file, "w", format="gif")
        self._stream: av.VideoStream = self._output.add_stream("gif", rate=Fraction(MOST_FPS))
        self._stream.time_base = self._stream.codec_context.time_base = _TICK_S
        self._stream.width, self._stream.height = self._size_wh
        self._stream.pix_fmt = "pal8"

    def write(self, frame: Frame, annotated_bgr: Image) -> None:
        """Keep a frame if one is due. Raises OSError or FFmpegError if the file cannot be written."""
        pts_s = frame.pts * frame.time_base
        self._first_s = pts_s if self._first_s is None else self._first_s
        time_s = pts_s - self._first_s
        if time_s < self._due_s - self._tolerance_s:
            return
        self._due_s = max(self._due_s, float(time_s)) + self._step_s
        self._last_tick = max(self._last_tick + 1, round(time_s / _TICK_S))
        # The size differs after a camera reconnects in another mode.
        image = letterbox(annotated_bgr, self._full_wh, float(frame.sample_aspect_ratio))
        image = cv2.resize(image, self._size_wh, interpolation=cv2.INTER_AREA)
        self._frames.append((self._last_tick, np.asarray(image, np.uint8)))
        if len(self._frames) == _FRAMES_OF_A_PALETTE:
            self._flush()
            self.file.sync_if_due()

    def close(self) -> None:
        """Write the rest."""
        try:
            if self.file.error is None:
                self._flush()
                self._output.mux(self._stream.encode(None))
        finally:
            try:
                self._output.close()
            finally:
                self.file.close()

    def _flush(self) -> None:
        """Give the frames a palette and write them."""
        frames, self._frames = self._frames, []
        if not frames:
            return
        graph = self._filters()
        for tick, image_bgr in frames:
            picture = av.VideoFrame.from_ndarray(image_bgr, format="bgr24")
            picture.pts, picture.time_base = tick, _TICK_S
            graph.vpush(picture)
        graph.vpush(None)
        for _ in frames:
            self._output.mux(self._stream.encode(graph.vpull()))

    def _filters(self) -> av.filter.Graph:
        """FFmpeg's filters that choose 256 colors for all frames that are pushed, and dither the frames with them."""
        graph = av.filter.Graph()
        width, height = self._size_wh
        source = graph.add_buffer(width=width, height=height, format=_BGR, time_base=_TICK_S)
        sink = graph.add("buffersink")
        split = graph.add("split")
        choose = graph.add("palettegen", "reserve_transparent=0")
        use = graph.add("paletteuse", "dither=bayer:bayer_scale=4:diff_mode=rectangle")
        source.link_to(split)
        split.link_to(choose, 0, 0)
        split.link_to(use, 1, 0)
        choose.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        return graph
