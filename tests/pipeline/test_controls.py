import threading

import pytest
from pydantic import ValidationError

from pipeline.controls import Controls, DisplayChange
from pipeline.settings.output_settings import OverlaySettings


def test_only_what_is_named_changes():
    controls = Controls(OverlaySettings(masks=False, mask_alpha=0.25))
    before = controls.state
    after = controls.change_display(DisplayChange(boxes=False, min_score=0.75))
    assert after is controls.state
    assert after.overlay == OverlaySettings(masks=False, mask_alpha=0.25, boxes=False)
    assert after.min_score == 0.75
    controls.change_display(DisplayChange(boxes=True))
    assert controls.state.overlay == before.overlay
    assert controls.state.min_score == 0.75
    assert before.overlay.boxes  # who has read a state keeps it
    assert before.min_score == 0.0


@pytest.mark.parametrize("values", [{"min_score": 1.5}, {"min_score": float("nan")}, {"mask": True}])
def test_changes_out_of_range(values):
    with pytest.raises(ValidationError):
        DisplayChange.model_validate(values)


def test_each_recording_is_a_take_of_its_own():
    controls = Controls(OverlaySettings())
    assert (controls.state.recording, controls.state.take) == (False, 0)
    assert controls.set_recording(True).take == 1
    assert controls.set_recording(True).take == 1  # it is on already
    assert controls.set_recording(False).recording is False
    assert controls.set_recording(True).take == 2
    assert Controls(OverlaySettings(), recording=True).state.take == 1


def test_what_the_recorder_tells():
    controls = Controls(OverlaySettings())
    take = controls.set_recording(True).take
    controls.recording_to("a.mp4")
    assert controls.state.file == "a.mp4"
    controls.recording_ended(take, "disk full")
    assert (controls.state.recording, controls.state.file, controls.state.error) == (False, None, "disk full")
    assert controls.state.saved is None
    take = controls.set_recording(True).take
    assert controls.state.error == ""
    controls.recording_to("b.mp4")
    controls.recording_ended(take)
    assert controls.state.saved == "b.mp4"
    assert controls.state.recording  # the recorder's file ended, the wish did not


def test_segments_are_saved_one_by_one_and_may_be_deleted():
    controls = Controls(OverlaySettings())
    take = controls.set_recording(True).take
    for file, saved in (("1.mp4", None), ("2.mp4", "1.mp4"), (None, "2.mp4"), ("3.mp4", "2.mp4")):
        controls.recording_to(file)
        assert (controls.state.file, controls.state.saved) == (file, saved)
    controls.recording_deleted("1.mp4")
    assert controls.state.saved == "2.mp4"
    controls.recording_deleted("2.mp4")
    assert controls.state.saved is None
    controls.recording_ended(take)
    assert controls.state.saved == "3.mp4"


def test_a_late_failure_does_not_end_the_next_take():
    controls = Controls(OverlaySettings())
    take = controls.set_recording(True).take
    controls.set_recording(False)
    controls.set_recording(True)
    controls.recording_ended(take, "disk full")
    assert controls.state.recording


def test_changes_from_many_threads_are_all_kept():
    controls = Controls(OverlaySettings())
    switches = ("masks", "boxes", "labels", "scores", "status", "ids")
    start = threading.Barrier(len(switches))

    def switch(name):
        start.wait(5)
        for on in [True, False] * 100:
            controls.change_display(DisplayChange(**{name: on}))

    threads = [threading.Thread(target=switch, args=(name,)) for name in switches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(getattr(controls.state.overlay, name) for name in switches)


def test_of_the_requested_seeks_the_last_is_taken_once():
    controls = Controls(OverlaySettings())
    assert controls.take_seek() is None
    controls.seek(3.0)
    controls.seek(0.0)
    assert controls.take_seek() == 0.0
    assert controls.take_seek() is None
