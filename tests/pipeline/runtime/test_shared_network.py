"""One network for cameras that differ in classes and scores."""

import pytest

from pipeline.errors import InputError
from pipeline.records import SourceInfo, SourceKind
from pipeline.runtime import shared_network
from pipeline.runtime.inference import segmenter_for
from pipeline.runtime.plan import plan_run
from pipeline.runtime.shared_network import SharedNetwork
from pipeline.segmentation.supervision import SupervisedSegmenter
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import FakeClock, FakeSegmenter

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


@pytest.mark.parametrize(("restart", "workers"), [(False, 3), (True, 1)])
def test_one_frame_at_a_time_has_all_cores_where_the_network_is_supervised(restart, workers, monkeypatch):
    made = []

    def make(model, detections, workers):
        made.append(workers)
        return FakeSegmenter()

    monkeypatch.setattr(shared_network, "MaskRCNNSegmenter", make)
    run = settings(model={"workers": 3}, supervision={"restart": restart})
    SharedNetwork(run, [run], None, FakeClock())
    assert made == [workers]
