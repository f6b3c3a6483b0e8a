"""Position, size and color of what is drawn, the switches, and what is kept from frame to frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.drawing.overlay import Overlay, class_color
from pipeline.drawing.palette import PALETTE
from pipeline.drawing.status import StatusLine
from pipeline.records import Instances
from pipeline.settings.output_settings import Look, OverlaySettings

LABELS = ["BG", "person", "bicycle", "a rather long name of a class that needs much room"]
NOTHING = {"masks": False, "boxes": False, "labels": False, "scores": False}


def instances(*rows, mask_probs=None, **more):
    """Rows of (class id, score, x1, y1, x2, y2); full masks unless given."""
    count = len(rows)
    return Instances(
        np.array([row[2:] for row in rows], np.float32).reshape(count, 4),
        np.array([row[0] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.float32),
        np.ones((count, 28, 28), np.float32) if mask_probs is None else np.asarray(mask_probs, np.float32),
        **{name: np.array(values, np.int32 if name == "track_ids" else np.float32) for name, values in more.items()},
    )


def frame(height=237, width=411, value=100):
    return np.full((height, width, 3), value, np.uint8)


def overlay(names=LABELS, still=False, one_class=False, min_score=0.0, **switches):
    return Overlay(OverlaySettings(**{**NOTHING, **switches}), names, still, one_class, min_score)


def changed(before, after):
    return (before != after).any(axis=2)


def extent(mask):
    """x1, y1, x2, y2 of the pixels that are set, all inclusive."""
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max(), rows.max()


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


@pytest.mark.parametrize("box", [(-50, 10, 30, 60), (-50, -50, 10, 10), (400, 10, 500, 60), (10, 230, 40, 330)])
@pytest.mark.parametrize("turns", range(4))
def test_a_mask_that_lies_outside_the_frame_where_its_box_does_not_is_not_drawn(box, turns):
    mask = np.zeros((28, 28))
    mask[:, :6] = 1
    mask = np.rot90(mask, turns)
    image = frame()
    drawn = overlay(masks=True).draw(image, instances((1, 0.9, *box), mask_probs=[mask]))
    y, x = ((np.argwhere(mask) + 0.5) / 28 * ((box[3] - box[1]), (box[2] - box[0])) + (box[1], box[0])).T
    assert changed(image, drawn).any() == ((0 < x) & (x < 411) & (0 < y) & (y < 237)).any()


def test_masks_are_filled_softly_and_outlined_in_the_same_color():
    y, x = np.mgrid[0:28, 0:28]
    disc = 1 / (1 + np.exp(2 * (np.hypot(y - 13.5, x - 13.5) - 10)))
    image = np.random.default_rng(0).integers(0, 256, (400, 420, 3), np.uint8)
    drawn = overlay(masks=True, mask_alpha=0.3).draw(image, instances((2, 0.9, 40, 50, 320, 330), mask_probs=[disc]))
    rows, columns = np.mgrid[0:400, 0:420]
    radius = np.hypot(columns + 0.5 - 180, rows + 0.5 - 190)  # the disc has a radius of 100 pixels
    color = np.array(PALETTE[class_color(2)])
    inside = radius < 95
    assert np.abs(drawn[inside] - (0.7 * image[inside] + 0.3 * color)).max() <= 1.0
    assert (drawn[radius > 105] == image[radius > 105]).all()
    on_curve = np.abs(radius - 99.5) < 0.3
    assert np.abs(drawn[on_curve].astype(int) - color).mean() < 25
    casing = (radius > 101.3) & (radius < 102.3)
    assert drawn[casing].mean() < 0.6 * image[casing].mean()


def test_an_outline_has_no_stairs_at_4k():
    y, x = np.mgrid[0:28, 0:28]
    disc = (np.hypot(y - 13.5, x - 13.5) < 10).astype(np.float32)  # as saturated as it gets
    drawn = overlay(masks=True).draw(
        frame(2160, 3840, 0), instances((1, 0.9, 1000, 200, 2680, 1880), mask_probs=[disc])
    )
    rows, columns = np.nonzero(changed(frame(2160, 3840, 0), drawn))
    radius = np.hypot(columns + 0.5 - 1840, rows + 0.5 - 1040)
    angle = np.round(np.degrees(np.arctan2(rows - 1040, columns - 1840))).astype(int)
    farthest = np.array([radius[angle == degree].max() for degree in range(-179, 180)])
    # The disc has a radius of 10 cells of 60 pixels; cells that are in or out would differ from it by 0.7 cells.
    assert np.abs(farthest - 604).max() < 0.35 * 60
    assert np.abs(np.diff(farthest)).max() < 8


def test_specks_and_pinholes_are_not_drawn():
    mask = np.zeros((28, 28), np.float32)
    mask[4:24, 4:16] = 1.0
    mask[10, 9] = 0.0
    mask[6, 24] = 1.0
    image = frame(300, 300, 0)
    drawn = overlay(masks=True).draw(image, instances((1, 0.9, 10, 10, 290, 290), mask_probs=[mask]))
    assert not changed(image, drawn)[:, 200:].any()
    fill = drawn[200, 80]
    assert (drawn[100:125, 95:115] == fill).all()


def test_boxes_are_drawn_where_masks_are_not():
    assert not OverlaySettings().boxes
    assert OverlaySettings(masks=False).boxes
    assert not OverlaySettings(masks=False, boxes=False).boxes
    image = frame(480, 640)
    drawn = overlay(boxes=True).draw(image, instances((1, 0.9, 100, 60, 300, 400)))
    rows = np.flatnonzero(changed(image, drawn)[:, 200])
    assert rows.tolist() == [60, 61, 398, 399]
    assert np.flatnonzero(changed(image, drawn)[200]).tolist() == [100, 101, 298, 299]


@pytest.mark.parametrize(
    ("size_hw", "line_width"), [((144, 176), 1), ((360, 640), 2), ((1080, 1920), 2), ((2160, 3840), 4)]
)
def test_lines_grow_with_the_frame(size_hw, line_width):
    image = frame(*size_hw)
    height, width = size_hw
    drawn = overlay(boxes=True).draw(image, instances((1, 0.9, width // 4, height // 4, width // 2, height // 2)))
    column = changed(image, drawn)[: height * 3 // 8, width * 3 // 8]
    assert np.count_nonzero(column) == line_width


@pytest.mark.parametrize(
    ("size_hw", "least", "most"),
    [((144, 176), 12, 14), ((360, 640), 14, 16), ((1080, 1920), 28, 32), ((2160, 3840), 48, 52)],
)
def test_labels_have_the_size_for_the_frame(size_hw, least, most):
    image = frame(*size_hw)
    height, width = size_hw
    drawn = overlay(labels=True, scores=True).draw(
        image, instances((1, 0.98, width * 0.3, height * 0.3, width * 0.7, height * 0.95))
    )
    x1, y1, x2, y2 = extent(changed(image, drawn))
    assert least <= y2 - y1 + 1 <= most
    assert 3.5 * (y2 - y1) < x2 - x1 < 7 * (y2 - y1)


@pytest.mark.parametrize(
    ("switches", "score", "text"),
    [
        ({"labels": True, "scores": True}, 0.984, "person 98%"),
        ({"labels": True, "scores": True}, 1.0, "person 99%"),
        ({"labels": True}, 0.98, "person"),
        ({"scores": True}, 0.98, "98%"),
        ({"labels": True, "scores": True, "ids": True}, 0.98, "person #7 98%"),
        ({"scores": True, "ids": True}, 0.98, "#7 98%"),
        ({}, 0.98, ""),
    ],
)
def test_what_a_label_says(switches, score, text):
    assert overlay(**switches).label(1, score, track_id=7) == text


def test_a_class_without_a_label_is_named_by_its_number():
    painter = overlay(labels=True, masks=True)
    assert painter.label(90, 0.5) == "class 90"
    painter.draw(frame(), instances((90, 0.5, 10, 10, 150, 150)))


def test_a_label_stands_above_its_object_in_its_color():
    image = frame()
    drawn = overlay(labels=True, scores=True).draw(image, instances((1, 0.98, 60, 80, 200, 220)))
    x1, y1, x2, y2 = extent(changed(image, drawn))
    assert 70 < y2 < 80
    assert abs((x1 + x2) / 2 - 130) <= 1
    chip = drawn[y1 : y2 + 1, x1 : x2 + 1].astype(int)
    ground = 0.86 * np.array(PALETTE[0]) + 0.14 * 100
    assert np.mean(np.abs(chip - ground).max(axis=2) <= 3) > 0.4
    assert (chip.max(axis=2) < 80).sum() > 20  # dark letters
    assert not changed(image, drawn)[y1, x1]  # rounded corners


@pytest.mark.parametrize(
    "edges", [(0, 0, 150, 160), (300, 2, 411, 140), (-30, -30, 120, 120), (300, 125, 411, 237), (0, 0, 411, 237)]
)
def test_labels_stay_whole_inside_the_frame(edges):
    image, roomy = frame(), frame(900, 900)
    elsewhere = extent(
        changed(roomy, overlay(labels=True, text_size=18).draw(roomy, instances((1, 0.9, 400, 400, 600, 600))))
    )
    drawn = extent(changed(image, overlay(labels=True, text_size=18).draw(image, instances((1, 0.9, *edges)))))
    assert drawn[2] - drawn[0] == elsewhere[2] - elsewhere[0]
    assert drawn[3] - drawn[1] == elsewhere[3] - elsewhere[1]


def test_labels_too_large_for_their_objects_are_shortened_then_dropped():
    image = frame(480, 640)

    def width_of_label(side):
        drawn = changed(
            image,
            overlay(labels=True, scores=True).draw(image, instances((1, 0.9, 200, 200, 200 + side, 200 + 3 * side))),
        )
        return 0 if not drawn.any() else extent(drawn)[2] - extent(drawn)[0] + 1

    full, short, none = width_of_label(70), width_of_label(32), width_of_label(12)
    assert full > 1.4 * short > 0
    assert none == 0


def test_objects_outside_the_frame_leave_no_trace():
    image = frame()
    rows = [(1, 0.9, -60, 10, -20, 40), (1, 0.9, 500, 10, 600, 40), (1, 0.9, 10, 300, 50, 400), (1, 0.9, 9, 9, 9, 30)]
    assert not changed(image, Overlay(OverlaySettings(), LABELS).draw(image, instances(*rows))).any()


def test_smaller_objects_lie_on_larger_ones():
    image = frame(300, 300)
    painter = overlay(masks=True, mask_alpha=1.0)
    drawn = painter.draw(image, instances((1, 0.9, 50, 50, 250, 250), (2, 0.8, 100, 100, 160, 160)))
    assert tuple(drawn[130, 130]) == PALETTE[1]
    assert tuple(drawn[200, 200]) == PALETTE[0]


@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_masks_and_boxes_fade(kind):
    image = frame()
    found = instances((1, 0.9, 50, 60, 200, 180))
    full = overlay(**{kind: True}).draw(image, found).astype(float)
    for opacity in (1.0, 0.25, 0.0):
        drawn = overlay(**{kind: True}).draw(image, replace(found, opacity=np.array([opacity], np.float32)))
        assert np.abs(drawn - (opacity * full + (1 - opacity) * image)).max() <= 1.01
    assert (full != image).any()


def test_a_fading_object_loses_its_label_first():
    image = frame()
    found = instances((1, 0.9, 50, 60, 200, 180))

    def strength(opacity):
        drawn = overlay(labels=True).draw(image, replace(found, opacity=np.array([opacity], np.float32)))
        return np.abs(drawn.astype(float) - image).sum()

    assert strength(1.0) > 1.8 * strength(0.75) > 0
    assert strength(0.5) == 0


def test_the_score_of_a_lost_object_is_the_last_accepted_one():
    image = frame()
    painter = overlay(labels=True, scores=True, min_score=0.7)
    seen = instances((1, 0.93, 50, 60, 200, 180), track_ids=[4])
    first = painter.draw(image, seen)
    weak = instances((1, 0.45, 50, 60, 200, 180), track_ids=[4])
    np.testing.assert_array_equal(painter.draw(image, weak), first)
    held = instances((1, 0.72, 50, 60, 200, 180), track_ids=[4], opacity=[0.8])
    expected = overlay(labels=True, scores=True).draw(image, replace(seen, opacity=np.array([0.8], np.float32)))
    np.testing.assert_array_equal(painter.draw(image, held), expected)
    better = instances((1, 0.81, 50, 60, 200, 180), track_ids=[4])
    assert (painter.draw(image, better) != first).any()
    # Nothing is known of an object that was not in the frame before.
    name_alone = overlay(labels=True).draw(image, weak)
    np.testing.assert_array_equal(overlay(labels=True, scores=True, min_score=0.7).draw(image, weak), name_alone)


def test_a_hundred_objects_of_every_odd_size():
    rng = np.random.default_rng(3)
    corners = rng.uniform(-40, 420, (100, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes[::7, 2:] = boxes[::7, :2] + 0.4
    rows = [(int(i % 4), 0.5, *edges) for i, edges in enumerate(boxes)]
    image = frame()
    drawn = Overlay(OverlaySettings(), LABELS).draw(image, instances(*rows, mask_probs=rng.random((100, 28, 28))))
    assert changed(image, drawn).mean() > 0.3


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 200), (120, 9), (16, 16)])
@pytest.mark.parametrize("look", list(Look))
def test_tiny_frames_do_not_fail(size_hw, look):
    drawn = Overlay(OverlaySettings(look=look, status=True), LABELS).draw(
        frame(*size_hw), instances((3, 0.9, 0, 0, 5, 5)), StatusLine(30.0, 2.0, 30.0, 5, 100.0)
    )
    assert drawn.shape == (*size_hw, 3)


def test_the_status_line_is_drawn_only_on_request():
    image = frame()
    assert not changed(image, overlay().draw(image, Instances.empty(), StatusLine(display_fps=30.0))).any()
    assert changed(image, overlay(status=True).draw(image, Instances.empty(), StatusLine(display_fps=30.0))).any()


def test_given_sizes_win():
    image = frame(480, 640)
    drawn = overlay(boxes=True, line_width=7).draw(image, instances((1, 0.9, 100, 100, 300, 300)))
    assert np.count_nonzero(changed(image, drawn)[:200, 200]) == 7
    small = overlay(labels=True, text_size=8).draw(image, instances((1, 0.9, 100, 100, 300, 300)))
    large = overlay(labels=True, text_size=32).draw(image, instances((1, 0.9, 100, 100, 300, 300)))
    assert changed(image, large).sum() > 10 * changed(image, small).sum()


def colors_of(painter, found):
    """The color at the center of each object; draw with an opaque mask."""
    drawn = painter.draw(frame(400, 900), found)
    centers = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]).astype(int) // 2
    return [PALETTE.index(tuple(drawn[y, x].tolist())) for x, y in centers]


def solid(names=LABELS, **more):
    return overlay(names=names, masks=True, mask_alpha=1.0, **more)


TWO = ((1, 0.9, 20, 30, 60, 90), (1, 0.8, 120, 30, 160, 90))


def test_what_determines_the_color():
    two = instances(*TWO, track_ids=[4, 9])
    assert colors_of(solid(color_by="class"), two) == [0, 0]
    assert colors_of(solid(color_by="track"), two) == [3, 8]
    assert colors_of(solid(color_by="instance"), two) == [0, 1]
    assert colors_of(solid(), two) == [0, 0]
    assert colors_of(solid(names=["BG", "person"]), two) == [3, 8]
    assert colors_of(solid(one_class=True), two) == [3, 8]
    assert colors_of(solid(still=True), replace(two, track_ids=None)) == [0, 1]


def test_an_object_keeps_its_color():
    painter = solid(names=["BG", "person"])
    assert colors_of(painter, instances(*TWO, track_ids=[0, 9])) == [0, 8]
    # The first one gets its id, the order changes, and a third one would have the color of the second.
    moved = ((1, 0.95, 122, 30, 162, 90), (1, 0.9, 22, 30, 62, 90), (1, 0.8, 220, 30, 260, 90))
    assert colors_of(painter, instances(*moved, track_ids=[9, 12, 21])) == [8, 0, 9]
    assert colors_of(painter, instances((1, 0.9, 700, 30, 760, 90), track_ids=[21])) == [9]
    assert colors_of(painter, instances((1, 0.9, 300, 30, 360, 90), track_ids=[12])) == [0]


def test_colors_differ_while_the_palette_lasts():
    rows = [(1, 0.9, 70 * i, 30, 70 * i + 50, 90) for i in range(12)]
    ids = [1, 13, 25, 37, 49, 61, 2, 14, 26, 38, 50, 62]
    assert sorted(colors_of(solid(color_by="track"), instances(*rows, track_ids=ids))) == list(range(12))


def test_the_color_of_the_first_class_is_its_own():
    colors = [class_color(class_id) for class_id in range(1, 81)]
    assert colors[:12] == list(range(12))
    assert colors.count(0) == 1
    assert set(colors) == set(range(12))
