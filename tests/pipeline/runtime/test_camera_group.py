"""Whole runs with several cameras: real threads, fakes at both ends."""

import itertools
import logging
import threading
import time
from collections import defaultdict
from dataclasses import replace

import pytest

from pipeline.errors import InputError, OutputClosedError, RunError, StageStuckError
from pipeline.ledger import EndReason
from pipeline.motion.carry import make_carrier
from pipeline.records import SourceKind, UnredactedFrame
from pipeline.runtime import camera_entry, inference_service
from pipeline.runtime.presenter import Presenter
from pipeline.runtime.wiring import SmoothJoin, wire
from pipeline.sinks.base import Delivery
from pipeline.threads.stage import Overflow, Slot, Stage
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSink
from tests.pipeline.runtime.shaded_cameras import Reader, Shades, Wall, assert_accounted_for, collect, group


def test_files_give_every_frame_in_order_with_their_own_instances():
    cameras = group([Shades(number, 30 + number) for number in range(4)])
    found = collect(cameras)
    for number, name in enumerate("abcd"):
        assert [each.frame.index for each in found[name]] == list(range(30 + number))
        assert {each.frame.camera for each in found[name]} == {name}
        shades = [10 * number + index % 10 for index in range(30 + number)]
        assert [each.instances.boxes_xyxy[0, 0] for each in found[name]] == shades
    summary = cameras.summary()
    assert [(one.name, one.error) for one in summary.cameras] == [(name, None) for name in "abcd"]
    assert [run.end for one in summary.cameras for run in one.runs] == [EndReason.FINISHED] * 4
    assert not summary.stopped
    assert_accounted_for(cameras)


def test_cameras_run_once():
    cameras = group([Shades(0, 3)])
    assert len(collect(cameras)["a"]) == 3
    with pytest.raises(RuntimeError, match="make new ones"), cameras:
        pass


def test_cameras_whose_loop_is_left_were_stopped():
    cameras = group([Shades(number, None, SourceKind.LIVE) for number in range(2)])
    with cameras:
        for _ in cameras:
            break
    summary = cameras.summary()
    assert summary.stopped
    assert {run.end for one in summary.cameras for run in one.runs} == {EndReason.STOPPED}


@pytest.mark.parametrize("presentation", ["exact", "smooth"])
def test_live_cameras_show_only_their_own_instances(presentation):
    cameras = group(
        [Shades(number, 200, SourceKind.LIVE) for number in range(5)], values={"presentation": presentation}
    )
    with cameras:
        for name, segmented in cameras:
            for x in segmented.instances.boxes_xyxy[:, 0]:
                assert int(x) // 10 == ord(name) - 97
    assert_accounted_for(cameras)


def test_results_that_are_mixed_on_purpose_show_nothing(monkeypatch):
    """Each camera's join is given the other's results: no frame is presented with them."""
    slots = [Slot(4, Overflow.DROP_OLDEST) for _ in "ab"]
    mixed = iter([slots, slots[::-1]])

    def wire_mixed(plan, motion, *more):
        wiring, (own, others) = wire(plan, motion, *more), next(mixed)
        join = SmoothJoin(wiring.frame_slots[1], others, make_carrier(motion, plan.live))
        return replace(wiring, results=own, join=join)

    monkeypatch.setattr("pipeline.runtime.stream.wire", wire_mixed)
    cameras = group([Shades(number, None, SourceKind.LIVE) for number in (1, 2)], values={"presentation": "smooth"})
    with cameras:
        a, b = (cameras.entries[name] for name in "ab")
        for name, segmented in cameras:
            for x in segmented.instances.boxes_xyxy[:, 0]:
                assert int(x) // 10 == {"a": 1, "b": 2}[name]
            if a.error or b.error:  # whose frames are behind the other's results uses none of them
                cameras.stop()
    errors = [str(one.error) for one in cameras.summary().cameras if one.error is not None]
    assert errors
    assert all("came with detections of camera" in error for error in errors)


def test_a_frame_refuses_another_cameras_detections(monkeypatch):
    kept = {}
    redact = Presenter.redact

    def keep(presenter, captured):
        kept[captured.frame.camera] = captured
        return redact(presenter, captured)

    monkeypatch.setattr(Presenter, "redact", keep)
    collect(group([Shades(1, 1), Shades(2, 1)]))
    a, b = kept["a"], kept["b"]
    with pytest.raises(ValueError, match="a frame of camera a came with detections of camera b"):
        UnredactedFrame(a.frame, b.instances, 0, a.times, b.detections)


