"""Colours of classes."""

from __future__ import annotations

import colorsys
import itertools

import pytest

from pipeline.drawing.palette import BLACK, WHITE, class_colours, text_colour, track_colour


def test_eighty_one_classes_have_distinct_saturated_colours():
    colours = class_colours(81)
    assert len(set(colours)) == 81
    for blue, green, red in colours:
        _, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
        assert (round(saturation, 2), round(value, 2)) == (1.0, 1.0)
    # 1530 steps around the circle of full colours, 81 colours.
    apart = [sum(abs(a - b) for a, b in zip(one, two, strict=True)) for one, two in itertools.combinations(colours, 2)]
    assert min(apart) >= 1530 // 81 - 1


def test_the_same_class_has_the_same_colour_in_every_run():
    # Worked out apart from the code: hues 0, 1/4, 1/2, 3/4, shuffled with random.Random(42) to the order 2, 1, 3, 0.
    assert class_colours(4) == [(255, 255, 0), (0, 255, 128), (255, 0, 128), (0, 0, 255)]


@pytest.mark.parametrize("count", [0, 1])
def test_few_classes(count):
    assert len(class_colours(count)) == count


@pytest.mark.parametrize(
    ("backing_bgr", "text"),
    [((0, 255, 255), BLACK), ((255, 255, 255), BLACK), ((255, 0, 0), WHITE), ((0, 0, 255), WHITE), ((0, 0, 0), WHITE)],
)
def test_text_is_black_on_light_and_white_on_dark(backing_bgr, text):
    assert text_colour(backing_bgr) == text


def test_tracks_near_one_another_have_colours_that_differ_clearly():
    colours = [track_colour(track_id) for track_id in range(1, 201)]
    assert track_colour(7) == colours[6]
    for first, colour in enumerate(colours):
        for other in colours[first + 1 : first + 6]:
            assert sum(abs(a - b) for a, b in zip(colour, other, strict=True)) > 120
