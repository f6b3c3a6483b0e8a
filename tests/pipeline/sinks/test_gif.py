"""Animated GIFs, read back with OpenCV and by their own bytes."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.recorder import Recorder
from tests.pipeline.sinks.presentations import context, presentation

SIZE_WH = (960, 540)


def record(path, items, **more):
    recorder = Recorder(RecorderSettings(path=str(path)))
    recorder.open(context(SIZE_WH, **more))
    for item in items:
        recorder.write(item)
    recorder.close()
    return recorder


def flat(index, bgr=(40, 160, 220)):
    """A frame of one color with a square that moves by 4 pixels a frame."""
    image = np.full((SIZE_WH[1], SIZE_WH[0], 3), bgr, np.uint8)
    image[200:300, 4 * index : 4 * index + 100] = (200, 60, 10)
    return image


def frames_of(path):
    """Pictures (RGB) and how long each is shown, in milliseconds."""
    with Image.open(path) as gif:
        found = []
        for index in range(gif.n_frames):
            gif.seek(index)
            found.append((np.asarray(gif.convert("RGB")), gif.info["duration"]))
        return found, gif.info.get("loop")


@pytest.mark.parametrize(
    ("fps", "count", "expected"),
    [
        (25.0, 50, [80] * 25),  # every 2nd
        (30.0, 60, [100] * 20),  # every 3rd
        (10.0, 20, [100] * 20),
        (None, 10, [80] * 5),
    ],
)
def test_every_nth_frame_is_kept_at_its_time_and_loops(tmp_path, fps, count, expected):
    path = tmp_path / "out.gif"
    ticks = [round(1000 * index / (fps or 25)) for index in range(count)]
    items = [presentation(index, pts, flat(index)) for index, pts in enumerate(ticks)]
    recorder = record(path, items, fps=fps)
    found, loop = frames_of(path)
    assert recorder.outputs == (str(path),)
    assert [duration for _, duration in found][:-1] == expected[:-1]
    assert loop == 0  # for ever
    nth = count // len(expected)
    for index, (image, _) in enumerate(found):
        assert image.shape == (270, 480, 3)
        small = cv2.resize(flat(nth * index)[..., ::-1], (480, 270), interpolation=cv2.INTER_AREA)
        assert np.abs(image.astype(int) - small).mean() < 2


def test_non_square_pixels_are_stretched(tmp_path):
    path = tmp_path / "out.gif"
    square = np.full((60, 60, 3), (10, 60, 200), np.uint8)
    items = [presentation(0, image=square, sample_aspect_ratio=Fraction(2)), presentation(25, image=square)]
    record(path, items)
    (wide, _), (bars, _) = frames_of(path)[0]
    assert wide.shape == bars.shape == (60, 120, 3)
    assert (wide[:, :, 0] > 180).all()
    assert (bars[:, 30:90, 0] > 180).all()
    assert (bars[:, :30, 0] < 20).all()


def test_colors_that_come_late_are_right(tmp_path):
    path = tmp_path / "out.gif"
    colors = [(40, 160, 220)] * 120 + [(30, 200, 40)] * 10
    record(path, [presentation(index, image=flat(0, bgr)) for index, bgr in enumerate(colors)])
    found, _ = frames_of(path)
    assert len(found) == 65
    for index, (image, _) in enumerate(found):
        assert np.abs(image[10, 400].astype(int) - colors[2 * index][::-1]).max() <= 8


def test_a_gap_stays_a_gap(tmp_path):
    path = tmp_path / "out.gif"
    record(path, [presentation(index, pts, flat(index)) for index, pts in enumerate([0, 40, 80, 2080, 2120, 2160])])
    found, _ = frames_of(path)
    assert [duration for _, duration in found][:-1] == [80, 2000, 80]
