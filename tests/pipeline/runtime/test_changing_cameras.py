"""Cameras are disabled, enabled, added and removed while a run shows others."""

import gc
import itertools
import threading
import time
import weakref

import pytest

from pipeline.errors import InputError
from pipeline.runtime.camera_group import POLL_S
from tests.pipeline.fakes import DEADLINE_S, FakeSink
from tests.pipeline.runtime.shaded_cameras import Reader, Shades, Wall, assert_accounted_for, group


def test_cameras_are_disabled_and_enabled_while_others_run():
    sources = [itertools.repeat(None), Shades(1, None)]
    sources[0] = (Shades(0, None) for _ in itertools.count())
    cameras = group(sources)
    seen = FakeSink()
    cameras.add_sink("a", seen)
    steps = iter(("disable", "enable", "disable"))
    with cameras:
        done = 0
        for name, segmented in cameras:
            entry = cameras.entries["a"]
            if name == "a" and segmented.frame.index == 3 and entry.enabled:
                getattr(cameras, next(steps))("a")
            elif not entry.enabled and not entry.running and name == "b":
                assert entry.state == "disabled"
                done += 1
                if done == 2:
                    break
                getattr(cameras, next(steps))("a")
    a, b = cameras.summary().cameras
    assert (len(a.runs), len(b.runs)) == (2, 1)
    assert a.error is None
    assert seen.closed == 2
    assert_accounted_for(cameras)


def until_seen(frames, names):
    """Take frames until there was one of each of these cameras."""
    missing = set(names)
    while missing:
        missing.discard(next(frames)[0])


def test_cameras_come_and_go():
    cameras = group([Shades(0, None), Shades(1, None)], later={"c": Shades(2, None)})
    made = []
    cameras.add_sinks(lambda entry: made.append(entry.name) or FakeSink())
    with cameras:
        frames = iter(cameras)
        until_seen(frames, {"a", "b"})
        cameras.add({"name": "c", "uri": "test:"}, before="b")
        with pytest.raises(InputError, match="two are named c"):
            cameras.add({"name": "c", "uri": "test:"})
        with pytest.raises(InputError, match="camera d: unknown setting overlai"):
            cameras.add({"name": "d", "uri": "test:", "overlai": {}})
        until_seen(frames, {"c"})
        cameras.remove("a")
        until_seen(frames, {"b", "c"})
    assert list(cameras.entries) == ["c", "b"]
    assert [camera.name for camera in cameras.settings.cameras] == ["c", "b"]
    assert made == ["a", "b", "c"]
    with pytest.raises(InputError, match="there is no camera a; the cameras are c, b"):
        cameras.disable("a")


def test_a_camera_that_is_removed_and_added_again_replaces_nothing_that_it_has_written(tmp_path):
    values = {"detections": {"path": str(tmp_path / "{camera}.jsonl"), "masks": False}, "output": {"overwrite": True}}
    (tmp_path / "a.jsonl").write_text("of an earlier run")
    cameras = group([(Shades(0, None) for _ in itertools.count()), Shades(1, None)], values=values)
    with cameras:
        frames = iter(cameras)
        until_seen(frames, {"a", "b"})
        cameras.remove("a")
        written = (tmp_path / "a.jsonl").read_bytes()
        cameras.add({"name": "a", "uri": "test:"})
        presented(cameras, "a")
    assert written.startswith(b"{")
    assert (tmp_path / "a.jsonl").read_bytes() == written
    assert (tmp_path / "a-2.jsonl").stat().st_size > 0


def wait_until_gone(entries):
    """Wait until removed cameras (weak references to them) are free; the network may still compute for the last one."""
    until_s = time.monotonic() + DEADLINE_S
    while any(entry() is not None for entry in entries):
        assert time.monotonic() < until_s
        threading.Event().wait(0.01)
        gc.collect()


def test_a_camera_that_was_removed_is_kept_no_longer():
    cameras = group([(Shades(0, None) for _ in itertools.count()), Shades(1, None)])
    gone = []
    with cameras:
        frames = iter(cameras)
        until_seen(frames, {"b"})
        for _ in range(3):
            until_seen(frames, {"a"})
            gone.append(weakref.ref(cameras.entries["a"]))
            cameras.remove("a")
            cameras.add({"name": "a", "uri": "test:"})
        until_seen(frames, {"b"})
        wait_until_gone(gone)


def test_a_camera_that_is_removed_while_the_network_computes_for_it_is_kept_no_longer_than_that():
    begun, done = threading.Event(), threading.Event()
    cameras = group([Shades(0, None)], Reader(lambda _: begun.set() or done.wait(DEADLINE_S)))
    with cameras:
        assert begun.wait(DEADLINE_S)
        gone = weakref.ref(cameras.entries["a"])
        cameras.remove("a")
        done.set()
        wait_until_gone([gone])  # although no other frame comes


def test_a_run_with_all_cameras_disabled_waits_for_one_to_be_enabled():
    cameras = group([(Shades(0, 5) for _ in itertools.count()), Shades(1, 5)], entries={"b": {"enabled": False}})
    assert cameras.entries["b"].state == "disabled"
    with cameras:
        cameras.disable("a")
        cameras.entries["a"].join()
        cameras.run(lambda: cameras.is_enabled("b") or cameras.enable("b"))  # called only while the run lasts
    assert cameras.entries["b"].ledger.overall().presented == 5


def test_a_run_without_cameras_waits_between_two_looks(monkeypatch):
    cameras = group([Shades(0, None)])
    cameras.set_viewer(Wall(lambda _: False))
    waits, looks = [], itertools.count(1)
    get = cameras._shown.get
    monkeypatch.setattr(cameras._shown, "get", lambda wait_s: waits.append(wait_s) or get(wait_s))
    with cameras:
        cameras.remove("a")
        cameras.run(lambda: cameras.stop() if next(looks) == 3 else None)
    assert waits == [POLL_S] * 3


def presented(cameras, camera):
    """Wait until a camera's thread holds a frame for the loop, while nobody takes any."""
    ledger = cameras.entries[camera].ledger
    until_s = time.monotonic() + DEADLINE_S
    while not ledger.overall().presented:
        assert time.monotonic() < until_s
        threading.Event().wait(0.001)


def test_cameras_go_and_come_back_before_anybody_takes_frames():
    sources = [(Shades(number, None) for _ in itertools.count()) for number in range(3)]
    cameras = group(sources)
    with cameras:
        for name in "abc":
            presented(cameras, name)
        cameras.remove("a")
        cameras.disable("b")
        cameras.enable("b")  # waits for the end of its first run
        until_seen(iter(cameras), {"b", "c"})
    assert [len(one.runs) for one in cameras.summary().cameras] == [2, 1]
    assert_accounted_for(cameras)