def test_a_camera_that_fails_ends_alone(caplog):
    def fail(index):
        if index == 3:
            raise RunError("the disk is full")

    others = [Shades(number, 40) for number in (1, 2)]
    cameras = group([Shades(0, 40), *others])
    cameras.add_sink("a", FakeSink(on_write=fail))
    kept = FakeSink()
    cameras.add_sink("b", kept)
    with caplog.at_level(logging.ERROR):
        found = collect(cameras)
    assert kept.written == [each.frame.index for each in found["c"]] == list(range(40))
    assert str(cameras.entries["a"].error) == "the disk is full"
    assert cameras.entries["a"].state == "failed: the disk is full"
    assert [cameras.entries[name].error for name in "bc"] == [None, None]
    assert caplog.messages == ["camera a has ended: the disk is full"]
    assert_accounted_for(cameras)


@pytest.mark.parametrize(
    "trouble",
    [
        {"error": RunError("corrupt")},
        {"gate": lambda index: index < 5 or bool(time_stands_still.wait(DEADLINE_S))},
    ],
)
def test_trouble_of_one_source_is_none_of_another(trouble):
    """A source that fails, and one that stands still until the others have ended."""
    time_stands_still.clear()
    cameras = group([Shades(0, 8 if "error" in trouble else None, **trouble), Shades(1, 60), Shades(2, 60)])
    found = defaultdict(list)
    with cameras:
        for name, segmented in cameras:
            found[name].append(segmented.frame.index)
            if len(found["b"]) == len(found["c"]) == 60:
                time_stands_still.set()
                cameras.stop()
    assert found["b"] == found["c"] == list(range(60))
    assert_accounted_for(cameras)


time_stands_still = threading.Event()


def test_a_stuck_sink_of_one_camera_holds_up_no_other():
    gate = threading.Event()
    cameras = group([Shades(0, 500), Shades(1, 60)])
    cameras.add_sink("a", FakeSink(on_write=lambda _: gate.wait(DEADLINE_S)))
    count = 0
    with cameras:
        for name, _ in cameras:
            count += name == "b"
            if count == 60:
                gate.set()
                cameras.stop()
    assert count == 60


def test_the_networks_failure_is_everybodys():
    def fail(index):
        if index == 11:
            raise ValueError("out of memory")

    cameras = group([Shades(0, None), Shades(1, None), Shades(2, None)], FakeSegmenter(fail))
    with pytest.raises(RunError, match=r"^inference failed: ValueError: out of memory$"), cameras:
        cameras.run()
    errors = {str(one.error) for one in cameras.summary().cameras if one.error is not None}  # one may not be open yet
    assert errors == {"inference failed: ValueError: out of memory"}


def test_stop_ends_all_also_before_anybody_iterates():
    cameras = group([Shades(number, None) for number in range(3)])
    with cameras:
        cameras.stop()
    assert all(not entry.running for entry in cameras.entries.values())
    assert cameras.summary().stopped
    assert_accounted_for(cameras)


def test_stop_reaches_a_source_that_is_being_opened():
    class Slow(Shades):
        def open(self):
            assert self.interrupted.wait(DEADLINE_S)
            raise InputError("interrupted")

    cameras = group([Slow(0, None), Shades(1, None)])
    with cameras:
        for name, _ in cameras:
            assert name == "b"
            assert cameras.entries["a"].state == "connecting"
            cameras.stop()
    assert cameras.entries["a"].error is None


def test_stop_before_the_run_is_open_is_no_failure(caplog):
    cameras = group([Shades(number, None) for number in range(3)])
    cameras.stop()
    with cameras:
        assert list(cameras) == []
    assert [(one.runs, one.error) for one in cameras.summary().cameras] == [((), None)] * 3
    assert caplog.messages == []


def test_a_run_that_cannot_be_opened_leaves_nothing_behind():
    def make(entry):
        if entry.name == "c":
            raise InputError("the port is taken")
        return FakeSink()

    segmenter = Reader()
    cameras = group([Shades(number, None) for number in range(3)], segmenter)
    cameras.add_sinks(make)
    with pytest.raises(InputError, match="the port is taken"), cameras:
        raise AssertionError("it must not be open")
    assert not any(entry.running for entry in cameras.entries.values())
    assert segmenter.closed == 1


def test_nothing_starts_once_the_run_ends():
    cameras = group([(Shades(number, None) for _ in itertools.count()) for number in range(2)])
    with cameras:
        cameras.disable("a")
        cameras.entries["a"].join()
        cameras.stop()
        cameras.enable("a")
        assert not cameras.entries["a"].running
    cameras.enable("a")
    assert not cameras.entries["a"].running


