from __future__ import annotations

import pickle
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.records import Frame
from pipeline.scene import Direction, EventKind, LineCount
from pipeline.settings.presentation_settings import Anchor, LineSettings, ZoneSettings
from pipeline.settings.schema import Settings
from pipeline.tracking.watch import (
    REMEMBERED_IDS,
    LineCounter,
    SceneWatcher,
    ZoneCounter,
    anchor_of,
    closed,
    contains,
    crossings,
    distance_to_polyline,
    hysteresis,
    in_pixels,
)
from tests.pipeline.tracking.scenes import found

HEIGHT, WIDTH = 300, 500


def a_line(anchor=Anchor.BOTTOM):
    line = LineCounter(LineSettings(name="door", points=((0.5, 0.9), (0.5, 0.1)), anchor=anchor))
    line.set_frame_size(HEIGHT, WIDTH)  # x = 250, y 270 to 30; in is towards x > 250
    return line


def a_zone():
    zone = ZoneCounter(ZoneSettings(name="desk", points=((100, 100), (200, 100), (200, 200), (100, 200))))
    zone.set_frame_size(HEIGHT, WIDTH)
    return zone


def crossed(line, track_id, box):
    """The direction in which an object crosses a line by going to a place; None if it does not."""
    change = line.update(track_id, box, 0.0)
    if change is None:
        return None
    assert (change.kind, change.dwell_s) == (EventKind.CROSSED, None)
    return change.direction


def at(x, y, size=40.0):
    """A box with the middle of its bottom edge at (x, y)."""
    return x - size / 2, y - size, x + size / 2, y


def test_anchors():
    assert anchor_of((10, 20, 30, 80), Anchor.BOTTOM, 100) == (20, 80)
    assert anchor_of((10, 20, 30, 80), Anchor.CENTER, 100) == (20, 50)
    assert anchor_of((10, 20, 30, 80), Anchor.BOTTOM, 80) == (20, 78.5)


def test_hysteresis_grows_with_the_object():
    assert hysteresis(at(0, 0, 40)) == 4
    assert hysteresis(at(0, 0, 5)) == 2


def test_crossings_are_counted_by_direction():
    line = a_line()
    ways = {1: (200, 230, 262, 300), 2: (300, 240, 200), 3: (100, 240), 4: (260, 300)}
    found = {track: [crossed(line, track, at(x, 150)) for x in xs] for track, xs in ways.items()}
    assert found == {
        1: [None, None, Direction.IN, None],
        2: [None, Direction.OUT, None],
        3: [None, None],
        4: [None, None],
    }
    assert line.state() == LineCount("door", 1, 1)


def test_jitter_on_the_line_counts_once():
    line, rng = a_line(), np.random.default_rng(1)
    xs = [*np.linspace(200, 249, 15), *(250 + rng.normal(0, 1.2, 200)), *np.linspace(251, 300, 15)]
    found = [crossed(line, 1, at(x, 150)) for x in xs]
    assert [one for one in found if one is not None] == [Direction.IN]


def test_turning_back_on_the_line_is_no_crossing():
    line = a_line()
    assert [crossed(line, 1, at(x, 150)) for x in (200, 240, 251, 253, 247, 240, 200)] == [None] * 7


def test_going_round_the_end_is_no_crossing():
    line = a_line()
    for x, y in ((200, 250), (200, 299), (250, 299), (300, 299), (300, 150)):
        assert crossed(line, 1, at(x, y)) is None


def test_a_jump_over_the_line_counts():
    line = a_line()
    crossed(line, 1, at(100, 150))
    assert crossed(line, 1, at(400, 160)) is Direction.IN


