from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.records import SegmentedFrame, StageTimes
from pipeline.settings.output_settings import AttractSettings
from pipeline.sinks.attract import AttractScreen
from tests.pipeline.fakes import make_frame, make_instances

LABELS = ("BG", "thing", "other")


def seen(at_s, people=0):
    frame = make_frame(9, captured_at_s=at_s)
    return SegmentedFrame(frame, make_instances(people), 9, StageTimes(at_s))


def test_the_attract_screen_appears_after_the_delay_and_goes_when_somebody_comes():
    attract = AttractScreen(AttractSettings(after_s=5.0, classes=("thing",), text="Hello"), LABELS)
    shown = []
    for at_s, people in ((100.0, 0), (104.9, 0), (105.0, 0), (106.0, 1), (110.9, 0), (111.0, 0)):
        item = seen(at_s, people)
        shown.append(attract.apply(item, item.frame.image_bgr) is item.frame.image_bgr)
    assert shown == [True, True, False, True, True, False]


def test_no_attract_screen_before_the_first_result():
    attract = AttractScreen(AttractSettings(after_s=5.0, classes=("thing",)), LABELS)
    for at_s in (100.0, 120.0):
        item = replace(seen(at_s), instances_index=None)
        assert attract.apply(item, item.frame.image_bgr) is item.frame.image_bgr


def test_unknown_is_not_nobody():
    """A network that hangs leaves its last result, in which nobody was there yet."""
    attract = AttractScreen(AttractSettings(after_s=3.0, classes=("thing",)), LABELS)
    shown = []
    results = (
        (100.0, 100.0),
        (104.0, 104.0),
        (108.0, 104.0),
        (109.1, 104.0),
        (110.0, 110.0),
        (112.9, 112.9),
        (114.0, 114.0),
    )
    for at_s, inferred_at_s in results:
        item = replace(seen(at_s), times=StageTimes(at_s, inferred_at_s, inferred_at_s))
        shown.append(attract.apply(item, item.frame.image_bgr) is item.frame.image_bgr)
    # From 109.1 on nobody is known of; results show nobody again for 3 seconds from 109.1 to 112.1.
    assert shown == [True, False, False, True, True, False, False]


def test_results_and_not_time_alone_show_that_nobody_was_there():
    attract = AttractScreen(AttractSettings(after_s=3.0, classes=("thing",)), LABELS)
    for at_s, inferred_at_s, live in ((100.0, 100.0, True), (103.5, 101.0, True), (104.0, 103.0, False)):
        item = replace(seen(at_s), times=StageTimes(at_s, inferred_at_s, inferred_at_s))
        assert (attract.apply(item, item.frame.image_bgr) is item.frame.image_bgr) == live


def test_the_attract_screen_is_the_dark_picture_with_the_text_or_a_picture(tmp_path):
    item = seen(100.0)
    image = np.full((240, 320, 3), 200, np.uint8)
    attract = AttractScreen(AttractSettings(after_s=1.0, classes=("thing",), text="Hello"), LABELS)
    attract.apply(item, image)
    dark = attract.apply(seen(101.0), image)
    assert (dark[5, 5] == 90).all()
    assert (dark[110:130] > 200).any()
    assert (image == 200).all()
    cv2.imwrite(str(tmp_path / "poster.png"), np.full((50, 70, 3), (1, 2, 3), np.uint8))
    settings = AttractSettings(after_s=1.0, classes=("thing",), text="", picture=str(tmp_path / "poster.png"))
    poster = AttractScreen(settings, LABELS)
    poster.apply(item, image)
    screen = poster.apply(seen(101.0), image)
    assert screen.shape == image.shape
    assert (screen == (1, 2, 3)).all()


def test_attract_needs_a_delay_and_known_classes():
    with pytest.raises(ValueError, match="after_s"):
        AttractScreen(AttractSettings(), LABELS)
    with pytest.raises(InputError, match=r"attract\.classes"):
        AttractScreen(AttractSettings(after_s=1.0), LABELS)
