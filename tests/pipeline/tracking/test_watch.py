import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.records import Frame
from pipeline.scene import Direction, EventKind
from pipeline.settings.schema import Settings
from pipeline.tracking.watch import REMEMBERED_IDS, SceneWatcher
from tests.pipeline.tracking.scenes import found

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