def test_the_anchor_decides():
    foot, middle = a_line(), a_line(Anchor.CENTER)
    before, after = (
        (180.0, 250.0, 240.0, 330.0),
        (260.0, 250.0, 320.0, 330.0),
    )  # feet below the line's end, middles above
    for line in (foot, middle):
        crossed(line, 1, before)
    assert crossed(foot, 1, after) is None
    assert crossed(middle, 1, after) is None  # 290 is still below 270
    higher = (180.0, 180.0, 240.0, 290.0), (260.0, 180.0, 320.0, 290.0)
    crossed(foot, 2, higher[0])
    crossed(middle, 2, higher[0])
    assert crossed(foot, 2, higher[1]) is None
    assert crossed(middle, 2, higher[1]) is Direction.IN


@pytest.mark.parametrize("end", [(0.5, 1), (WIDTH / 2, HEIGHT), (WIDTH / 2, HEIGHT - 1)])
def test_an_object_that_the_lower_edge_cuts_off_crosses_a_line_that_ends_there(end):
    line = LineCounter(LineSettings(name="door", points=(end, (end[0], 0))))
    line.set_frame_size(HEIGHT, WIDTH)
    xs = (100, 400, 100)
    assert [crossed(line, 1, at(x, HEIGHT)) for x in xs] == [None, Direction.IN, Direction.OUT]


@pytest.mark.parametrize("low", [1, HEIGHT - 1, HEIGHT])
def test_an_object_that_the_lower_edge_cuts_off_is_in_a_zone_that_reaches_there(low):
    right = 1 if low == 1 else WIDTH
    zone = ZoneCounter(ZoneSettings(name="all", points=((0, 0), (right, 0), (right, low), (0, low))))
    zone.set_frame_size(HEIGHT, WIDTH)
    assert zone.update(1, at(200, HEIGHT), 0.0).kind is EventKind.ENTERED
    assert zone.update(2, (180.0, HEIGHT - 0.5, 220.0, HEIGHT), 0.0).kind is EventKind.ENTERED


def test_dropped_objects_start_anew():
    line = a_line()
    crossed(line, 1, at(200, 150))
    line.forget(1)
    line.forget(99)
    assert crossed(line, 1, at(300, 150)) is None


def test_another_frame_size_moves_the_line_and_keeps_the_counts():
    line = a_line()
    crossed(line, 1, at(200, 150))
    crossed(line, 1, at(300, 150))
    line.set_frame_size(2 * HEIGHT, 2 * WIDTH)
    assert crossed(line, 1, at(600, 300)) is None
    assert crossed(line, 1, at(400, 300)) is Direction.OUT
    assert line.state() == LineCount("door", 1, 1)


def test_a_stay_in_a_zone():
    zone = a_zone()
    assert zone.state(0.0).dwell_max_s is None
    assert zone.update(1, at(90, 150), 0.0) is None
    assert zone.update(1, at(110, 150), 1.0).kind is EventKind.ENTERED
    assert zone.update(1, at(150, 150), 2.0) is None
    inside = zone.state(2.5)
    assert (inside.occupancy, inside.entered) == (1, 1)
    assert (inside.dwell_now_s, inside.dwell_mean_s, inside.dwell_max_s) == (1.5, None, 1.5)
    left = zone.update(1, at(206, 150), 4.0)
    assert (left.kind, left.dwell_s) == (EventKind.LEFT, 3.0)
    after = zone.state(9.0)
    assert (after.occupancy, after.entered, after.dwell_now_s) == (0, 1, None)
    assert (after.dwell_mean_s, after.dwell_max_s) == (3.0, 3.0)


def test_mean_and_longest_stay_of_several():
    zone = a_zone()
    for track, enters, leaves in ((1, 0.0, 2.0), (2, 1.0, 7.0), (3, 5.0, None)):
        zone.update(track, at(150, 150), enters)
        if leaves is not None:
            zone.update(track, at(400, 150), leaves)
    state = zone.state(20.0)
    assert (state.occupancy, state.entered) == (1, 3)
    assert (state.dwell_mean_s, state.dwell_now_s, state.dwell_max_s) == (4.0, 15.0, 15.0)


