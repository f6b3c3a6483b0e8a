"""One network for cameras that differ in classes and scores; lost and restarted once for all."""

import threading
from collections import defaultdict

import pytest

from pipeline.errors import InputError
from pipeline.records import SourceInfo, SourceKind
from pipeline.runtime.inference import segmenter_for
from pipeline.runtime.plan import plan_run
from pipeline.runtime.shared_network import SharedNetwork, workers_beside_cameras
from pipeline.segmentation.supervision import SupervisedSegmenter
from pipeline.settings.model_settings import ModelSettings
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import DEADLINE_S, FakeClock, FakeSegmenter, hang_until
from tests.pipeline.runtime.shaded_cameras import Shades, assert_accounted_for, collect, group

LIVE = SourceInfo("s", SourceKind.LIVE, 80, 48)
RECORDED = SourceInfo("s", SourceKind.RECORDED, 80, 48)


def settings(**values):
    """Of the shipped network, which finds people."""
    model = {"min_score": 0.6, "max_instances": 7} | values.pop("model", {})
    return Settings.model_validate({"model": model, **values})


@pytest.fixture
def cameras():
    return [
        settings(model={"classes": ["person"]}, tracking={"enabled": False}),
        settings(model={"min_score": 0.8, "max_instances": 120}, tracking={"low_score": 0.5}),
        settings(privacy={"mode": "blur", "min_score": 0.25}),
    ]


def test_it_reports_what_each_camera_needs_and_each_filters_as_in_a_run_of_its_own(cameras):
    network = SharedNetwork(settings(), cameras, None, FakeClock())
    config = network.segmenter.model.config
    assert (config.DETECTION_MIN_CONFIDENCE, config.DETECTION_MAX_INSTANCES) == (0.25, 120)
    for camera in cameras:
        for source in (LIVE, RECORDED):
            run = plan_run(camera)
            alone = segmenter_for(run, run.for_source(source))
            assert network.share_of(1.0)(run, run.for_source(source)).detections == alone.detections


def test_a_later_camera_may_not_need_more(cameras):
    network = SharedNetwork(settings(), cameras[:2], None, FakeClock())
    network.check("new", cameras[1])
    for more in (cameras[2], settings(model={"max_instances": 130})):
        with pytest.raises(InputError, match="camera new needs objects of lower scores, or more of them"):
            network.check("new", more)


def test_a_network_of_the_callers_serves_all_and_is_supervised_if_the_run_is():
    fake = FakeSegmenter()
    assert SharedNetwork(Settings(), [Settings()], fake, FakeClock()).segmenter is fake
    run = Settings.model_validate({"supervision": {"restart": True}})
    assert isinstance(SharedNetwork(run, [run], fake, FakeClock()).segmenter, SupervisedSegmenter)


@pytest.mark.parametrize(
    ("cores", "values", "workers"),
    [
        (1, {}, 1),
        (2, {}, 1),
        (4, {}, 2),
        (32, {}, 4),
        (8, {"batch_size": 2}, 1),
        (2, {"workers": 3}, 3),
    ],
)
def test_frames_go_side_by_side_on_half_the_cores(cores, values, workers):
    assert workers_beside_cameras(ModelSettings.model_validate(values), cores) == workers


class Crew(FakeSegmenter):
    """Takes several frames at the same time."""

    workers = 1  # an attribute in place of the property

    def __init__(self, workers, before=None):
        super().__init__(before)
        self.workers = workers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lost_network_is_restarted_once_for_all(workers):
    failed = []

    def fail(index):
        if index == 11 and not failed:
            failed.append(index)
            raise ValueError("lost")

    cameras = group(
        [Shades(number, 40) for number in range(3)], Crew(workers, fail), {"supervision": {"restart": True}}
    )
    found = collect(cameras)
    assert [len(found[name]) for name in "abc"] == [40] * 3
    assert cameras.summary().restarts == 1
    empty = [(name, each.frame.index) for name in "abc" for each in found[name] if not len(each.instances)]
    assert ("b", 1) in empty
    assert len(empty) <= workers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_network_that_hangs_is_restarted_once_for_all(workers):
    """Beside the files, a live camera: it goes on as well, with every frame accounted for."""
    hang, hung = threading.Event(), []
    clock = FakeClock()  # a machine that stands still for a moment does not look like a network that hangs

    def before(index):
        if index == 15 and not hung:
            hung.append(index)
            hang_until(hang, clock, lambda: cameras.summary().restarts > 0)

    supervision = {"restart": True, "timeout_s": 0.3, "start_timeout_s": DEADLINE_S}
    sources = [Shades(0, 40), Shades(1, 40), Shades(2, None, SourceKind.LIVE)]
    cameras = group(sources, Crew(workers, before), {"supervision": supervision}, clock=clock)
    found, done = defaultdict(list), 0
    with cameras:
        for name, segmented in cameras:
            found[name].append(segmented)
            done += cameras.summary().restarts == 1 and name == "c" and len(segmented.instances) > 0
            if done and len(found["a"]) == len(found["b"]) == 40:
                break
    hang.set()
    assert cameras.summary().restarts == 1
    assert not any(one.error for one in cameras.summary().cameras)
    assert_accounted_for(cameras)
    lost = {(name, each.frame.index) for name in "ab" for each in found[name] if not len(each.instances)}
    assert ("b", 5) in lost
    assert len(lost) <= workers
