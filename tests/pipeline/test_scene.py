from pipeline.scene import Direction, Event, EventKind, Scene


def test_event_records_hold_what_applies():
    appeared = Event(EventKind.APPEARED, 1.23456789, 7, 1, "person")
    assert appeared.record() == {
        "event": "appeared",
        "pts": 1.234568,
        "track_id": 7,
        "class_id": 1,
        "label": "person",
    }
    crossed = Event(EventKind.CROSSED, 1.0, 7, 1, "person", "door", direction=Direction.IN).record()
    assert (crossed["line"], crossed["direction"], "zone" in crossed) == ("door", "in", False)
    left = Event(EventKind.LEFT, 1.0, 7, 1, "person", "desk", dwell_s=2.00049).record()
    assert (left["zone"], left["dwell_s"], "line" in left) == ("desk", 2.0, False)


def test_counts_now_and_since_the_start():
    scene = Scene(now={"dog": 2}, seen={"person": 3, "dog": 4})
    assert scene.counts() == [("person", 0, 3), ("dog", 2, 4)]
    assert Scene().counts() == []