def test_jitter_on_the_edge_enters_once():
    zone, rng = a_zone(), np.random.default_rng(2)
    changes = [zone.update(1, at(100 + rng.normal(0, 1.2), 150), i / 25) for i in range(300)]
    assert [change.kind for change in changes if change is not None] == [EventKind.ENTERED]


def test_an_object_that_disappears_inside_left_when_it_was_last_seen():
    zone = a_zone()
    zone.update(1, at(150, 150), 3.0)
    zone.update(1, at(150, 150), 4.5)
    assert zone.forget(1).dwell_s == pytest.approx(1.5)
    assert zone.forget(1) is None
    assert zone.state(10.0).occupancy == 0


UP = ((100.0, 200.0), (100.0, 50.0))  # the right-hand side is x > 100
BENT = ((0.0, 100.0), (100.0, 100.0), (100.0, 0.0))
RING = ((10.0, 10.0), (90.0, 20.0), (80.0, 70.0), (50.0, 40.0), (15.0, 75.0))


def test_points_are_relative_or_pixels():
    assert in_pixels([(0.5, 0.25), (1, 1)], 361, 643) == ((321.5, 90.25), (643, 361))
    assert in_pixels([(0, 0), (1, 1.5)], 361, 643) == ((0, 0), (1, 1.5))


@pytest.mark.parametrize(
    ("start", "end", "path", "net"),
    [
        ((90, 100), (110, 100), UP, 1),
        ((110, 100), (90, 120), UP, -1),
        ((90, 100), (110, 100), UP[::-1], -1),
        ((90, 30), (110, 40), UP, 0),  # past its end
        ((90, 60), (110, 30), UP, 0),  # past its end, though the bounding box of the segment covers it
        ((80, 100), (95, 100), UP, 0),
        ((90, 100), (90, 100), UP, 0),
        ((50, 50), (150, 50), BENT, 1),
        ((50, 50), (50, 150), BENT, 1),
        ((30, 120), (120, 30), BENT, 0),  # in at one leg, out at the other: no side was changed
        ((20, 120), (150, 50), BENT, 0),
    ],
)
def test_crossings(start, end, path, net):
    assert crossings(start, end, path) == net


def test_a_path_across_the_line_counts_once_however_it_is_split():
    for x in (99.0, 100.0, 101.0):
        assert crossings((90, 100), (x, 100), UP) + crossings((x, 100), (110, 100), UP) == 1
        assert crossings((110, 100), (x, 100), UP) + crossings((x, 100), (90, 100), UP) == -1


def test_distances():
    assert distance_to_polyline((104, 100), UP) == 4
    assert distance_to_polyline((103, 204), UP) == 5
    assert distance_to_polyline((110, 90), BENT) == 10
    assert distance_to_polyline((7, 7), ((7.0, 3.0), (7.0, 3.0))) == 4


def test_contains_agrees_with_opencv():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (500, 2))
    contour = np.array(RING, np.float32)
    for x, y in points:
        assert contains(RING, (x, y)) == (cv2.pointPolygonTest(contour, (float(x), float(y)), False) > 0)
    assert {contains(RING, tuple(point)) for point in points} == {True, False}


def test_the_outline_of_a_zone_is_closed():
    assert closed(RING)[5] == RING[0]
    assert distance_to_polyline((12, 40), closed(RING)) == pytest.approx(0, abs=0.7)  # on the closing side


LABELS = ("BG", "person", "dog", "cat")
HEIGHT, WIDTH = 300, 500
DOOR = {"name": "door", "points": [[0.5, 0.9], [0.5, 0.1]], "classes": ["person"]}
DESK = {"name": "desk", "points": [[100, 100], [200, 100], [200, 200], [100, 200]]}


def watcher(**values):
    return SceneWatcher(Settings.model_validate(values), LABELS)


def frame(pts_s, height=HEIGHT, width=WIDTH):
    return Frame("clip", 0, round(pts_s * 1000), Fraction(1, 1000), 0.0, np.zeros((height, width, 3), np.uint8))


