"""Colors of classes."""

from __future__ import annotations

import colorsys
import itertools

import pytest

from pipeline.drawing.palette import BLACK, WHITE, class_colors, parse_color, text_color, track_color


def test_eighty_one_classes_have_distinct_saturated_colors():
    colors = class_colors(81)
    assert len(set(colors)) == 81
    for blue, green, red in colors:
        _, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
        assert (round(saturation, 2), round(value, 2)) == (1.0, 1.0)
    # 1530 steps around the circle of full colors, 81 colors.
    apart = [sum(abs(a - b) for a, b in zip(one, two, strict=True)) for one, two in itertools.combinations(colors, 2)]
    assert min(apart) >= 1530 // 81 - 1


def test_the_same_class_has_the_same_color_in_every_run():
    # Worked out apart from the code: hues 0, 1/4, 1/2, 3/4, shuffled with random.Random(42) to the order 2, 1, 3, 0.
    assert class_colors(4) == [(255, 255, 0), (0, 255, 128), (255, 0, 128), (0, 0, 255)]


def test_a_hexadecimal_color_becomes_bgr():
    assert parse_color("#1f4e79") == (0x79, 0x4E, 0x1F)


@pytest.mark.parametrize("count", [0, 1])
def test_few_classes(count):
    assert len(class_colors(count)) == count


@pytest.mark.parametrize(
    ("background_bgr", "text"),
    [((0, 255, 255), BLACK), ((255, 255, 255), BLACK), ((255, 0, 0), WHITE), ((0, 0, 255), WHITE), ((0, 0, 0), WHITE)],
)
def test_text_is_black_on_light_and_white_on_dark(background_bgr, text):
    assert text_color(background_bgr) == text


def test_tracks_near_one_another_have_colors_that_differ_clearly():
    colors = [track_color(track_id) for track_id in range(1, 201)]
    assert track_color(7) == colors[6]
    for first, color in enumerate(colors):
        for other in colors[first + 1 : first + 6]:
            assert sum(abs(a - b) for a, b in zip(color, other, strict=True)) > 120
