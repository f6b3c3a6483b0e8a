import pytest

from pipeline.ledger import DropStage, RunLedger
from pipeline.records import SourceInfo, SourceKind
from pipeline.runtime.join import ExactJoin, KeyframeJoin, SmoothJoin
from pipeline.runtime.plan import plan_run
from pipeline.runtime.wiring import display_capacity, wire
from pipeline.settings.presentation_settings import MotionSettings
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import make_frame

INFO = SourceInfo("clip.mp4", SourceKind.RECORDED, 80, 48, fps=25.0)


def wired(live, smooth=None, values=None, batch_size=1):
    """Wiring of a source, and its ledger, which is ready. `smooth`: None for what the settings say."""
    settings = dict(values or {})
    settings["source"] = {"policy": "live" if live else "recorded"}
    settings["model"] = {"batch_size": batch_size}
    if smooth is not None and live:
        settings["presentation"] = "smooth" if smooth else "exact"
    plan, ledger = plan_run(Settings.model_validate(settings)), RunLedger()
    ledger.ready()
    return wire(plan.for_source(INFO), plan.settings.motion, ledger), ledger


def lost(ledger):
    return {stage: count for (stage, _), count in ledger.overall().dropped.items()}


@pytest.mark.parametrize(
    ("live", "smooth", "join"),
    [(True, True, SmoothJoin), (True, False, ExactJoin), (False, False, ExactJoin), (False, True, KeyframeJoin)],
)
def test_each_kind_of_run_has_its_join(live, smooth, join):
    wiring, _ = wired(live, smooth, {"motion": {"infer_every": 4}} if smooth else None)
    assert type(wiring.join) is join
    assert wiring.to_inference in wiring.frame_slots
    assert len(wiring.frame_slots) == (2 if smooth else 1)
    wiring.close()
    assert wiring.results.closed
    assert all(slot.closed for slot in wiring.frame_slots)


def test_live_exact_frames_that_are_pushed_out_are_lost_before_inference():
    wiring, ledger = wired(live=True, smooth=False)
    for index in range(3):
        wiring.outlets[0].put(make_frame(index))
    assert lost(ledger) == {DropStage.INFERENCE: 2}
    assert wiring.to_inference.get(0).index == 2


def test_live_smooth_frames_that_are_not_inferred_are_not_lost():
    wiring, ledger = wired(live=True, smooth=True)
    for index in range(2):
        for outlet in wiring.outlets:
            outlet.put(make_frame(index))
    assert lost(ledger) == {}
    assert wiring.to_inference.get(0).index == 1
    for outlet in wiring.outlets:
        outlet.put(make_frame(2))
    assert lost(ledger) == {DropStage.DISPLAY: 1}


def test_recorded_smooth_only_keyframes_are_inferred():
    wiring, ledger = wired(live=False, smooth=True, values={"motion": {"infer_every": 3}})
    for index in range(5):
        for outlet in wiring.outlets:
            outlet.put(make_frame(index))
    assert [frame.index for frame in wiring.to_inference.get_all()] == [0, 3]
    assert lost(ledger) == {}


def test_a_recorded_batch_and_its_results_fit_between_the_stages():
    wiring, ledger = wired(live=False, smooth=False, batch_size=8)
    for index in range(8):
        wiring.outlets[0].put(make_frame(index))  # would wait for ever if there were no room
        wiring.results.put(make_frame(index))
    assert lost(ledger) == {}


def test_keyframes_of_a_batch_wait_for_the_display_but_are_not_waited_for():
    wiring, _ = wired(live=False, smooth=True, values={"motion": {"infer_every": 3}}, batch_size=4)
    for index in range(12):
        for outlet in wiring.outlets:
            outlet.put(make_frame(index))
    assert [frame.index for frame in wiring.to_inference.get_all()] == [0, 3, 6, 9]


def test_frames_that_wait_for_a_batch_of_keyframes_stay_within_memory():
    huge = SourceInfo("clip.mp4", SourceKind.RECORDED, 7680, 4320, fps=25.0)  # 95 MiB a frame
    assert display_capacity(huge, 8, MotionSettings(infer_every=30)) == 3 + 2
    assert display_capacity(INFO, 8, MotionSettings(infer_every=30)) == 3 + 240
