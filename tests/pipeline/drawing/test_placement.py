"""Labels never cover one another or leave the frame, and stand still while their objects do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pipeline.drawing.placement import LabeledObject, place_labels

HEIGHT, WIDTH, SIZE = 720, 1280, 16.0


def labeled(box, texts=("person 98%", "person"), before=None):
    """An object, with what is known of it from the frame before."""
    each = LabeledObject(tuple(map(float, box)), texts)
    if before is not None:
        each.previous_box, each.anchor, each.label = before.box, before.anchor, before.label
    return each


def place(*objects, reserved=()):
    place_labels(objects, (HEIGHT, WIDTH), SIZE, reserved)
    return [each.label and each.label.rectangle for each in objects]


def intersect(a, b):
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def test_a_label_is_centered_above_its_object():
    ((x1, _, x2, y2),) = place(labeled((400, 300, 500, 600)))
    assert abs((x1 + x2) / 2 - 450) <= 0.5
    assert 290 <= y2 <= 300


def test_where_there_is_no_room_above_it_is_beside_then_inside():
    ((x1, y1, _, y2),) = place(labeled((400, 4, 600, 600)))
    assert 600 < x1 < 610
    assert 0 <= y1 < y2 < 40
    ((x1, y1, x2, y2),) = place(labeled((0, 0, WIDTH, HEIGHT)))
    assert abs((x1 + x2) / 2 - WIDTH / 2) <= 0.5
    assert HEIGHT - 10 < y2 <= HEIGHT


def test_the_larger_object_chooses_first():
    small, large = labeled((430, 330, 500, 500)), labeled((400, 310, 600, 700))
    first, second = place(small, large)
    assert second == place(labeled((400, 310, 600, 700)))[0]
    assert first != place(labeled((430, 330, 500, 500)))[0]
    assert not intersect(first, second)


def test_small_objects_get_the_short_text_and_smaller_ones_none():
    objects = [labeled((100, 300, 160, 500)), labeled((300, 300, 336, 420)), labeled((500, 300, 510, 330))]
    place(*objects)
    assert [each.label and each.label.text for each in objects] == ["person 98%", "person", None]


def test_a_label_ignores_jitter_and_follows_motion():
    before = labeled((400, 300, 500, 600))
    (start,) = place(before)
    for offset in (1, -1, 0.7, -0.4):
        before = labeled((400 + offset, 300 - offset, 500 + offset, 600), before=before)
        assert place(before) == [start]
    for step in range(1, 40):
        before = labeled((400 + 10 * step, 300, 500 + 10 * step, 600), before=before)
        (moved,) = place(before)
    assert abs(moved[0] - start[0] - 390) <= 2


def test_a_standing_label_stays_when_a_larger_object_comes_by():
    standing = labeled((400, 300, 500, 600))
    (start,) = place(standing)
    passing = labeled((100, 280, 400, 640))
    for step in range(60):
        standing = labeled((400, 300, 500, 600), before=standing)
        passing = labeled((100 + 12 * step, 280, 400 + 12 * step, 640), before=passing)
        stays, moves = place(standing, passing)
        assert stays == start
        assert moves is None or not intersect(moves, stays)


def test_a_label_avoids_a_name():
    ((x1, y1, x2, y2),) = place(labeled((400, 300, 500, 600)))
    name = (x1 - 30, y1 + 3, x2 - 60, y2 + 3)
    (beside,) = place(labeled((400, 300, 500, 600)), reserved=[name])
    assert not intersect(beside, name)
    assert place(labeled((400, 300, 500, 600)), reserved=[(0, 0, WIDTH, HEIGHT)]) == [None]


def test_a_standing_label_moves_once_when_a_name_appears_there_and_stays():
    before = labeled((400, 300, 500, 600))
    (start,) = place(before)
    before = labeled((400, 300, 500, 600), before=before)
    (moved,) = place(before, reserved=[start])
    assert moved is not None
    assert not intersect(moved, start)
    for _ in range(3):
        before = labeled((400, 300, 500, 600), before=before)
        assert place(before, reserved=[start]) == [moved]


@pytest.mark.parametrize(
    ("height", "width", "size", "count"),
    [(144, 176, 10.0, 6), (360, 640, 10.0, 12), (1080, 1920, 23.5, 40), (2160, 3840, 40.0, 30)],
)
def test_a_thousand_frames(height, width, size, count):
    """250 frames at each of four sizes: standing, walking and jumping objects, crowds, at the edges and across them."""
    rng = np.random.default_rng(count)
    scale = height / 720
    centers = rng.uniform(-0.1, 1.1, (count, 2)) * [width, height]
    sizes = rng.uniform(20, 260, (count, 2)) * size / 16 * [0.5, 1.0]
    velocities = rng.uniform(-9, 9, (count, 2)) * scale
    velocities[::3] = 0.0
    names = [(round(x * width), round(y * height)) for x, y in rng.uniform(0, 0.8, (4, 2))]
    reserved = [(x, y, x + round(9 * size), y + round(1.3 * size)) for x, y in names]
    before: list[LabeledObject | None] = [None] * count
    shown = 0
    for index in range(250):
        centers += velocities
        if index % 50 == 49:  # some stop, some go, some are replaced
            chosen = rng.integers(0, count, 3)
            velocities[chosen] = rng.choice([0.0, 6.0], (3, 1)) * scale
            centers[chosen[:1]] = rng.uniform(0, 1, 2) * [width, height]
        jitter = rng.uniform(-0.4, 0.4, (count, 4))
        boxes = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1) + jitter
        boxes = np.clip(boxes, 0, [width, height, width, height])
        visible = (boxes[:, 2:] - boxes[:, :2] > 1).all(axis=1)
        objects = {i: labeled(boxes[i], before=before[i]) for i in rng.permutation(np.flatnonzero(visible)).tolist()}
        place_labels(list(objects.values()), (height, width), size, reserved)
        rectangles = [each.label.rectangle for each in objects.values() if each.label is not None]
        shown += len(rectangles)
        for x1, y1, x2, y2 in rectangles:
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
        for i, rectangle in enumerate(rectangles):
            assert not any(intersect(rectangle, other) for other in [*rectangles[i + 1 :], *reserved])
        for i, each in objects.items():
            earlier = before[i]
            if earlier is None or earlier.label is None or each.label is None:
                continue
            if max(abs(a - b) for a, b in zip(each.box, earlier.box, strict=True)) <= 1.0:
                moved = [abs(a - b) for a, b in zip(each.label.rectangle, earlier.label.rectangle, strict=True)]
                assert max(moved) <= 2
        before = [objects.get(i) for i in range(count)]
    assert shown > 250  # most frames have some


def test_a_crowd_shows_as_many_labels_as_there_is_room_for():
    boxes = [(20 + 60 * i, 300 + 7 * (i % 3), 70 + 60 * i, 480) for i in range(20)]
    rectangles = [rectangle for rectangle in place(*map(labeled, boxes)) if rectangle is not None]
    assert len(rectangles) >= 15
    assert all(not intersect(a, b) for a, b in pairwise(sorted(rectangles)))
