"""What a recording amounts to, worked out by hand."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np
import pytest

from pipeline.report.detection_lines import read_frames
from pipeline.report.statistics import LineCrossings, RecordingStatistics, Track, ZoneStays, summed
from pipeline.scene import Direction
from tests.pipeline.report.stored import HEIGHT, RUN, WIDTH, line, one, write


def result(tmp_path, *lines):
    statistics = None
    for frame in read_frames(write(tmp_path / "x.jsonl", *lines)):
        statistics = statistics or RecordingStatistics("clip", frame)
        statistics.add(frame)
    return statistics.result()


def event(kind, pts, track_id=1, **more):
    return {"event": kind, "pts": pts, "track_id": track_id, "class_id": 1, "label": "person", **more}


def test_classes_and_tracks(tmp_path):
    dog = one((1, 1, 9, 9), 2, "dog", 3)
    lines = [
        line(10, one(track_id=1), run=RUN),
        line(11, one(track_id=1), one(track_id=2), dog),
        line(12, one(track_id=None)),
        line(13, one((5, 5, 9, 9), 2, "dog", track_id=1)),
        line(15),
    ]
    found = result(tmp_path, *lines)
    person, dog = found.classes
    assert (person.label, person.tracks, person.found, person.most, person.most_at) == (
        "person",
        1,
        4,
        2,
        pytest.approx(0.1),
    )
    assert (person.first, person.last) == (0.0, pytest.approx(0.2))
    # The first track is a dog in the end.
    assert (dog.label, dog.tracks, dog.found, dog.most) == ("dog", 2, 2, 1)
    assert found.counts == Counter(dog=2, person=1)
    assert found.track_count == 3
    assert found.tracks == [
        Track(1, 2, 0.0, pytest.approx(0.3)),
        Track(2, 1, pytest.approx(0.1), pytest.approx(0.1)),
        Track(3, 2, pytest.approx(0.1), pytest.approx(0.1)),
    ]
    assert (found.most, found.most_at) == (3, pytest.approx(0.1))
    assert found.fewest_at == pytest.approx(0.5)
    assert (found.frames, found.missing, found.first_pts_s, found.size_wh) == (5, 1, 1.0, (WIDTH, HEIGHT))
    assert found.duration == pytest.approx(0.5)
    assert found.fps == pytest.approx(8.0)


def test_classes_of_one_name_count_together(tmp_path):
    found = result(tmp_path, line(0, one(track_id=1), one(class_id=4, track_id=2), one(class_id=4, track_id=3)))
    assert found.counts == {"person": 3}
    assert found.in_view.values["person"].tolist() == [3]


def test_the_result_can_be_had_twice(tmp_path):
    (frame,) = read_frames(write(tmp_path / "x.jsonl", line(0, one(track_id=1))))
    statistics = RecordingStatistics("clip", frame)
    statistics.add(frame)
    assert statistics.result().counts == statistics.result().counts == {"person": 1}


def test_what_was_in_view_holds_until_the_next_frame_but_not_over_a_long_gap(tmp_path):
    lines = [line(0, one(), one()), line(5, one()), line(205)]
    series = result(tmp_path, *lines).in_view
    values = series.values["person"]
    assert series.width == 0.125
    assert values[:4].tolist() == [2] * 4
    assert values[4:44].tolist() == [1] * 40
    assert not values[45:].any()


def test_crossings_and_stays(tmp_path):
    run = RUN | {
        "lines": [{"name": "door", "points": [[0, 0], [1, 1]]}, {"name": "gate", "points": [[0, 0], [1, 1]]}],
        "zones": [{"name": "desk", "points": [[0, 0], [1, 0], [1, 1]]}],
    }
    lines = [
        line(10, events=[event("appeared", 1.0), event("entered", 1.0, zone="desk")], run=run),
        line(11, events=[event("crossed", 1.1, line="door", direction="in")]),
        line(13, events=[event("crossed", 1.3, line="door", direction="in"), event("entered", 1.3, 2, zone="desk")]),
        line(14, events=[event("left", 1.4, zone="desk", dwell_s=0.4)]),
        line(19, events=[event("crossed", 1.9, line="door", direction="out")]),
        line(20, events=[event("left", 2.0, 2, zone="desk", dwell_s=0.7), event("entered", 2.0, 3, zone="desk")]),
    ]
    found = result(tmp_path, *lines)
    assert list(found.lines) == ["door", "gate"]
    assert found.lines["door"].counts == {Direction.IN: 2, Direction.OUT: 1}
    assert (found.lines["door"].first, found.lines["door"].last) == (pytest.approx(0.1), pytest.approx(0.9))
    assert (found.lines["gate"].first, found.lines["gate"].counts.total()) == (None, 0)
    desk = found.zones["desk"]
    assert (desk.entered, list(desk.dwell_s), desk.longest_s, desk.longest_until) == (3, [0.4, 0.7], 0.7, 1.0)
    assert desk.inside == {3: 1.0}
    assert found.has_events
    inward = found.crossings.values["in door"]
    assert np.flatnonzero(inward).tolist() == [0, 2]
    assert found.crossings.values["out door"].sum() == 1


def test_the_longest_stay_may_not_have_ended(tmp_path):
    lines = [
        line(0, events=[event("entered", 0.0, 1, zone="desk"), event("entered", 0.0, 2, zone="desk")]),
        line(5, events=[event("left", 0.5, 2, zone="desk", dwell_s=0.5)]),
        line(30, events=[]),
    ]
    desk = result(tmp_path, *lines).zones["desk"]
    assert (desk.entered, list(desk.dwell_s), desk.inside) == (2, [0.5], {1: 0.0})
    assert (desk.longest_s, desk.longest_until) == (3.0, 3.0)


def test_images_are_numbered(tmp_path):
    lines = [
        line(i, *[one()] * count, pts=0.0, source=f"{i}.jpg") | ({"run": RUN | {"kind": "stills"}} if i == 0 else {})
        for i, count in enumerate((1, 0, 3))
    ]
    found = result(tmp_path, *lines)
    assert found.stills
    assert (found.most, found.most_at, found.duration, found.fps) == (3, 2.0, 2.0, None)
    assert found.counts == {"person": 4}
    assert found.in_view.values["person"].tolist() == [1, 0, 3]


def test_latencies(tmp_path):
    lines = [line(i, latency_ms=float(ms)) for i, ms in enumerate([40] * 18 + [90, 200])]
    found = result(tmp_path, *lines)
    assert found.latency_p50_s == pytest.approx(0.040, rel=0.01)
    assert found.latency_p95_s == pytest.approx(0.090, rel=0.01)
    assert result(tmp_path, line(0)).latency_p50_s is None


def test_the_longest_tracks_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.report.statistics.LONGEST_TRACKS", 2)
    lines = [
        line(0, one(track_id=1), one(track_id=2)),
        line(1, one(track_id=3), one(track_id=2)),
        line(2, one(track_id=3)),
        line(3, one(track_id=3)),
    ]
    found = result(tmp_path, *lines)
    assert [track.track_id for track in found.tracks] == [2, 3]
    assert found.track_count == 3


def test_lines_and_zones_of_several_recordings():
    first = {"door": LineCrossings(Counter({Direction.IN: 2}), 1.0, 3.0)}
    second = {"door": LineCrossings(Counter({Direction.IN: 1, Direction.OUT: 4})), "gate": LineCrossings()}
    lines = summed([first, second])
    assert {name: line.counts for name, line in lines.items()} == {
        "door": {Direction.IN: 3, Direction.OUT: 4},
        "gate": {},
    }
    stays = summed(
        [
            {"desk": ZoneStays(3, array("d", [1.0, 5.0]), {}, 5.0)},
            {"desk": ZoneStays(1, array("d", [2.0]), {4: 1.0}, 2.0)},
        ]
    )
    assert (stays["desk"].entered, list(stays["desk"].dwell_s), stays["desk"].longest_s) == (4, [1.0, 5.0, 2.0], 5.0)
    assert first["door"].counts == {Direction.IN: 2}