def people(**places):
    """id=(class id, x) with feet at y = 150: `people(t7=(1, 90))`."""
    rows = [(class_id, 0.9, x - 20, 110, x + 20, 150) for class_id, x in places.values()]
    track_ids = np.array([int(name[1:]) for name in places], np.int32)
    return replace(found(*rows), track_ids=track_ids)


def story(scene):
    return [(event.kind, event.track_id, event.place) for event in scene.events]


def test_counts_now_and_so_far():
    watch = watcher()
    first = watch.update(frame(0.0), people(t1=(1, 50), t2=(2, 150)))
    assert (first.now, first.seen) == ({"person": 1, "dog": 1}, {"person": 1, "dog": 1})
    second = watch.update(frame(0.1), people(t1=(1, 50), t3=(1, 250), t0=(3, 350)))
    assert second.now == {"person": 2, "cat": 1}  # without an id it is there, but not yet counted as somebody
    assert second.seen == {"person": 2, "dog": 1}
    assert watch.scene is second


def test_classes_of_one_name_count_together():
    scene = SceneWatcher(Settings(), ("BG", "person", "dog", "dog")).update(
        frame(0.0), people(t1=(2, 50), t2=(3, 150), t3=(3, 250))
    )
    assert (scene.now, scene.seen) == ({"dog": 3}, {"dog": 3})


def test_appearing_crossing_staying_disappearing():
    watch = watcher(lines=[DOOR], zones=[DESK])
    assert story(watch.update(frame(0.0), people(t7=(1, 150)))) == [
        (EventKind.APPEARED, 7, None),
        (EventKind.ENTERED, 7, "desk"),
    ]
    left = watch.update(frame(1.5), people(t7=(1, 220)))
    assert story(left) == [(EventKind.LEFT, 7, "desk")]
    assert left.events[0].dwell_s == 1.5
    crossed = watch.update(frame(2.0), people(t7=(1, 300)))
    assert story(crossed) == [(EventKind.CROSSED, 7, "door")]
    assert crossed.events[0].direction is Direction.IN
    assert (crossed.lines[0].crossed_in, crossed.lines[0].crossed_out) == (1, 0)
    for i in range(1, 21):
        assert story(watch.update(frame(2 + i / 10), people())) == []
    gone = watch.update(frame(4.1), people())
    assert story(gone) == [(EventKind.DISAPPEARED, 7, None)]
    assert gone.events[0].pts_s == 2.0


def test_an_object_lost_for_a_moment_stays_in_the_zone():
    watch = watcher(zones=[DESK])
    watch.update(frame(0.0), people(t7=(1, 150)))
    assert watch.update(frame(1.0), people()).zones[0].occupancy == 1
    assert story(watch.update(frame(1.5), people(t7=(1, 155)))) == []
    for i in range(30):
        last = watch.update(frame(1.6 + i / 10), people())
    assert last.zones[0].occupancy == 0
    assert last.zones[0].dwell_max_s == 1.5  # until it was last seen


def test_only_the_classes_asked_for():
    watch = watcher(lines=[DOOR])
    for t, x in ((0.0, 200), (0.5, 300)):
        scene = watch.update(frame(t), people(t1=(1, x), t2=(2, x)))
    assert [event.track_id for event in scene.events] == [1]


def test_an_object_whose_class_counts_no_more_has_left_the_zone():
    watch = watcher(zones=[{**DESK, "classes": ["person"]}])
    watch.update(frame(0.0), people(t1=(1, 150)))
    watch.update(frame(0.5), people(t1=(1, 150)))
    scene = watch.update(frame(1.0), people(t1=(2, 150)))
    assert story(scene) == [(EventKind.LEFT, 1, "desk")]
    assert (scene.zones[0].occupancy, scene.zones[0].dwell_mean_s) == (0, 0.5)
    assert story(watch.update(frame(1.5), people(t1=(2, 150)))) == []