def test_a_network_that_hangs_makes_no_camera_fail(monkeypatch, caplog):
    monkeypatch.setattr(inference_service, "CLOSE_DEADLINE_S", 0.05)
    hangs, back = threading.Event(), threading.Event()

    def hang(index):
        hangs.set()
        back.wait(DEADLINE_S)

    cameras = group([Shades(number, None) for number in range(2)], FakeSegmenter(hang))
    with cameras:
        assert hangs.wait(DEADLINE_S)
    assert [one.error for one in cameras.summary().cameras] == [None, None]
    assert caplog.messages == ["inference did not end within 0.05 s; the program ends without it"]
    back.set()
    assert_accounted_for(cameras)


def test_several_cameras_that_are_stuck_have_one_deadline_together(monkeypatch):
    monkeypatch.setattr(camera_entry, "END_DEADLINE_S", 0.2)
    monkeypatch.setattr("pipeline.runtime.camera_group.END_DEADLINE_S", 0.2)
    waits, wait = [], Stage.wait

    def record(stage, timeout_s):
        if stage.name.startswith("camera ") and timeout_s:
            waits.append(timeout_s)
        return wait(stage, timeout_s)

    gate, stuck = threading.Event(), threading.Semaphore(0)
    cameras = group([Shades(number, None, SourceKind.LIVE) for number in range(2)])
    for name in "ab":
        cameras.add_sink(
            name, FakeSink(Delivery.MAIN_THREAD, on_write=lambda _: stuck.release() or gate.wait(DEADLINE_S))
        )
    cameras.open()
    for _ in "ab":
        assert stuck.acquire(timeout=DEADLINE_S)
    monkeypatch.setattr(Stage, "wait", record)
    with pytest.raises(StageStuckError, match=r"camera a did not end within 0\.2 s"):
        cameras.close()
    assert len(waits) == 1  # nothing of the 0.2 s was left for the other one
    gate.set()
    for name in "ab":
        cameras.entries[name].join(time.monotonic() + DEADLINE_S)


def test_a_viewer_of_all_cameras_runs_in_the_main_thread():
    lost = Shades(1, None, SourceKind.LIVE, gate=lambda _: lost.interrupted.wait(DEADLINE_S) and False)
    lost.text = "gone"
    wall = Wall(lambda wall: len(wall.shown["a"]) > 3 and wall.states["b"].startswith("offline"))
    cameras = group([Shades(0, None, SourceKind.LIVE), lost, Shades(2, 1)], entries={"c": {"enabled": False}})
    cameras.set_viewer(wall)
    with cameras:
        cameras.run()
    assert wall.calls == [("open", ("a", "b", "c")), ("close",)]
    assert set(wall.shown) == {"a"}
    assert sorted(wall.shown["a"]) == wall.shown["a"]
    assert wall.states["c"] == "disabled"
    assert wall.states["b"].removeprefix("offline since ").replace(":", "").isdecimal()


def test_a_last_frame_of_a_removed_camera_is_not_shown(monkeypatch):
    """Of both cameras a frame waits to be shown; while the first is, the other one is removed."""
    stored = {name: threading.Event() for name in "ab"}

    class Removing(Wall):
        def write(self, camera, presentation, context):
            super().write(camera, presentation, context)
            for name in set(cameras.entries) - {camera}:
                cameras.remove(name)

    wall = Removing(lambda wall: bool(wall.shown))
    cameras = group([Shades(number, None, SourceKind.LIVE) for number in range(2)])
    present = cameras.present  # called when all sinks have the frame; before `run`, it keeps the camera waiting

    def present_stored(entry, segmented):
        stored[entry.name].set()
        present(entry, segmented)

    monkeypatch.setattr(cameras, "present", present_stored)
    cameras.set_viewer(wall)
    with cameras:
        assert all(event.wait(DEADLINE_S) for event in stored.values())
        cameras.run()
    assert list(wall.shown) == list(cameras.entries)
    assert len(wall.shown) == 1


def test_nobody_reads_standard_output(caplog):
    cameras = group([Shades(0, None)])

    def leave(index):
        raise OutputClosedError("gone")

    cameras.add_sink("a", FakeSink(on_write=leave))
    with caplog.at_level(logging.ERROR), cameras:
        cameras.run()
    assert cameras.output_closed
    assert caplog.messages == []


def test_a_group_that_is_not_open_says_how_to_use_it():
    cameras = group([Shades(0, 1)])
    for use in (lambda: next(iter(cameras)), cameras.run, lambda: cameras.enable("a")):
        with pytest.raises(RuntimeError, match="`with` block"):
            use()
