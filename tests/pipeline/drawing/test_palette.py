"""Distances between the colors, for eyes of every kind; text in contrast."""

from itertools import combinations

import numpy as np
import pytest

from examples.maskrcnn_predict import class_colors
from pipeline.drawing.palette import INK, PALETTE, WHITE, parse_color, text_color, tutorial_colors

DICHROMATS = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
"""Machado, Oliveira, Fernandes 2009, severity 1: what these eyes see of linear RGB."""


def linear_rgb():
    encoded = np.array(PALETTE, float)[:, ::-1] / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def cielab(linear):
    """CIELAB, D65: another space than the one that the colors were chosen in."""
    to_xyz = np.array(((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)))
    x, y, z = (np.clip(linear, 0, 1) @ to_xyz.T / [0.9505, 1.0, 1.089]).T
    fx, fy, fz = (np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116) for t in (x, y, z))
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=1)


def least_distance(colors):
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(colors, 2))


def test_a_dozen_hues_of_nearly_equal_lightness_and_no_primaries():
    lightness = cielab(linear_rgb())[:, 0]
    assert len(set(PALETTE)) == 12
    assert np.ptp(lightness) < 17
    assert lightness.mean() == pytest.approx(72, abs=3)
    assert not any({0, 255} >= set(color) for color in PALETTE)


def test_all_of_them_are_clearly_different():
    assert least_distance(cielab(linear_rgb())) > 19  # a just noticeable difference is 2.3


@pytest.mark.parametrize("kind", DICHROMATS)
def test_color_blind_eyes_tell_them_apart(kind):
    seen = cielab(linear_rgb() @ np.array(DICHROMATS[kind]).T)
    assert least_distance(seen) > 6  # 2.6 just noticeable differences
    assert least_distance(seen[:6]) > 11


def test_text_has_contrast_on_every_color():
    def luminance(linear):
        return linear @ [0.2126, 0.7152, 0.0722]

    ink = luminance(np.array(INK[::-1]) / 255 / 12.92)
    assert ((luminance(linear_rgb()) + 0.05) / (ink + 0.05)).min() > 7  # WCAG 2.2 AAA
    assert {text_color(color) for color in PALETTE} == {INK}
    assert text_color((32, 32, 32)) == WHITE


def test_the_colors_of_the_tutorial():
    expected = [[int(channel) for channel in np.array(color)[::-1] * 255] for color in class_colors(81)]
    assert [list(color) for color in tutorial_colors(81)] == expected


def test_colors_in_hexadecimal():
    assert parse_color("#1f4e79") == (0x79, 0x4E, 0x1F)