def test_time_that_runs_backwards_ends_all_stays():
    watch = watcher(zones=[DESK])
    watch.update(frame(5.0), people(t7=(1, 150)))
    watch.update(frame(6.0), people(t7=(1, 150)))
    scene = watch.update(frame(0.0), people(t8=(1, 150)))
    assert story(scene)[:2] == [(EventKind.LEFT, 7, "desk"), (EventKind.DISAPPEARED, 7, None)]
    assert scene.events[0].dwell_s == 1.0
    assert scene.zones[0].occupancy == 1


def test_slow_frames_do_not_end_a_stay():
    watch = watcher(zones=[DESK])
    events = [story(watch.update(frame(5.0 * i), people(t7=(1, 150)))) for i in range(4)]
    assert events[1:] == [[], [], []]


def test_another_frame_size_keeps_the_counts():
    watch = watcher(lines=[DOOR])
    for t, x in ((0.0, 200), (0.5, 300)):
        watch.update(frame(t), people(t1=(1, x)))
    scene = watch.update(frame(1.0, 2 * HEIGHT, 2 * WIDTH), people(t1=(1, 300)))
    assert scene.lines[0].crossed_in == 1
    assert watch.lines[0].polyline[0] == (500, 540)


def test_an_object_whose_class_changes_is_counted_once():
    watch = watcher()
    watch.update(frame(0.0), people(t1=(3, 50), t2=(1, 150)))
    scene = watch.update(frame(0.1), people(t1=(2, 50), t2=(1, 150)))
    assert scene.seen == {"person": 1, "dog": 1}
    assert list(scene.seen) == ["person", "dog"]
    assert story(scene) == []


def test_one_that_comes_back_after_all_appears_again_and_is_the_same_one():
    watch = watcher()
    watch.update(frame(0.0), people(t1=(3, 50)))
    for t in range(1, 9):
        gone = watch.update(frame(float(t)), people())
    assert gone.seen == {"cat": 1}
    back = watch.update(frame(9.0), people(t1=(2, 50)))
    assert story(back) == [(EventKind.APPEARED, 1, None)]
    assert back.seen == {"dog": 1}


def test_the_last_thousand_ids_that_have_gone_are_remembered():
    watch, last = watcher(), 2 * REMEMBERED_IDS
    for track_id in range(1, last + 1):
        watch.update(frame(10.0 * track_id), people(**{f"t{track_id}": (1, 50)}))
    for i in range(1, 31):
        watch.update(frame(10.0 * last + i / 10), people())
    forgotten, kept = last - REMEMBERED_IDS, last - REMEMBERED_IDS + 1
    scene = watch.update(frame(10.0 * last + 3.1), people(**{f"t{forgotten}": (2, 50)}))
    assert scene.seen == {"person": last, "dog": 1}
    scene = watch.update(frame(10.0 * last + 3.2), people(**{f"t{kept}": (2, 50)}))
    assert scene.seen == {"person": last - 1, "dog": 2}


def test_memory_stays_bounded():
    watch, sizes = watcher(lines=[DOOR], zones=[DESK]), []
    for i in range(2500):
        watch.update(frame(i * 1.0), people(**{f"t{i + 1}": (1, 150)}))
        sizes.append(len(pickle.dumps(watch)))
    assert watch.scene.seen == {"person": 2500}
    assert watch.scene.zones[0].entered == 2500
    # a thousand ids that have gone are remembered
    assert max(sizes[1500:]) < 1.05 * max(sizes[:1500])


def test_an_unknown_class_names_the_place():
    with pytest.raises(InputError, match=r"line 'door': classes: this model has no class 'persn'; did you mean person"):
        watcher(lines=[{**DOOR, "classes": ["persn"]}])


def test_untracked_instances_are_counted_only_as_present():
    scene = watcher().update(frame(0.0), found((1, 0.9, 10, 10, 30, 50)))
    assert (scene.now, scene.seen, scene.events) == ({"person": 1}, {}, ())
