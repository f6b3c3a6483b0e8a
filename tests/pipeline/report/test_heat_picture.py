"""The heat map as a picture."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np

from pipeline.report.heat_picture import WIDTH_PX, heat_scale, heat_uri


def decoded(uri):
    kind, data = re.fullmatch(r"data:image/(\w+);base64,(.*)", uri).groups()
    return kind, cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)


def shares():
    """A quarter of the picture, at its right bottom, is covered half of the time."""
    grid = np.zeros((40, 80), np.float32)
    grid[20:, 40:] = 0.5
    return grid


def test_without_a_frame_it_is_transparent_where_nothing_was():
    kind, image = decoded(heat_uri(shares(), None))
    assert kind == "png"
    assert image.shape == (WIDTH_PX // 2, WIDTH_PX, 4)
    assert image[50, 50, 3] == 0
    assert image[400, 800, 3] > 150


def test_over_a_frame_the_rest_is_gray():
    frame = np.zeros((120, 240, 3), np.uint8)
    frame[...] = (200, 60, 20)
    kind, image = decoded(heat_uri(shares(), frame))
    assert kind == "jpeg"
    assert image.shape == (WIDTH_PX // 2, WIDTH_PX, 3)
    untouched, hot = image[50, 50].astype(int), image[400, 800].astype(int)
    assert np.ptp(untouched) <= 3
    assert np.ptp(hot) > 60


def test_nothing_anywhere():
    _, image = decoded(heat_uri(np.zeros((4, 8), np.float32), None))
    assert not image[..., 3].any()


def test_the_scale_begins_transparent():
    stops = re.findall(r"rgb\((\d+) (\d+) (\d+) / ([\d.]+)\)", heat_scale())
    assert len(stops) == 9
    opacities = [float(stop[3]) for stop in stops]
    assert opacities[0] == 0
    assert opacities == sorted(opacities)
