from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.records import AudioTrack, SourceInfo, SourceKind
from pipeline.runtime.plan import Batching, Filling, JoinKind, plan_run
from pipeline.segmentation.machine import Machine
from pipeline.settings.schema import Settings


class FourCores(Machine):
    def cores(self):
        return 4


def planned(values=None):
    return plan_run(Settings.model_validate(values or {}), FourCores())


def source_plan(kind, values=None):
    return planned(values).for_source(SourceInfo("a source", kind, 80, 48, fps=25.0))


LIVE, RECORDED, STILLS = SourceKind.LIVE, SourceKind.RECORDED, SourceKind.STILLS
EVERY_THIRD = {"motion": {"infer_every": 3}}
EXACT = {"presentation": "exact"}


@pytest.mark.parametrize(
    ("kind", "values", "live", "join"),
    [
        (LIVE, {}, True, JoinKind.SMOOTH),
        (LIVE, EXACT, True, JoinKind.EXACT),
        (LIVE, EVERY_THIRD, True, JoinKind.SMOOTH),
        (LIVE, {"source": {"policy": "recorded"}}, False, JoinKind.EXACT),
        (RECORDED, {}, False, JoinKind.EXACT),
        (RECORDED, {"presentation": "smooth"}, False, JoinKind.EXACT),
        (RECORDED, EVERY_THIRD, False, JoinKind.KEYFRAMES),
        (RECORDED, {"motion": {"infer_fps": 5.0}}, False, JoinKind.KEYFRAMES),
        (RECORDED, {"source": {"policy": "live"}}, True, JoinKind.SMOOTH),
        (STILLS, {}, False, JoinKind.EXACT),
        (STILLS, EVERY_THIRD, False, JoinKind.EXACT),
    ],
)
def test_which_frames_win_and_which_are_presented(kind, values, live, join):
    plan = source_plan(kind, values)
    assert (plan.live, plan.join, plan.smooth) == (live, join, join is not JoinKind.EXACT)


SUB_STREAM = {"source": {"detect_uri": "rtsp://cam/sub"}}


def test_a_sub_stream_goes_with_live_sources_and_smooth_presentation_only():
    assert source_plan(LIVE, SUB_STREAM).join is JoinKind.SMOOTH
    for kind in (RECORDED, STILLS):
        with pytest.raises(InputError, match=r"source\.detect_uri .* of a source every frame is read"):
            source_plan(kind, SUB_STREAM)
    with pytest.raises(InputError, match=r"source\.detect_uri .* of a source every frame is read"):
        source_plan(LIVE, {"source": {**SUB_STREAM["source"], "policy": "recorded"}})
    with pytest.raises(InputError, match=r"presentation: exact .* source\.detect_uri"):
        planned(EXACT | SUB_STREAM)


@pytest.mark.parametrize(
    ("kind", "values", "low_score", "smoothing"),
    [(LIVE, {}, 0.4, 0.5), (RECORDED, EVERY_THIRD, 0.4, 0.5), (RECORDED, {}, None, 0.0), (LIVE, EXACT, None, 0.0)],
)
def test_exact_presentation_shows_instances_as_the_network_found_them(kind, values, low_score, smoothing):
    tracking = source_plan(kind, values).tracking
    assert (tracking.low_score, tracking.smoothing) == (low_score, smoothing)
    assert (tracking.hold_s > 0) == (smoothing > 0)
    assert tracking.max_lost_s == 2.0


def test_single_images_and_untracked_runs_have_no_tracking():
    assert source_plan(STILLS).tracking is None
    assert source_plan(LIVE, {"tracking": {"enabled": False}}).tracking is None


@pytest.mark.parametrize(
    ("kind", "values", "batching"),
    [
        (LIVE, {}, Batching(1)),
        (LIVE, EXACT, Batching(1)),
        (RECORDED, {}, Batching(8, Filling.FULL)),
        (STILLS, {}, Batching(8, Filling.FULL)),
        (RECORDED, EVERY_THIRD, Batching(8, Filling.AVAILABLE)),
    ],
)
def test_live_frames_go_one_by_one_and_keyframes_are_not_waited_for(kind, values, batching):
    assert source_plan(kind, {**values, "model": {"batch_size": 8}}).batching == batching


@pytest.mark.parametrize(
    ("kind", "values", "workers"),
    [
        (RECORDED, {}, 4),
        (RECORDED, {"model": {"workers": 3}}, 3),
        (RECORDED, {**EVERY_THIRD, "model": {"workers": 3}}, 3),
        (RECORDED, EVERY_THIRD, 1),
        (RECORDED, {"model": {"batch_size": 4}}, 1),
        (RECORDED, {"source": {"policy": "live"}, "model": {"workers": 3}}, 1),
        (LIVE, {"model": {"workers": 3}}, 1),
        (STILLS, {"model": {"workers": 3}}, 1),
    ],
)
def test_only_frames_of_video_files_go_side_by_side(kind, values, workers):
    assert source_plan(kind, values).workers == workers


def test_privacy_needs_detections_from_its_own_score_on():
    assert planned().redaction_score is None
    assert planned({"privacy": {"mode": "blur", "min_score": 0.25}}).redaction_score == 0.25


@pytest.mark.parametrize(
    ("mode", "audio", "kept"),
    [
        ("off", "auto", True),
        ("off", "copy", True),
        ("blur", "auto", False),
        ("pixelate", "auto", False),
        ("silhouette", "auto", False),
        ("blur", "copy", True),
        ("blur", "off", True),  # left to the recorder, which the setting tells
    ],
)
def test_privacy_withholds_the_audio_unless_the_settings_request_it(mode, audio, kept):
    track = AudioTrack(Path("a.mp4"))
    source = SourceInfo("a.mp4", RECORDED, 80, 48, audio=track)
    plan = planned({"privacy": {"mode": mode}, "output": {"audio": audio}}).for_source(source)
    assert plan.source.audio == (track if kept else None)
    assert plan.audio_withheld != kept
    assert ("no sound (privacy)" in str(plan)) != kept
    assert not planned({"privacy": {"mode": mode}}).for_source(replace(source, audio=None)).audio_withheld


def test_exact_presentation_and_skipped_inference_exclude_each_other():
    planned(EXACT)
    planned(EVERY_THIRD)
    with pytest.raises(InputError, match=r"motion\.infer_every carries masks"):
        planned({**EXACT, "motion": {"infer_every": 2}})
    with pytest.raises(InputError, match=r"motion\.infer_fps carries masks"):
        planned({**EXACT, "motion": {"infer_fps": 2.0}})


def test_lines_and_zones_need_tracked_objects():
    line = {"name": "gate", "points": [[0, 0], [1, 1]]}
    with pytest.raises(InputError, match=r"tracking\.enabled"):
        planned({"tracking": {"enabled": False}, "lines": [line]})


def test_a_plan_can_be_read():
    assert str(source_plan(LIVE)) == "a source, 80x48, live, smooth presentation, tracked"
    text = str(source_plan(STILLS, {"model": {"batch_size": 8}}))
    assert text == "a source, 80x48, recorded, exact presentation, not tracked, batches of 8"


def test_a_batch_holds_at_least_one_frame():
    with pytest.raises(ValueError, match="1 frame or more, got 0"):
        Batching(0)
