"""Makes small real video files for tests. Each frame carries its number, so that tests can identify it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.records import Frame, SourceInfo
from pipeline.sources import pattern
from pipeline.sources.video import VideoFile

SIZE_WH = (96, 64)


def numbered(number: int, size_wh: tuple[int, int] = SIZE_WH) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) BGR from which `pattern.read_frame_number` reads the number."""
    return pattern.draw(pattern.background(*size_wh), number, Fraction(25))


def write_clip(
    path: Path,
    images: Sequence[NDArray[np.uint8]] | int = 10,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 25,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    matrix: int | None = None,
    full_range: bool | None = None,
    display_matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    sound_s: float = 0.0,
    container_format: str | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode BGR images (a number: so many numbered ones) with PyAV.

    `matrix` is an AVColorSpace number and goes into the stream's tags and the conversion alike; `pts` is in
    `time_base`, by default the picture's number in 1 / rate.
    """
    pictures = [numbered(number) for number in range(images)] if isinstance(images, int) else images
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", format=container_format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        color_range = None if full_range is None else 2 if full_range else 1
        if color_range is not None:
            stream.codec_context.color_range = color_range
        if display_matrix is not None:
            stream.set_display_matrix(display_matrix)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        sound = container.add_stream("aac", rate=8000, layout="mono") if sound_s else None
        for number, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=color_range)
            frame.pts = number if pts is None else pts[number]
            frame.time_base = time_base or 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_sound(container, sound, sound_s)
    return path


def with_damaged_tags(path: Path) -> Path:
    """A copy of an mp4 whose comment is Latin-1, which is not UTF-8."""
    tagged = path.with_name(f"tagged{path.suffix}")
    with av.open(str(path)) as source, av.open(str(tagged), "w") as target:
        target.metadata["comment"] = "caf@ au lait"
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    content = tagged.read_bytes()
    assert content.count(b"caf@") == 1
    tagged.write_bytes(content.replace(b"caf@", b"caf\xe9"))
    return tagged


def _write_sound(container: Any, stream: Any, seconds: float) -> None:
    for start in range(0, round(8000 * seconds), 1024):
        samples = np.sin(np.arange(start, start + 1024) / 8).astype(np.float32)[None, :]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def read_all(path: Path, **arguments: float) -> tuple[SourceInfo, list[Frame]]:
    """A video file's description and all its frames; it is opened twice."""
    with VideoFile(path, **arguments) as source:
        pass
    source = VideoFile(path, **arguments)
    info = source.open()
    frames = list(iter(source.read, None))
    source.close()
    return info, frames


def numbers(frames: list[Frame]) -> list[int]:
    """The numbers in pictures of `numbered`."""
    return [pattern.read_frame_number(frame.image_bgr) for frame in frames]
