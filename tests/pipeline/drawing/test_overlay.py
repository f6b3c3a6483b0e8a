"""Position, size and color of what is drawn, and the switches."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mrcnn.utils import unmold_mask
from pipeline.drawing.overlay import Overlay, StatusLine, draw_banner
from pipeline.drawing.palette import text_color, track_color
from pipeline.records import Instances
from pipeline.settings.output_settings import OverlaySettings

LABELS = ["BG", "person", "bicycle", "a rather long name of a class that needs much room"]
NOTHING = {"masks": False, "boxes": False, "labels": False, "scores": False, "status": False}


def instances(*rows, mask_probs=None):
    """Rows of (class id, score, x1, y1, x2, y2); full masks unless given."""
    count = len(rows)
    return Instances(
        np.array([row[2:] for row in rows], np.float32).reshape(count, 4),
        np.array([row[0] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.float32),
        np.ones((count, 28, 28), np.float32) if mask_probs is None else np.asarray(mask_probs, np.float32),
    )


def frame(height=237, width=411, value=100):
    return np.full((height, width, 3), value, np.uint8)


def overlay(**switches):
    return Overlay(OverlaySettings(**{**NOTHING, **switches}), LABELS)


def changed(before, after):
    return (before != after).any(axis=2)


def test_the_input_is_never_edited_and_the_result_is_new():
    image = frame()
    image.flags.writeable = False
    drawn = Overlay(OverlaySettings(), LABELS).draw(image, instances((1, 0.9, 20, 30, 200, 150)), StatusLine(30.0))
    assert drawn.dtype == np.uint8
    assert drawn.shape == image.shape
    assert drawn.flags.writeable
    assert not np.shares_memory(drawn, image)
    assert (image == 100).all()


def test_no_instances_and_no_status_change_nothing():
    image = frame()
    assert not changed(image, Overlay(OverlaySettings(), LABELS).draw(image, Instances.empty(), None)).any()


def test_a_mask_is_blended_exactly_where_the_network_says():
    y, x = np.mgrid[0:28, 0:28]
    mask_probs = (np.hypot(y - 13, x - 11) < 9).astype(np.float32)
    image = np.random.default_rng(0).integers(0, 256, (237, 411, 3), np.uint8)
    painter = overlay(masks=True, mask_alpha=0.3)

    drawn = painter.draw(image, instances((2, 0.9, 40, 50, 301, 200), mask_probs=[mask_probs]))

    expected = image.astype(np.float64)
    inside = unmold_mask(mask_probs, (50, 40, 200, 301), image.shape)
    expected[inside] = 0.7 * expected[inside] + 0.3 * np.array(painter.color(2))
    assert np.abs(drawn - expected).max() <= 1.0
    assert (drawn[~inside] == image[~inside]).all()
    assert inside.any()


def test_boxes_lie_on_their_edges_with_lines_of_two_pixels_at_640x480():
    image = frame(480, 640)
    drawn = overlay(boxes=True).draw(image, instances((1, 0.9, 100, 60, 300, 400)))
    rows = np.flatnonzero(changed(image, drawn)[:, 200])
    assert rows.tolist() == [60, 61, 398, 399]
    assert np.flatnonzero(changed(image, drawn)[200]).tolist() == [100, 101, 298, 299]


@pytest.mark.parametrize(
    ("size_hw", "line_width"),
    [((120, 160), 1), ((384, 512), 2), ((720, 1280), 2), ((1080, 1920), 3), ((2160, 3840), 5)],
)
def test_lines_grow_with_the_frame(size_hw, line_width):
    image = frame(*size_hw)
    height, width = size_hw
    drawn = overlay(boxes=True).draw(image, instances((1, 0.9, width // 4, height // 4, width // 2, height // 2)))
    column = changed(image, drawn)[: height * 3 // 8, width * 3 // 8]
    assert np.count_nonzero(column) == line_width


@pytest.mark.parametrize("size_hw", [(120, 160), (480, 640), (1080, 1920), (2160, 3840)])
def test_text_is_large_enough_to_read_at_every_size_and_stays_in_proportion(size_hw):
    image = frame(*size_hw)
    drawn = overlay(labels=True, scores=True).draw(image, instances((1, 0.998, 0, size_hw[0] // 2, 30, size_hw[0] - 5)))
    rows, columns = np.nonzero(changed(image, drawn))
    assert np.ptp(rows) + 1 >= 10
    assert np.ptp(rows) + 1 <= size_hw[0] / 6
    assert np.ptp(columns) + 1 <= size_hw[1] * 0.75


@pytest.mark.parametrize(
    ("switches", "text"),
    [
        ({"labels": True, "scores": True}, "person: 0.998"),
        ({"labels": True}, "person"),
        ({"scores": True}, "0.998"),
    ],
)
def test_what_a_label_says(switches, text):
    assert overlay(**switches).label(1, 0.998) == text


def test_a_class_without_a_label_is_named_by_its_number():
    painter = overlay(labels=True, masks=True)
    assert painter.label(90, 0.5) == "class 90"
    painter.draw(frame(), instances((90, 0.5, 10, 10, 50, 50)))


def test_labels_have_a_background_in_the_color_of_the_class_and_text_in_contrast():
    image = frame()
    painter = overlay(labels=True, scores=True)
    drawn = painter.draw(image, instances((1, 0.998, 60, 80, 200, 200)))
    rows, columns = np.nonzero(changed(image, drawn))
    label = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert changed(np.full_like(label, 100), label).all()  # filled, without holes
    assert (label[0] == painter.color(1)).all()
    darkest_or_lightest = text_color(painter.color(1))[0]
    assert (np.abs(label.astype(int) - darkest_or_lightest).max(axis=2) < 40).sum() > 20
    # It stands on the box's upper edge, at its left end.
    assert (rows.max(), columns.min()) == (79, 60)


@pytest.mark.parametrize(
    "edges",
    [
        (0, 0, 50, 60),
        (380, 2, 411, 40),
        (-30, -30, 20, 20),
        (400, 225, 411, 237),
        (350, 200, 600, 400),
        (0, 0, 411, 237),
    ],
)
@pytest.mark.parametrize("class_id", [1, 3])
def test_labels_stay_whole_inside_the_frame(edges, class_id):
    image = frame()
    painter = overlay(labels=True, scores=True)
    drawn = painter.draw(image, instances((class_id, 0.9, *edges)))
    rows, columns = np.nonzero(changed(image, drawn))
    free = painter.draw(frame(1200, 3000), instances((class_id, 0.9, 700, 600, 800, 700)))
    # As wide as elsewhere, or nearly as wide as the frame where it has to be made smaller.
    assert np.ptp(columns) + 1 >= min(0.9 * image.shape[1], 60)
    assert free.any()
    assert np.ptp(rows) + 1 >= 8
    label = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert changed(np.full_like(label, 100), label).all()


def test_objects_outside_the_frame_leave_no_trace():
    image = frame()
    rows = [(1, 0.9, -60, 10, -20, 40), (1, 0.9, 500, 10, 600, 40), (1, 0.9, 10, 300, 50, 400), (1, 0.9, 9, 9, 9, 30)]
    assert not changed(image, Overlay(OverlaySettings(), LABELS).draw(image, instances(*rows))).any()


def test_the_best_score_lies_on_top():
    image = frame(300, 300)
    painter = overlay(masks=True, mask_alpha=1.0)
    drawn = painter.draw(image, instances((1, 0.9, 50, 50, 150, 150), (2, 0.8, 100, 100, 200, 200)))
    assert tuple(drawn[120, 120]) == painter.color(1)
    assert tuple(drawn[180, 180]) == painter.color(2)


@pytest.mark.parametrize("kind", ["masks", "boxes", "labels"])
def test_opacity_applies_to_everything_drawn(kind):
    image = frame()
    found = instances((1, 0.9, 50, 60, 200, 180))
    painter = overlay(**{kind: True})
    full = painter.draw(image, found).astype(float)
    for opacity in (1.0, 0.25, 0.0):
        drawn = painter.draw(image, replace(found, opacity=np.array([opacity], np.float32)))
        expected = opacity * full + (1 - opacity) * image
        assert np.abs(drawn - expected).max() <= 1.01
    assert (full != image).any()


def test_a_hundred_objects_of_every_odd_size():
    rng = np.random.default_rng(3)
    corners = rng.uniform(-40, 420, (100, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes[::7, 2:] = boxes[::7, :2] + 0.4
    rows = [(int(i % 4), 0.5, *edges) for i, edges in enumerate(boxes)]
    image = frame()
    drawn = Overlay(OverlaySettings(), LABELS).draw(image, instances(*rows, mask_probs=rng.random((100, 28, 28))))
    assert changed(image, drawn).mean() > 0.5


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 200), (120, 9), (16, 16)])
def test_tiny_frames_do_not_fail(size_hw):
    drawn = Overlay(OverlaySettings(), LABELS).draw(
        frame(*size_hw), instances((3, 0.9, 0, 0, 5, 5)), StatusLine(30.0, 2.0, 30.0, 5, 100.0)
    )
    assert drawn.shape == (*size_hw, 3)


def test_the_status_line_is_small_and_at_the_bottom_left():
    image = frame(480, 640)
    status = StatusLine(29.97, 2.13, 30.0, 12, 480.4)
    assert status.entries() == [
        "capture 30.0 fps",
        "inference 2.1 fps",
        "display 30.0 fps",
        "dropped 12",
        "latency 480 ms",
    ]
    rows, columns = np.nonzero(changed(image, overlay(status=True).draw(image, Instances.empty(), status)))
    assert columns.min() == 0
    assert rows.max() == 479
    assert rows.min() > 440


def test_the_status_line_is_shortened_for_narrow_frames_and_leaves_out_what_is_unknown():
    assert StatusLine(29.97, 2.13, None, 12, 480.4).compact() == ["30/2.1 fps", "drop 12", "480 ms"]
    assert StatusLine(dropped=0).entries() == ["dropped 0"]
    assert StatusLine(dropped=0).compact() == ["drop 0"]
    image = frame(120, 160)
    status = StatusLine(29.97, 2.13, 30.0, 12, 480.4)
    rows, columns = np.nonzero(changed(image, overlay(status=True).draw(image, Instances.empty(), status)))
    assert np.ptp(columns) < 160
    assert rows.min() > 95


@pytest.mark.parametrize("status", [StatusLine(), None])
def test_an_empty_status_draws_nothing(status):
    image = frame()
    assert not changed(image, overlay(status=True).draw(image, Instances.empty(), status)).any()


def test_the_status_can_be_switched_off():
    image = frame()
    assert not changed(image, overlay(status=False).draw(image, Instances.empty(), StatusLine(30.0))).any()


def test_given_sizes_win():
    image = frame(480, 640)
    drawn = overlay(boxes=True, line_width=7).draw(image, instances((1, 0.9, 100, 100, 300, 300)))
    assert np.count_nonzero(changed(image, drawn)[:200, 200]) == 7
    small = overlay(labels=True, font_scale=0.4).draw(image, instances((1, 0.9, 100, 100, 300, 300)))
    large = overlay(labels=True, font_scale=2.0).draw(image, instances((1, 0.9, 100, 100, 300, 300)))
    assert changed(image, large).sum() > 10 * changed(image, small).sum()


def test_a_banner_is_in_the_middle():
    image = frame(360, 640)
    draw_banner(image, "camera 0 is gone, trying again")
    rows, columns = np.nonzero(changed(frame(360, 640), image))
    assert abs((rows.min() + rows.max()) / 2 - 180) <= 2
    assert abs((columns.min() + columns.max()) / 2 - 320) <= 2
    assert cv2.minMaxLoc(image[:, :, 0])[1] > 200


def test_labels_name_the_track():
    labeled = overlay(labels=True, scores=True, ids=True)
    assert labeled.label(1, 0.9984, track_id=7) == "person #7: 0.998"
    assert labeled.label(1, 0.9984) == "person: 0.998"
    assert overlay(labels=True).label(1, 0.5, track_id=7) == "person"
    assert overlay(scores=True, ids=True).label(1, 0.5, track_id=7) == "#7: 0.500"
    assert overlay().label(1, 0.5, track_id=7) == ""


def test_colors_by_track_or_by_class():
    image = frame()
    two = replace(instances((1, 0.9, 20, 30, 60, 90), (1, 0.8, 120, 30, 160, 90)), track_ids=np.array([4, 9], np.int32))

    def colors(found, **switches):
        drawn = overlay(masks=True, mask_alpha=1.0, ids=False, **switches).draw(image, found)
        return tuple(drawn[60, 40].tolist()), tuple(drawn[60, 140].tolist())

    by_class = overlay().color(1)
    assert colors(two) == (by_class, by_class)
    assert colors(two, color_by="track") == (track_color(4), track_color(9))
    without_id = replace(two, track_ids=np.array([4, 0], np.int32))
    assert colors(without_id, color_by="track") == (track_color(4), by_class)
    assert colors(replace(two, track_ids=None), color_by="track") == (by_class, by_class)


def test_counts_follow_in_the_status_line_where_there_is_room():
    status = StatusLine(dropped=3, counts=["2 person (5 so far)"])
    assert status.entries() == ["dropped 3", "2 person (5 so far)"]
    image = frame(480, 640)

    def width(found):
        drawn = overlay(status=True).draw(image, Instances.empty(), found)
        return np.ptp(np.nonzero(changed(image, drawn))[1])

    assert width(status) > 1.5 * width(StatusLine(dropped=3))
    too_many = StatusLine(dropped=3, counts=["2 person (5 so far)"] * 9)
    assert 0 < width(too_many) < width(status)
