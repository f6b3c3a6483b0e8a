import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.ledger import DropStage
from pipeline.web.prometheus import Metrics
from tests.pipeline.web.test_view import Watched


def samples(metrics):
    """Every sample by name and labels, as Prometheus' own parser reads them."""
    families = list(text_string_to_metric_families(metrics.text().decode()))
    return {
        (sample.name.removeprefix("stream_segment_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }, {family.name: family.type for family in families}


def test_what_prometheus_reads():
    run = Watched()
    for index in range(5):
        run.ledger.captured(run.clock.now_s + 0.25 * index)
    run.ledger.inferred(run.clock.now_s, 0.04)
    for latency_s in (0.004, 0.06, 0.06, 20.0):
        run.present(count=2, latency_s=latency_s)
    run.ledger.ready()
    run.ledger.dropped(DropStage.INFERENCE)
    run.ledger.sink_dropped("recorder")
    run.controls.set_recording(True)
    with run.feed.pictures.watching():
        read, kinds = samples(Metrics({"": run.feed}))
    assert read["frames_total", "capture"] == 5
    assert read["frames_total", "inference"] == 1
    assert read["frames_total", "display"] == 4
    assert read["frames_dropped_total", "busy", "inference"] == 1
    assert read["sink_frames_dropped_total", "recorder"] == 1
    assert read["fps", "capture"] == pytest.approx(4)
    assert ("fps", "inference") not in read  # one event has no rate
    assert read["latency_seconds_count",] == 4
    assert read["latency_seconds_sum",] == pytest.approx(20.124)
    assert [read["latency_seconds_bucket", bound] for bound in ("0.005", "0.05", "0.075", "10.0", "+Inf")] == [
        1,
        1,
        3,
        3,
        4,
    ]
    assert read["inference_seconds_median",] == pytest.approx(0.04, rel=0.01)
    assert read["objects", "person"] == read["objects", "dog"] == 1
    assert (read["viewers",], read["recording",], read["healthy",]) == (1, 1, 1)
    assert read["source_reconnects_total",] == 3
    assert kinds["stream_segment_latency_seconds"] == "histogram"
    assert kinds["stream_segment_frames"] == "counter"


def test_buckets_are_cumulative():
    run = Watched()
    for power in range(60):
        run.present(latency_s=0.001 * 1.2**power)
    read, _ = samples(Metrics({"": run.feed}))
    buckets = [value for key, value in read.items() if key[0] == "latency_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 60


def test_before_the_first_frame():
    read, _ = samples(Metrics({"": Watched().feed}))
    assert read["frames_total", "display"] == 0
    assert read["healthy",] == 0


def test_the_metrics_of_several_cameras_have_their_name():
    hall, gate = Watched(), Watched()
    hall.present(count=1)
    gate.ledger.dropped(DropStage.INFERENCE)
    text = Metrics({"hall": hall.feed, "gate": gate.feed}).text().decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)  # each metric once
    found = {(s.name, s.labels.get("camera"), s.labels.get("stage")): s.value for f in families for s in f.samples}
    assert found["stream_segment_frames_total", "hall", "display"] == 1
    assert found["stream_segment_frames_total", "gate", "display"] == 0
    assert found["stream_segment_frames_dropped_total", "gate", "inference"] == 1
    assert ("stream_segment_frames_dropped_total", "hall", "inference") not in found
    assert [found["stream_segment_healthy", camera, None] for camera in ("hall", "gate")] == [1, 0]
