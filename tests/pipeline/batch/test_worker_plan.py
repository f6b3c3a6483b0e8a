"""What workers are made from: their share of the machine, their engine, the settings of their runs."""

from dataclasses import replace

import pytest

from pipeline.batch.inputs import recording_at
from pipeline.batch.leases import Drivers
from pipeline.batch.worker_plan import (
    ShareOfMachine,
    choose_engine,
    make_segmenter,
    output_names,
    with_engine,
)
from pipeline.settings.model_settings import EngineKind, Precision
from tests.pipeline.batch.fakes import BOTH, plan_of
from tests.pipeline.fakes import FakeClock, FakeSegmenter
from tests.pipeline.sources.clips import write_clip


def test_a_share_of_the_machine():
    assert (ShareOfMachine(4).cores(), ShareOfMachine(4).threads(1), ShareOfMachine(4).threads(2)) == (4, 4, 2)
    assert ShareOfMachine(1).threads(4) == 1
    assert ShareOfMachine(4, own_threads=3).threads(2) == 3


def test_settings_of_a_run_write_nothing_else(tmp_path, results):
    values = {"serve": {"address": "8080"}, "virtual_camera": {"device": "auto"}, "output": {"segment_s": 5.0}}
    values["source"] = {"realtime": True, "loop": True, "start_s": 1.0}
    drivers = Drivers(results.drivers, FakeClock())
    drivers.beat()
    claim = results.claim(recording_at("d/a.avi", str(tmp_path / "a.avi")), drivers)
    settings = plan_of(results.root, **values).settings_for(claim)
    assert (settings.serve.address, settings.virtual_camera.device, settings.output.segment_s) == (None, None, None)
    assert (settings.source.uri.reveal(), settings.source.realtime) == (str(tmp_path / "a.avi"), False)
    assert not settings.source.loop
    assert settings.source.start_s == 1.0
    assert settings.output.path == str(claim.work / "video.mp4")
    assert settings.detections.path == str(claim.work / "detections.jsonl")
    assert output_names(claim.recording, BOTH) == {"video": "d/a.avi.mp4", "detections": "d/a.avi.jsonl"}


def test_the_engine_that_was_chosen_is_every_workers(results):
    chosen = {"engine": "openvino", "precision": "bfloat16", "backend": "auto", "workers": 2, "threads": 3}
    plan = with_engine(plan_of(results.root), chosen)
    model = plan.settings.model
    assert (model.engine, model.precision, model.workers) == (EngineKind.OPENVINO, Precision.BFLOAT16, 2)
    assert plan.threads == 3
    assert with_engine(plan, {"model": "fake"}) is plan


def test_choosing_skips_recordings_that_cannot_be_read(tmp_path, results):
    made = FakeSegmenter()
    (tmp_path / "a.mp4").write_bytes(b"no video")
    write_clip(tmp_path / "b.mp4", 3)
    recordings = [recording_at(name, str(tmp_path / name)) for name in ("a.mp4", "b.mp4")]
    chosen = choose_engine(plan_of(results.root, make=lambda plan: made), recordings)
    assert chosen == {"model": "fake segmenter", "labels": ["BG", "thing", "other", "third"]}
    assert (len(made.seen), made.closed) == (1, 1)


@pytest.mark.slow
def test_the_shipped_network_is_chosen_once_and_made_alike(tmp_path, results):
    write_clip(tmp_path / "a.mp4", 3)
    plan = plan_of(results.root, make=make_segmenter, model={"precision": "float32", "workers": 1})
    chosen = choose_engine(plan, [recording_at("a.mp4", str(tmp_path / "a.mp4"))])
    assert (chosen["engine"], chosen["precision"], chosen["workers"], chosen["threads"]) == (
        "openvino",
        "float32",
        1,
        1,
    )
    assert chosen["compared"] is False
    segmenter = make_segmenter(with_engine(plan, chosen))
    assert segmenter.description == chosen["model"]


@pytest.mark.slow
@pytest.mark.parametrize(("more", "compared"), [({}, True), ({"motion": {"infer_every": 3}}, False)])
def test_engines_side_by_side_are_compared_where_every_frame_is_inferred(tmp_path, results, more, compared):
    write_clip(tmp_path / "a.mp4", 3)
    plan = replace(plan_of(results.root, make=make_segmenter, model={"precision": "float32"}, **more), cores=2)
    chosen = choose_engine(plan, [recording_at("a.mp4", str(tmp_path / "a.mp4"))])
    assert (chosen["compared"], chosen["workers"] * chosen["threads"] <= 2) == (compared, True)
