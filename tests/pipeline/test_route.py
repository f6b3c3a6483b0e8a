import pytest

from pipeline.errors import InputError
from pipeline.join import ExactJoin, KeyFrameJoin, SmoothJoin
from pipeline.records import SourceInfo, SourceKind
from pipeline.route import Losses, check_presentation, make_route
from pipeline.settings import Settings
from pipeline.stats import DropStage
from tests.pipeline.fakes import make_frame

INFO = SourceInfo("clip.mp4", SourceKind.RECORDED, 80, 48, fps=25.0)


def route_of(live, smooth, values=None):
    lost = []
    return make_route(Settings.model_validate(values or {}), INFO, live, smooth, Losses(lost.append)), lost


@pytest.mark.parametrize(
    ("live", "smooth", "join"),
    [(True, True, SmoothJoin), (True, False, ExactJoin), (False, False, ExactJoin), (False, True, KeyFrameJoin)],
)
def test_each_kind_of_run_has_its_join(live, smooth, join):
    route, _ = route_of(live, smooth, {"motion": {"infer_every": 4}})
    assert type(route.join) is join
    assert route.results in route.slots
    assert route.to_inference in route.slots
    assert len(route.slots) == (3 if smooth else 2)


def test_live_exact_frames_that_are_pushed_out_are_lost_before_inference():
    route, lost = route_of(live=True, smooth=False)
    for index in range(3):
        route.outlets[0].put(make_frame(index))
    assert lost == [DropStage.INFERENCE] * 2
    assert route.to_inference.get(0).index == 2


def test_live_smooth_frames_that_are_not_inferred_are_not_lost():
    route, lost = route_of(live=True, smooth=True)
    for index in range(2):
        for outlet in route.outlets:
            outlet.put(make_frame(index))
    assert lost == []
    assert route.to_inference.get(0).index == 1
    for outlet in route.outlets:
        outlet.put(make_frame(2))
    assert lost == [DropStage.DISPLAY]


def test_recorded_smooth_only_key_frames_are_inferred():
    route, lost = route_of(live=False, smooth=True, values={"motion": {"infer_every": 3}})
    for index in range(5):
        for outlet in route.outlets:
            outlet.put(make_frame(index))
    assert [frame.index for frame in route.to_inference.get_all()] == [0, 3]
    assert lost == []


def test_exact_presentation_and_skipped_inference_exclude_each_other():
    check_presentation(Settings.model_validate({"presentation": "exact"}))
    check_presentation(Settings.model_validate({"motion": {"infer_every": 2}}))
    with pytest.raises(InputError, match=r"motion\.infer_every carries masks"):
        check_presentation(Settings.model_validate({"presentation": "exact", "motion": {"infer_every": 2}}))
    with pytest.raises(InputError, match=r"motion\.infer_fps carries masks"):
        check_presentation(Settings.model_validate({"presentation": "exact", "motion": {"infer_fps": 2.0}}))
