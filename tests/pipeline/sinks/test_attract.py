"""The attract screen: when it is shown, and what is on it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from pipeline.errors import InputError
from pipeline.records import SegmentedFrame, StageTimes
from pipeline.settings.output_settings import AttractSettings
from pipeline.sinks.attract import AttractScreen, AttractTimer
from pipeline.sources.pattern import read_frame_number
from tests.pipeline.fakes import make_frame, make_instances
from tests.pipeline.sources.clips import write_clip

SIZE_WH = (320, 240)

LABELS = ("BG", "thing", "other")


def seen(at_s, people=0):
    frame = make_frame(9, captured_at_s=at_s)
    return SegmentedFrame(frame, make_instances(people), 9, StageTimes(at_s))


def test_the_attract_screen_appears_after_the_delay_and_goes_when_somebody_comes():
    timer = AttractTimer(AttractSettings(after_s=5.0, classes=("thing",)), LABELS)
    due = []
    for at_s, people in ((100.0, 0), (104.9, 0), (105.0, 0), (106.0, 1), (110.9, 0), (111.0, 0)):
        item = seen(at_s, people)
        due.append(timer.is_due(item))
    assert due == [False, False, True, False, False, True]


def test_no_attract_screen_before_the_first_result():
    timer = AttractTimer(AttractSettings(after_s=5.0, classes=("thing",)), LABELS)
    for at_s in (100.0, 120.0):
        item = replace(seen(at_s), instances_index=None)
        assert not timer.is_due(item)


def test_unknown_is_not_nobody():
    """A network that hangs leaves its last result, in which nobody was there yet."""
    timer = AttractTimer(AttractSettings(after_s=3.0, classes=("thing",)), LABELS)
    due = []
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
        due.append(timer.is_due(item))
    # From 109.1 on nobody is known of; results show nobody again for 3 seconds from 109.1 to 112.1.
    assert due == [False, True, True, False, False, True, True]


def test_results_and_not_time_alone_show_that_nobody_was_there():
    timer = AttractTimer(AttractSettings(after_s=3.0, classes=("thing",)), LABELS)
    for at_s, inferred_at_s, live in ((100.0, 100.0, True), (103.5, 101.0, True), (104.0, 103.0, False)):
        item = replace(seen(at_s), times=StageTimes(at_s, inferred_at_s, inferred_at_s))
        assert timer.is_due(item) == (not live)


def test_the_timer_needs_a_delay_and_known_classes():
    with pytest.raises(ValueError, match="after_s"):
        AttractTimer(AttractSettings(), LABELS)
    with pytest.raises(InputError, match=r"attract\.classes"):
        AttractTimer(AttractSettings(after_s=1.0), LABELS)


def screen_of(**settings):
    return AttractScreen(AttractSettings(after_s=1.0, **settings))


def rows_of(image, least=200):
    """The first and the last row with a bright pixel."""
    rows = np.flatnonzero((image >= least).any(axis=(1, 2)))
    return rows[0], rows[-1]


def test_what_is_behind_is_dimmed():
    behind = np.full((240, 320, 3), 200, np.uint8)
    image = screen_of(text="").draw(SIZE_WH, 0.0, behind)
    assert (image == 90).all()
    assert (behind == 200).all()


def test_the_text_is_a_tenth_of_the_height_and_moves_gently():
    screen = screen_of(text="H")
    tops = []
    for now_s in np.arange(0.0, 6.0, 0.25):  # a period
        top, bottom = rows_of(screen.draw((960, 600), now_s, None))
        tops.append(top)
        # Capital letters are 0.7 of the em, which is 60 pixels; half of that above and below the middle, 7 for motion.
        assert 38 <= bottom - top + 1 <= 48
        assert abs((top + bottom) / 2 - 300) < 20
    assert max(tops) - min(tops) == pytest.approx(2 * 0.012 * 600, abs=2)
    assert max(np.abs(np.diff(tops))) <= 3


def test_long_text_is_broken_into_lines_and_stays_inside():
    for size_wh in ((320, 240), (1080, 1920), (1920, 1080)):
        image = screen_of(text="Step in front of the camera and see what it sees").draw(size_wh, 0.0, None)
        bright = (image > 200).any(axis=2)
        columns = np.flatnonzero(bright.any(axis=0))
        assert 0.02 * size_wh[0] < columns[0] < columns[-1] < 0.98 * size_wh[0]
        top, bottom = rows_of(image)
        assert 0.15 * size_wh[1] < top < bottom < 0.85 * size_wh[1]


def test_other_words_replace_the_text():
    screen = screen_of(text="Come closer!")
    loading = screen.draw(SIZE_WH, 0.0, None, "Just a moment")
    assert (loading != screen.draw(SIZE_WH, 0.0, None)).any()
    assert (loading == AttractScreen(AttractSettings(text="Just a moment")).draw(SIZE_WH, 0.0, None)).all()


def test_a_picture_fills_the_screen_and_is_zoomed_slowly(tmp_path):
    poster = np.full((50, 70, 3), (1, 2, 3), np.uint8)
    poster[20:30, 30:40] = (200, 100, 50)
    cv2.imwrite(str(tmp_path / "poster.png"), poster)
    screen = screen_of(text="", picture=str(tmp_path / "poster.png"))
    first, largest = screen.draw(SIZE_WH, 0.0, None), screen.draw(SIZE_WH, 20.0, None)
    assert first.shape == (240, 320, 3)
    assert (first[0, 0] == (1, 2, 3)).all()
    widths = [(image[120, :, 0] > 100).sum() for image in (first, largest)]
    assert widths[0] == 48  # 10 of 50 pixels, 240 high
    assert widths[1] == pytest.approx(48 * 1.06, abs=1.5)
    np.testing.assert_array_equal(screen.draw(SIZE_WH, 40.0, None), first)


@pytest.mark.parametrize("scale", [np.uint8(1), np.uint16(257)])
def test_a_logo_keeps_its_shape_and_its_transparency(tmp_path, scale):
    logo = np.zeros((40, 60, 4), np.uint8)
    logo[:, 30:] = (10, 20, 250, 255)  # the left half is transparent
    cv2.imwrite(str(tmp_path / "logo.png"), logo * scale)
    behind = np.full((240, 320, 3), 200, np.uint8)
    image = screen_of(text="", logo=str(tmp_path / "logo.png")).draw(SIZE_WH, 0.0, behind)
    red = (image == (10, 20, 250)).all(axis=2)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    # 0.28 of 240 high, 67 x 100: its right half begins in the middle of the screen, a tenth of the height down.
    assert (rows[0], rows[-1]) == (24, 90)
    assert columns[0] == pytest.approx(160, abs=1)
    assert columns[-1] == pytest.approx(209, abs=1)
    assert (image[60, 115:155] == 90).all()


def test_a_logo_is_turned_as_its_rotation_tag_says(tmp_path):
    logo = np.zeros((60, 40, 4), np.uint8)
    logo[:30] = (250, 20, 10, 255)  # the lower half is transparent
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # turn clockwise to show: what is at the top belongs to the right
    PillowImage.fromarray(logo).save(tmp_path / "logo.png", exif=exif)
    behind = np.full((240, 320, 3), 200, np.uint8)
    image = screen_of(text="", logo=str(tmp_path / "logo.png")).draw(SIZE_WH, 0.0, behind)
    columns = np.flatnonzero((image == (10, 20, 250)).all(axis=2).any(axis=0))
    # 67 x 100 as above: its right half begins in the middle of the screen
    assert columns[0] == pytest.approx(160, abs=1)
    assert columns[-1] == pytest.approx(209, abs=1)


def test_a_logo_without_transparency_is_opaque(tmp_path):
    cv2.imwrite(str(tmp_path / "logo.jpg"), np.full((40, 60, 3), 128, np.uint8))
    image = screen_of(text="", logo=str(tmp_path / "logo.jpg")).draw(SIZE_WH, 0.0, None)
    assert (image[30:85, 115:205] == 128).all()


def test_a_video_plays_at_its_own_speed_and_begins_again(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", 10, rate=25)
    screen = AttractScreen(AttractSettings(text="", video=str(clip)))
    numbers = [read_frame_number(screen.draw((96, 64), 7.0 + 0.04 * i + 0.01, None)) for i in range(12)]
    assert numbers == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert read_frame_number(screen.draw((96, 64), 100.0, None)) == 2  # after it was hidden, it goes on
    screen.close()


@pytest.mark.parametrize("content", [None, b"no video"])
def test_a_video_that_disappears_leaves_its_last_picture_and_plays_when_it_is_back(tmp_path, caplog, content):
    path = tmp_path / "a.mp4"
    write_clip(path, 10, rate=25)
    screen = AttractScreen(AttractSettings(text="", video=str(path)))
    path.unlink() if content is None else path.write_bytes(content)
    numbers = [read_frame_number(screen.draw((96, 64), 7.0 + 0.04 * i + 0.01, None)) for i in range(600)]
    assert numbers[:10] == list(range(10))
    assert set(numbers[11:]) == {9}
    (record,) = caplog.records  # of several attempts
    assert "a.mp4" in record.message
    write_clip(path, 5, rate=25)
    numbers = [read_frame_number(screen.draw((96, 64), 40.0 + 0.041 * i, None)) for i in range(7)]
    assert numbers == [0, 1, 2, 3, 4, 0, 1]
    screen.close()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("picture", r"attract\.picture: .* cannot be opened"),
        ("logo", r"attract\.logo: .* cannot be opened"),
        ("video", r"attract\.video: expected a video file"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_setting(tmp_path, setting, message):
    with pytest.raises(InputError, match=message):
        screen_of(**{setting: str(tmp_path / "missing.mp4")})


def test_a_picture_is_no_video(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((5, 7, 3), np.uint8))
    with pytest.raises(InputError, match=r"attract\.video: expected a video file"):
        screen_of(video=str(tmp_path / "a.png"))
