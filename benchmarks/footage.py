"""Frames for the rows: pans across photographs, scaled to the sizes of the table."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "tests" / "data" / "video" / "photographs.mp4"
CLIP_FRAMES = 300
PHOTOGRAPHS = ROOT / "tests" / "data" / "oracle" / "images"

PICTURES = 120
"""Images on which engines are compared: with several hundred objects, one object is a sixth of a percent."""

Image = NDArray[np.uint8]


def frames(count: int, size_wh: tuple[int, int], every: int = 1) -> list[Image]:
    """Every nth frame of the clip, scaled to `size_wh`, uint8 (H, W, 3) BGR; starts over at its end."""
    found: list[Image] = []
    while len(found) < count:
        before = len(found)
        with av.open(str(CLIP)) as container:
            for index, picture in enumerate(container.decode(video=0)):
                if index % every == 0 and len(found) < count:
                    found.append(scaled(picture.to_ndarray(format="bgr24"), size_wh))
        if len(found) == before:
            raise RuntimeError(f"{CLIP} has no frames")
    return found


def photographs(folder: str | None, count: int) -> list[Image]:
    """The test suite's photographs, then those of the folder, then frames spread over the clip."""
    paths = sorted(PHOTOGRAPHS.glob("*.jpg"))
    if folder is not None:
        paths += sorted(Path(folder).glob("*.jpg"))
    found = [image for image in map(cv2.imread, map(str, paths[:count])) if image is not None]
    missing = count - len(found)
    return found + frames(missing, (640, 360), every=max(1, CLIP_FRAMES // max(1, missing)))


def scaled(image_bgr: Image, size_wh: tuple[int, int]) -> Image:
    """The image at another size; unchanged if it has that size."""
    height, width = image_bgr.shape[:2]
    if (width, height) == size_wh:
        return image_bgr
    smaller = size_wh[0] < width
    return np.asarray(
        cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8
    )


def write_clip(path: Path, pictures: list[Image], rate: int = 25) -> Path:
    """Write the frames to an H.264 file, in the quality of camera recordings."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_clip(path: Path) -> list[Image]:
    """The decoded frames of a file."""
    with av.open(str(path)) as container:
        return [picture.to_ndarray(format="bgr24") for picture in container.decode(video=0)]
