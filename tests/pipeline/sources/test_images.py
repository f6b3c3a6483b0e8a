"""Images of many kinds."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.sources.images import ImagesSource, load_image

RED, GREEN = (20, 30, 220), (30, 200, 40)


def two_colors(height: int = 20, width: int = 30) -> np.ndarray:
    """Red on the left, green on the right."""
    image = np.full((height, width, 3), GREEN, np.uint8)
    image[:, : width // 2] = RED
    return image


def write(path: Path, image: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "a.jpg", "a.ppm", "Übung 日本.png"])
def test_formats(tmp_path: Path, name: str) -> None:
    image = load_image(write(tmp_path / name, two_colors()))
    assert image.dtype == np.uint8
    assert image.shape == (20, 30, 3)
    assert np.abs(image[10, 4].astype(int) - RED).max() < 12
    assert np.abs(image[10, 26].astype(int) - GREEN).max() < 12


def test_gray_and_16_bit(tmp_path: Path) -> None:
    gray = np.full((5, 7), 90, np.uint8)
    assert (load_image(write(tmp_path / "gray.png", gray)) == 90).all()
    deep = np.full((5, 7, 3), 40_000, np.uint16)
    assert np.abs(load_image(write(tmp_path / "deep.png", deep)).astype(int) - 40_000 / 257).max() <= 1


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_transparency_becomes_white(tmp_path: Path, dtype: type, top: int) -> None:
    bgra = np.zeros((4, 6, 4), dtype)
    bgra[:, 3:] = (0, 0, top, top)
    image = load_image(write(tmp_path / "a.png", bgra))
    assert image[1, 1].tolist() == [255, 255, 255]
    assert image[1, 4].tolist() == [0, 0, 255]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    path = write(tmp_path / "phone.jpg", two_colors())
    jpeg = path.read_bytes()
    # One entry: tag 0x0112 (orientation), type 3 (short), count 1, value 6 (turn clockwise to show).
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\0\0" + tiff
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:])
    image = load_image(path)
    assert image.shape == (30, 20, 3)
    assert image[4, 10, 2] > 200, "what was left is on top"
    assert image[26, 10, 1] > 180


@pytest.mark.parametrize("orientation", range(1, 10))  # 9 means nothing
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_exif_orientation_turns_the_transparency_too(tmp_path: Path, suffix: str, orientation: int) -> None:
    rgba = np.full((20, 30, 4), (20, 200, 30, 255), np.uint8)
    rgba[:, :15, :3] = (220, 30, 20)
    rgba[12:, 20:, 3] = 0  # no turn and no flip leaves this corner where it is
    stored = Image.fromarray(rgba)
    stored.getexif()[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=stored.getexif(), lossless=True)
    upright = ImageOps.exif_transpose(stored)
    page = Image.new("RGBA", upright.size, "white")
    page.alpha_composite(upright)
    assert (load_image(path) == np.asarray(page)[:, :, 2::-1]).all()


def test_a_damaged_exif_leaves_the_transparency_as_stored(tmp_path: Path) -> None:
    rgba = np.full((20, 30, 4), (220, 30, 20, 255), np.uint8)
    rgba[12:, 20:, 3] = 0
    path = tmp_path / "a.png"
    Image.fromarray(rgba).save(path, exif=b"Exif\0\0MM\0*\0\0")
    image = load_image(path)
    assert image.shape == (20, 30, 3)
    assert image[15, 25].tolist() == [255, 255, 255]
    assert image[5, 5].tolist() == [20, 30, 220]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    path.write_bytes((Path(__file__).parents[2] / "data" / "video" / "cmyk.jpg").read_bytes())
    image = load_image(path)
    assert image.shape == (24, 40, 3)
    assert np.abs(image[12, 5].astype(int) - (0, 0, 255)).max() < 40
    assert np.abs(image[12, 35].astype(int) - (255, 255, 255)).max() < 12


def test_source_reads_every_image_in_order(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"img{number}.png", two_colors(20, 30 + number)) for number in (1, 2, 10)]
    source = ImagesSource(paths, "folder")
    info = source.open()
    assert (info.kind, info.frame_count, info.width, info.height) == (SourceKind.STILLS, 3, 31, 20)
    frames = list(iter(source.read, None))
    assert [frame.source_id for frame in frames] == ["img1.png", "img2.png", "img10.png"]
    assert [(frame.index, frame.pts, frame.time_base) for frame in frames] == [(0, 0, 1), (1, 0, 1), (2, 0, 1)]
    assert [frame.width for frame in frames] == [31, 32, 40]
    assert source.warnings.texts() == []
    source.close()


def test_unreadable_images_among_others_are_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [tmp_path / "bad.png", write(tmp_path / "good.png", two_colors()), tmp_path / "gone.png"]
    paths[0].write_bytes(b"\x89PNG\r\n\x1a\n nonsense")
    source = ImagesSource(paths, "folder")
    info = source.open()
    assert info.frame_count == 2
    assert [frame.source_id for frame in iter(source.read, None)] == ["good.png"]
    assert source.warnings.texts() == ["unreadable images skipped: bad.png, gone.png"]
    assert "bad.png" in caplog.text
    assert "gone.png" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"), [(b"hello", "damaged or not an image"), (b"", "empty"), (None, "No such file")]
)
def test_single_bad_image_is_an_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        ImagesSource([path], "a.jpg").open()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.bmp"])
@pytest.mark.parametrize("kept", [0.1, 0.6])
def test_a_truncated_image_is_a_one_line_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, kept: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    path = write(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(InputError, match=r"is damaged|is truncated"):
        load_image(path)
    assert capfd.readouterr() == ("", "")


def test_a_png_may_be_followed_by_other_data(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", two_colors())
    path.write_bytes(path.read_bytes() + bytes(500))
    assert (load_image(path) == two_colors()).all()


def test_folder_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for path in paths:
        path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"none of the 2 images in folder can be read"):
        ImagesSource(paths, "folder").open()


def test_interrupt(tmp_path: Path) -> None:
    source = ImagesSource([write(tmp_path / "a.png", two_colors())] * 3, "a")
    source.open()
    assert source.read() is not None
    source.interrupt()
    assert source.read() is None
