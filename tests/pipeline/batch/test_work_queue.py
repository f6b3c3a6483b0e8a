"""The order in which a driver gives out recordings and stretches."""

import pytest

from pipeline.batch.inputs import Recording
from pipeline.batch.stretches import stretches_between
from pipeline.batch.work_queue import LOOK_AGAIN_S, MOST_LOOKED_AT, WorkQueue

A, B, C = (Recording(f"{name}.mp4", f"/in/{name}.mp4", 1, 1) for name in "abc")


@pytest.fixture
def parts():
    return stretches_between(A, (1000, 2000))


def taken(queue, now_s=0.0):
    found = []
    while (entry := queue.pop(now_s)) is not None:
        found.append(entry)
    return found


def test_what_is_due_comes_before_what_waits():
    queue = WorkQueue([A, B])
    queue.put_later(C, 2, 10.0)
    assert (len(queue), queue.waiting) == (3, 2)
    assert queue.pop(9.9) == (A, 0)
    queue.put_first(A, 1)
    assert taken(queue, 10.0) == [(C, 2), (A, 1), (B, 0)]
    assert not queue


def test_what_another_driver_has_is_looked_at_now_and_then():
    queue = WorkQueue([])
    for recording in (A, B):
        queue.put_elsewhere(recording)
    assert queue.pop(5.0) == (A, 0)
    queue.put_elsewhere(A)
    assert queue.pop(5.1) == (B, 0)
    queue.put_elsewhere(B)
    assert queue.pop(5.0 + LOOK_AGAIN_S - 0.1) is None
    assert (len(queue), queue.waiting) == (2, 0)
    assert taken(queue, 5.0 + LOOK_AGAIN_S) == [(A, 0), (B, 0)]


def test_no_more_than_some_are_looked_at_in_a_round():
    queue = WorkQueue([])
    for _ in range(MOST_LOOKED_AT + 5):
        queue.put_elsewhere(A)
    assert len(taken(queue, 1.0)) == MOST_LOOKED_AT
    assert len(taken(queue, 1.0 + LOOK_AGAIN_S)) == 5


def test_stretches_come_next_and_their_recording_when_all_are_done(parts):
    queue = WorkQueue([B])
    queue.split(parts, 1)
    assert taken(queue) == [(parts[0], 1), (parts[1], 1), (parts[2], 1), (B, 0)]
    for part in (parts[1], parts[0], parts[1]):
        queue.finish(part)
        assert not queue
    queue.finish(parts[2])
    assert taken(queue) == [(A, 0)]
    queue.finish(parts[2])
    assert not queue


def test_only_those_that_are_left_count(parts):
    queue = WorkQueue([])
    queue.split(parts[1:], 0)
    assert taken(queue) == [(parts[1], 0), (parts[2], 0)]
    queue.finish(parts[1])
    queue.finish(parts[2])
    assert taken(queue) == [(A, 0)]


def test_stretches_are_dropped_wherever_they_wait(parts):
    queue = WorkQueue([B])
    queue.split(parts, 0)
    queue.pop(0.0)
    queue.put_later(parts[0], 1, 0.0)
    queue.put_later(C, 1, 0.0)
    queue.put_elsewhere(queue.pop(-1.0)[0])
    queue.drop_stretches(A)
    assert taken(queue, 5.0) == [(C, 1), (B, 0)]
    queue.finish(parts[2])
    assert not queue
