"""Whole runs with fakes at both ends."""

from pipeline.ledger import RunLedger
from pipeline.runtime.inference import InferenceStage
from pipeline.runtime.plan import Batching
from pipeline.runtime.stream import Stream
from pipeline.runtime.wiring import Join, Wiring
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.settings.schema import Settings
from pipeline.threads.stage import Overflow, Slot
from tests.pipeline.fakes import FakeClock, FakeSegmenter, make_frame

HEADLESS = {"window": {"mode": "off"}}


def stream_of(source, segmenter=None, sinks=(), values=None):
    """A stream of fakes; `values` are settings."""
    settings = Settings.model_validate({**HEADLESS, **(values or {})})
    stream = Stream(settings, source=source, segmenter=segmenter or FakeSegmenter())
    for sink in sinks:
        stream.add_sink(sink)
    return stream


def assert_accounted_for(stream):
    """Each captured frame was presented, or lost and counted."""
    stats = stream.summary().stats
    assert stats.captured == stats.presented + stats.dropped_total


def filled(count):
    """A slot with `count` frames and its end, captured at 90 s."""
    frames = Slot(10, Overflow.WAIT)
    for index in range(count):
        frames.put(make_frame(index, captured_at_s=90.0))
    frames.close()
    return frames


def infer(segmenter, frames, results, *, ledger=None, clock=None, on_loss=None, **more):
    """Run an inference stage between two slots to its end. `more`: tracker, detections, batching."""

    def no_loss():
        raise AssertionError("a frame was lost")

    wiring = Wiring((frames.put,), (frames,), frames, results, Join(results), no_loss, on_loss or no_loss)
    segmenter.detections, tracker = more.pop("detections", DetectionFilter()), more.pop("tracker", None)
    batching = more.pop("batching", Batching())
    assert not more, more
    InferenceStage(segmenter, tracker, wiring, batching, ledger or RunLedger(), clock or FakeClock()).run()
