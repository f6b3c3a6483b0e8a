"""Makes samples/people.mp4: shots of moving people from Intel's "Sample Videos", with a soft chord as sound.

    python tools/make_sample.py CLIPS_FOLDER samples/people.mp4

CLIPS_FOLDER holds the clips named in SHOTS; samples/CREDITS.txt says where they come from. A clip of 10 frames a second
keeps its pace: each of its frames is repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

SIZE_WH = (640, 360)
FPS = 30
CRF = 20
SAMPLE_RATE_HZ = 48_000
CHORD_HZ = (110.0, 164.81, 220.0, 277.18)


@dataclass(frozen=True)
class Shot:
    """A stretch of a clip.

    Attributes:
        clip: file name.
        first, end: indices of the first frame and of the one after the last.
        crop: the part shown, (left, top, width, height) in the clip's pixels, 16:9.
    """

    clip: str
    first: int
    end: int
    crop: tuple[int, int, int, int]


DESK, WALK, BOOK = "one-by-one-person-detection.mp4", "sign-walk.mkv", "sign-book.mkv"
SHOTS = (
    Shot(WALK, 0, 34, (0, 64, 640, 360)),
    Shot(BOOK, 0, 109, (0, 64, 640, 360)),
    Shot(DESK, 58, 91, (0, 0, 768, 432)),
    Shot(DESK, 177, 199, (0, 0, 768, 432)),
    Shot(DESK, 227, 257, (0, 0, 768, 432)),
)


def main() -> None:
    """Command line: the folder of clips, the file to write."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, target = map(Path, sys.argv[1:])
    missing = [shot.clip for shot in SHOTS if not (folder / shot.clip).is_file()]
    if missing:
        sys.exit(f"{folder / missing[0]} is missing; samples/CREDITS.txt says where it comes from")
    images = [image for shot in SHOTS for image in frames(folder, shot)]
    write_video(target, images)
    print(f"{target}: {len(images)} frames, {len(images) / FPS:.2f} s, {target.stat().st_size:,} bytes")


def frames(folder: Path, shot: Shot) -> Iterator[np.ndarray]:
    """The shot's frames at FPS, uint8 (360, 640, 3) BGR."""
    left, top, width, height = shot.crop
    with av.open(str(folder / shot.clip)) as container:
        rate = container.streams.video[0].average_rate
        for index, picture in enumerate(container.decode(video=0)):
            if shot.first <= index < shot.end:
                part = picture.to_ndarray(format="bgr24")[top : top + height, left : left + width]
                method = cv2.INTER_AREA if width > SIZE_WH[0] else cv2.INTER_CUBIC
                yield from [cv2.resize(part, SIZE_WH, interpolation=method)] * round(FPS / rate)


def chord(count: int) -> np.ndarray:
    """`count` samples of a quiet chord that swells and fades, int16 (1, count)."""
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    tones = [
        (0.6 + 0.4 * np.sin(2 * np.pi * (0.11 + 0.03 * number) * time_s + number)) * np.sin(2 * np.pi * hz * time_s)
        for number, hz in enumerate(CHORD_HZ)
    ]
    edge = np.minimum(np.minimum(time_s, time_s[::-1]) / 0.8, 1.0)
    return (0.05 * 32767 * sum(tones) * edge).astype(np.int16)[None]


def write_video(target: Path, images: list[np.ndarray], fps: int = FPS, crf: int = CRF) -> None:
    """Encodes H.264 yuv420p and AAC, the index in front.

    Args:
        target: an mp4 file, replaced if it exists.
        images: uint8 (360, 640, 3) BGR.
        fps: frames a second; divides SAMPLE_RATE_HZ.
        crf: x264's quality; lower is better.
    """
    per_frame = SAMPLE_RATE_HZ // fps
    samples = chord(len(images) * per_frame)
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "veryslow"})
        video.width, video.height = SIZE_WH
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=64_000)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(video.encode(frame))
            part = np.ascontiguousarray(samples[:, index * per_frame : (index + 1) * per_frame])
            audio = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            audio.sample_rate, audio.time_base = SAMPLE_RATE_HZ, Fraction(1, SAMPLE_RATE_HZ)
            audio.pts = index * per_frame
            container.mux(sound.encode(audio))
        container.mux(video.encode())
        container.mux(sound.encode())


if __name__ == "__main__":
    main()
