import pytest

from pipeline.errors import InputError
from pipeline.records import SourceInfo, SourceKind
from pipeline.runtime.inference import Batching, Filling
from pipeline.runtime.join import ExactJoin, KeyFrameJoin, SmoothJoin
from pipeline.runtime.route import Losses, check_presentation, make_route
from pipeline.settings.schema import Settings
from pipeline.stats import DropStage
from tests.pipeline.fakes import make_frame

INFO = SourceInfo("clip.mp4", SourceKind.RECORDED, 80, 48, fps=25.0)


def route_of(live, smooth, values=None, batch_size=1):
    lost = []
    settings = Settings.model_validate(values or {})
    return make_route(settings, INFO, live, smooth, Losses(lost.append), batch_size), lost


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


@pytest.mark.parametrize("smooth", [False, True])
def test_live_frames_are_never_inferred_several_at_once(smooth):
    route, _ = route_of(live=True, smooth=smooth, batch_size=8)
    assert route.batching.size == 1


def test_a_recorded_batch_and_its_results_fit_between_the_stages():
    route, lost = route_of(live=False, smooth=False, batch_size=8)
    assert route.batching == Batching(8, Filling.FULL)
    for index in range(8):
        route.outlets[0].put(make_frame(index))  # would wait for ever if there were no room
        route.results.put(make_frame(index))
    assert lost == []


def test_key_frames_of_a_batch_wait_for_the_display_but_are_not_waited_for():
    route, _ = route_of(live=False, smooth=True, values={"motion": {"infer_every": 3}}, batch_size=4)
    assert route.batching == Batching(4, Filling.WAITING)
    for index in range(12):
        for outlet in route.outlets:
            outlet.put(make_frame(index))
    assert [frame.index for frame in route.to_inference.get_all()] == [0, 3, 6, 9]


def test_frames_that_wait_for_a_batch_of_key_frames_stay_within_memory():
    huge = SourceInfo("clip.mp4", SourceKind.RECORDED, 7680, 4320, fps=25.0)  # 95 MiB a frame
    settings = Settings.model_validate({"motion": {"infer_every": 30}})
    route = make_route(settings, huge, False, True, Losses(lambda _: None), 8)
    assert route.frame_slots[1]._capacity == 3 + 2
