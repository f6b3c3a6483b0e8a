"""Redaction, counting and drawing of single frames; whole runs are in test_stream.py."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.controls import Controls, DisplayChange
from pipeline.drawing.overlay import Overlay
from pipeline.drawing.places import name_rectangles
from pipeline.errors import InputError
from pipeline.ledger import RunLedger
from pipeline.records import Detections, Instances, SegmentedFrame, SourceInfo, SourceKind, StageTimes, UnredactedFrame
from pipeline.runtime.plan import plan_run
from pipeline.runtime.presenter import Presenter
from pipeline.scene import Scene
from pipeline.settings.output_settings import OverlaySettings
from pipeline.settings.schema import Settings
from pipeline.tracking.watch import SceneWatcher
from tests.pipeline.fakes import HEIGHT, WIDTH, FakeClock, make_frame, make_instances

LABELS = ("BG", "person", "dog", "kite")


def presenter_of(loading=False, **values):
    settings = Settings.model_validate({"overlay": {"status": False}, **values})
    plan = plan_run(settings).for_source(SourceInfo("a", SourceKind.RECORDED, WIDTH, HEIGHT))
    controls, ledger, clock = Controls(settings.overlay), RunLedger(), FakeClock(105.0)
    if not loading:
        ledger.ready()
    return Presenter(settings, plan, LABELS, controls, ledger, clock), controls, ledger


def segmented(count=2, index=7):
    return SegmentedFrame(make_frame(index), make_instances(count), index, StageTimes(captured_at_s=104.0))


def test_a_presentation_is_timed_counted_watched_and_drawn():
    presenter, controls, ledger = presenter_of()
    tracked = replace(segmented().instances, track_ids=np.array([4, 5], np.int32))
    shown = presenter.present(replace(segmented(), instances=tracked), overlay_wanted=True)
    assert shown.segmented.times.presented_at_s == 105.0
    assert shown.segmented.times.latency_s == 1.0
    assert ledger.overall().presented == 1
    assert shown.segmented.scene.now == {"person": 1, "dog": 1}
    assert presenter.scene is shown.segmented.scene
    assert shown.controls is controls.state
    expected = Overlay(OverlaySettings(), LABELS).draw(make_frame(7).image_bgr, tracked, None)
    np.testing.assert_array_equal(shown.annotated_bgr, expected)
    assert not shown.annotated_bgr.flags.writeable


def test_nothing_is_drawn_where_nobody_wants_it():
    presenter, _, ledger = presenter_of()
    shown = presenter.present(segmented(), overlay_wanted=False)
    assert shown.annotated_bgr is shown.segmented.frame.image_bgr
    assert ledger.overall().presented == 1


def test_controls_change_what_is_drawn_and_not_what_was_found():
    presenter, controls, _ = presenter_of()
    controls.change_display(DisplayChange(min_score=0.7))  # of the scores 0.9 and 0.5
    shown = presenter.present(segmented(2), overlay_wanted=True)
    assert len(shown.segmented.instances) == 2
    np.testing.assert_array_equal(shown.annotated_bgr, presenter.draw(segmented(1)))
    controls.change_display(DisplayChange(masks=False, boxes=False, labels=False, scores=False))
    np.testing.assert_array_equal(presenter.draw(segmented()), segmented().frame.image_bgr)


def test_the_status_line_says_what_is_there_if_it_may():
    scene = Scene(now={"person": 2}, seen={"person": 5})
    frame = replace(segmented(0), frame=make_frame(7, 480, 640), scene=scene)  # wide enough for the whole line
    drawn = {}
    for counts in (True, False):
        presenter, controls, _ = presenter_of(overlay={"status": True, "counts": counts})
        drawn[counts] = presenter.draw(frame)
    assert (drawn[True] != drawn[False]).any()
    controls.change_display(DisplayChange(status=False))
    np.testing.assert_array_equal(presenter.draw(frame), frame.frame.image_bgr)


def test_until_the_networks_first_result_the_status_line_says_why_there_are_no_masks():
    settings = {"slate": {"loading": "One moment"}}
    presenter, _, ledger = presenter_of(**settings, loading=True)
    assert presenter.present(segmented(0), overlay_wanted=True).status.notice == "One moment"
    ledger.ready()
    assert presenter.present(segmented(), overlay_wanted=True).status.notice == ""


def test_the_rates_stay_long_enough_to_be_read():
    settings = Settings.model_validate({"overlay": {"look": "debug", "counts": True}})
    ledger, clock = RunLedger(), FakeClock(105.0)
    plan = plan_run(settings).for_source(SourceInfo("a", SourceKind.RECORDED, WIDTH, HEIGHT))
    presenter = Presenter(settings, plan, LABELS, Controls(settings.overlay), ledger, clock)
    frame = replace(segmented(0), frame=make_frame(7, 480, 640))
    first = presenter.draw(frame)
    ledger.presented(replace(frame, times=StageTimes(captured_at_s=104.0, presented_at_s=104.1)))
    clock.now_s = 105.1
    np.testing.assert_array_equal(presenter.draw(frame), first)
    counted = presenter.draw(replace(frame, scene=Scene(now={"person": 2}, seen={"person": 5})))
    assert (counted != first).any()
    clock.now_s = 105.3
    assert (presenter.draw(frame) != first).any()  # now with the latency


def test_live_runs_report_the_age_of_the_masks():
    plan = plan_run(Settings()).for_source(SourceInfo("camera 0", SourceKind.LIVE, WIDTH, HEIGHT))
    clock = FakeClock(105.0)
    presenter = Presenter(Settings(), plan, LABELS, Controls(Settings().overlay), RunLedger(), clock)

    def age_ms(captured_at_s, inferred_from_s):
        times = StageTimes(captured_at_s, inferred_from_s=inferred_from_s)
        frame = SegmentedFrame(make_frame(7), make_instances(1), 7, times)
        return presenter.present(frame, overlay_wanted=False).status.mask_age_ms

    assert age_ms(104.9, None) is None
    clock.now_s = 106.0
    assert age_ms(105.9, 104.9) == pytest.approx(1100)
    clock.now_s = 107.0
    assert age_ms(106.75, 106.75) == pytest.approx(250)
    recorded, _, _ = presenter_of()
    assert recorded.present(segmented(), overlay_wanted=False).status.mask_age_ms is None


def test_scores_below_the_threshold_are_not_shown():
    settings = Settings.model_validate({"overlay": {"masks": False, "boxes": False, "text_size": 8}})
    plan = plan_run(settings).for_source(SourceInfo("a", SourceKind.RECORDED, WIDTH, HEIGHT))
    presenter = Presenter(settings, plan, LABELS, Controls(settings.overlay), RunLedger(), FakeClock(105.0), 0.6)
    found = replace(
        segmented().instances,
        boxes_xyxy=np.array([[100, 100, 250, 400], [400, 100, 550, 400]], np.float32),
        track_ids=np.array([4, 5], np.int32),
    )
    drawn = []
    for scores in ((0.9, 0.7), (0.5, 0.4), (0.8, 0.7)):
        instances = replace(found, scores=np.array(scores, np.float32))
        drawn.append(presenter.draw(replace(segmented(), frame=make_frame(7, 480, 640), instances=instances)))
    np.testing.assert_array_equal(drawn[1], drawn[0])
    assert (drawn[2] != drawn[0]).any()


def test_places_are_drawn_where_there_is_a_scene():
    presenter, _, _ = presenter_of(zones=[{"name": "yard", "points": [[5, 5], [60, 5], [60, 40]]}])
    shown = presenter.present(segmented(0), overlay_wanted=True)
    assert (shown.annotated_bgr != shown.segmented.frame.image_bgr).any()
    np.testing.assert_array_equal(presenter.draw(segmented(0)), make_frame(7).image_bgr)


def test_nothing_is_watched_where_nothing_is_tracked():
    presenter, _, _ = presenter_of(tracking={"enabled": False})
    assert presenter.present(segmented(), overlay_wanted=True).segmented.scene is None
    assert presenter.scene is None


def test_redaction_covers_and_leaves_no_way_back():
    frame = make_frame(7)
    captured = UnredactedFrame(frame, make_instances(2), 7, StageTimes(104.0), Detections(frame, make_instances(2)))
    plain, _, _ = presenter_of()
    shown = plain.redact(captured)
    assert type(shown) is SegmentedFrame
    assert shown.frame is frame
    assert (shown.instances, shown.instances_index, shown.times) == (captured.instances, 7, captured.times)
    covered, _, _ = presenter_of(privacy={"mode": "silhouette"})
    redacted = covered.redact(captured)
    assert (redacted.frame.image_bgr != frame.image_bgr).any()
    assert not hasattr(redacted, "detections")


def test_a_class_that_is_not_there_is_named():
    with pytest.raises(InputError, match="horse"):
        presenter_of(privacy={"mode": "blur", "classes": ["horse"]})


def test_labels_keep_away_from_the_names_of_lines_and_zones():
    places = {
        "zones": [{"name": "desk", "points": [[0.1, 0.3], [0.5, 0.3], [0.5, 0.9], [0.1, 0.9]]}],
        "lines": [{"name": "door", "points": [[0.7, 0.25], [0.7, 0.9]]}],
    }
    overlay = {"masks": False, "boxes": False}
    labeled, _, _ = presenter_of(**places, overlay=overlay)
    bare, _, _ = presenter_of(**places, overlay=overlay | {"labels": False, "scores": False})
    watcher = SceneWatcher(Settings.model_validate(places), LABELS)
    frame = make_frame(0, 480, 640)
    shown = 0
    for index in range(100):
        x = 6.0 * index - 40
        boxes = [[x, 170, x + 90, 420], [600 - x, 155, 680 - x, 400]]  # they pass below both names
        people = Instances(
            np.array(boxes, np.float32),
            np.array([1, 1], np.int32),
            np.array([0.9, 0.8], np.float32),
            np.ones((2, 28, 28), np.float32),
            np.array([1, 2], np.int32),
        )
        captured = SegmentedFrame(replace(frame, index=index, pts=index), people, index, StageTimes(104.0))
        with_labels, without = (each.present(captured, overlay_wanted=True) for each in (labeled, bare))
        scene = watcher.update(captured.frame, people)
        differs = (with_labels.annotated_bgr != without.annotated_bgr).any(axis=2)
        shown += differs.any()
        for x1, y1, x2, y2 in name_rectangles((480, 640), scene, watcher.lines, watcher.zones):
            assert not differs[y1:y2, x1:x2].any()
    assert shown == 100
