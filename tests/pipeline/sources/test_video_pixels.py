"""The pixels of a video file: turned as told, in true colors, at the size of its first frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.pipeline.sources.clips import numbered, numbers, read_all, write_clip

# --- orientation: the original has red top left, green top right, blue bottom left

RED, GREEN, BLUE, GRAY = (0, 0, 220), (0, 180, 0), (220, 0, 0), (128, 128, 128)


def corners() -> np.ndarray:
    image = np.full((64, 96, 3), GRAY, np.uint8)
    image[:32, :48], image[:32, 48:], image[32:, :48] = RED, GREEN, BLUE
    return image


def nearest(image: np.ndarray, row: int, column: int) -> tuple[int, int, int]:
    pixel = image[row, column].astype(int)
    return min((RED, GREEN, BLUE, GRAY), key=lambda color: np.abs(pixel - color).sum())


ONE = 65536


@pytest.mark.parametrize(
    ("a", "b", "c", "d", "expected"),
    [  # what lies top left, top right, bottom left; by hand from x = a p + c q, y = b p + d q
        (ONE, 0, 0, ONE, (RED, GREEN, BLUE)),
        (0, ONE, -ONE, 0, (BLUE, RED, GRAY)),  # 90 degrees clockwise: what was bottom left is top left
        (-ONE, 0, 0, -ONE, (GRAY, BLUE, GREEN)),  # 180
        (0, -ONE, ONE, 0, (GREEN, GRAY, RED)),  # 270 clockwise
        (-ONE, 0, 0, ONE, (GREEN, RED, GRAY)),  # mirrored left to right
        (ONE, 0, 0, -ONE, (BLUE, GRAY, RED)),  # upside down
        (0, ONE, ONE, 0, (RED, BLUE, GREEN)),  # transposed
    ],
)
def test_rotation_and_mirroring(tmp_path: Path, a: int, b: int, c: int, d: int, expected: tuple) -> None:
    path = write_clip(
        tmp_path / "phone.mp4",
        [corners()] * 3,
        display_matrix=[a, b, 0, c, d, 0, 0, 0, 1 << 30],
        aspect=Fraction(4, 3),
    )
    info, frames = read_all(path)
    image = frames[1].image_bgr
    turned = a == 0
    assert image.shape == ((96, 64, 3) if turned else (64, 96, 3))
    assert (info.height, info.width) == image.shape[:2]
    assert info.sample_aspect_ratio == (Fraction(3, 4) if turned else Fraction(4, 3))
    assert (nearest(image, 9, 9), nearest(image, 9, -9), nearest(image, -9, 9)) == expected


# --- colors: four patches, encoded with their matrix and range told

PATCHES = np.array([(30, 60, 200), (40, 180, 50), (210, 70, 40), (235, 235, 235)], np.uint8)


def patches(size_wh: tuple[int, int] = (96, 64)) -> np.ndarray:
    width, height = size_wh
    return np.repeat(np.repeat(PATCHES[None], height, axis=0), width // 4, axis=1)


def patch_colors(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return np.array([image[height // 2, width // 8 + number * width // 4] for number in range(4)], int)


@pytest.mark.parametrize(
    ("matrix", "full_range", "pix_fmt", "codec"),
    [
        (1, False, "yuv420p", "libx264"),
        (1, True, "yuv420p", "libx264"),
        (6, False, "yuv420p", "libx264"),
        (5, False, "yuv422p", "libx264"),
        (1, False, "yuv420p10le", "libx264"),
        (9, False, "yuv420p10le", "libx264"),
        (6, True, "yuvj420p", "mjpeg"),
        (1, False, "yuv444p", "libx264"),
        (None, None, "rgba", "png"),
        (None, True, "gray", "libx264"),
    ],
)
def test_colors_round_trip(tmp_path: Path, matrix: int | None, full_range: bool, pix_fmt: str, codec: str) -> None:
    options = {"crf": "4"} if codec == "libx264" else {}
    path = tmp_path / ("a.mov" if codec == "png" else "a.mkv")
    write_clip(
        path, [patches()] * 2, codec=codec, pix_fmt=pix_fmt, matrix=matrix, full_range=full_range, options=options
    )
    _info, frames = read_all(path)
    expected = PATCHES.astype(int)
    if pix_fmt == "gray":
        expected = np.repeat((PATCHES @ [0.114, 0.587, 0.299])[:, None], 3, axis=1)
    assert np.abs(patch_colors(frames[0].image_bgr) - expected).max() <= 6


@pytest.mark.parametrize(("size_wh", "matrix"), [((1280, 720), 1), ((640, 480), 6)])
def test_untagged_video_is_709_in_hd_and_601_below(tmp_path: Path, size_wh: tuple[int, int], matrix: int) -> None:
    image = patches(size_wh)
    frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p", dst_colorspace=matrix)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size_wh, "yuv420p"
        frame.colorspace, frame.pts = 2, 0  # unspecified
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _info, frames = read_all(path)
    assert np.abs(patch_colors(frames[0].image_bgr) - PATCHES.astype(int)).max() <= 4


def test_odd_size_and_pixel_aspect(tmp_path: Path) -> None:
    image = cv2.resize(numbered(3), (97, 61))
    path = write_clip(tmp_path / "a.mkv", [image] * 2, pix_fmt="yuv444p", aspect=Fraction(16, 11))
    info, frames = read_all(path)
    assert (info.width, info.height, info.sample_aspect_ratio) == (97, 61, Fraction(16, 11))
    assert frames[0].image_bgr.shape == (61, 97, 3)


def test_size_that_changes_is_scaled_to_the_first(tmp_path: Path) -> None:
    parts = [
        write_clip(tmp_path / f"{size[0]}.ts", [numbered(number, size) for number in range(start, start + 5)])
        for start, size in ((0, (96, 64)), (5, (192, 128)))
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    _info, frames = read_all(joined)
    assert numbers(frames) == list(range(10))
    assert {frame.image_bgr.shape for frame in frames} == {(64, 96, 3)}
    assert np.diff([frame.pts for frame in frames]).min() > 0
