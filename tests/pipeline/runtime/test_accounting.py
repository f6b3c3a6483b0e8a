"""captured = presented + dropped, for every kind of run and every way in which it ends."""

import threading

import pytest

from pipeline.errors import RunError
from pipeline.ledger import DropCause
from pipeline.privacy.redaction import Redactor
from pipeline.records import SourceInfo, SourceKind
from pipeline.sources.base import SourceState
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSink, FakeSource
from tests.pipeline.runs import stream_of

KINDS = {
    "live, smooth": (SourceKind.LIVE, {}),
    "live, exact": (SourceKind.LIVE, {"presentation": "exact"}),
    "live, every third": (SourceKind.LIVE, {"motion": {"infer_every": 3}}),
    "live, supervised": (SourceKind.LIVE, {"supervision": {"restart": True, "restarts": 0}}),
    "recorded": (SourceKind.RECORDED, {}),
    "recorded, batched": (SourceKind.RECORDED, {"model": {"batch_size": 4}}),
    "recorded, every third": (SourceKind.RECORDED, {"motion": {"infer_every": 3}}),
    "recorded, every third, batched": (SourceKind.RECORDED, {"motion": {"infer_every": 3}, "model": {"batch_size": 4}}),
    "stills": (SourceKind.STILLS, {}),
}


def fail(index):
    if index >= 5:
        raise ValueError("broken on purpose")


def ended_by_the_source(kind, values, monkeypatch):
    with stream_of(FakeSource(30, kind), values=values) as stream:
        list(stream)
    return stream


def stopped(kind, values, monkeypatch):
    with stream_of(FakeSource(None, kind), values=values) as stream:
        for shown, _ in enumerate(stream):
            if shown == 5:
                stream.stop()
    return stream


def failing(kind, values, source=None, segmenter=None, sinks=()):
    stream = stream_of(source or FakeSource(None, kind), segmenter, sinks, values)
    with pytest.raises(RunError, match="broken on purpose"), stream:
        list(stream)
    return stream


def failing_source(kind, values, monkeypatch):
    return failing(kind, values, FakeSource(20, kind, error=ValueError("broken on purpose")))


def failing_network(kind, values, monkeypatch):
    stream = failing(kind, values, segmenter=FakeSegmenter(before=fail))
    causes = {cause for _, cause in stream.summary().stats.dropped}
    assert causes <= {DropCause.LOADING, DropCause.BUSY, DropCause.STOPPED, DropCause.FAILED}
    return stream


def failing_sink(kind, values, monkeypatch):
    return failing(kind, values, sinks=[FakeSink(on_write=fail)])


def failing_redaction(kind, values, monkeypatch):
    good = Redactor.apply

    def apply(self, captured):
        fail(captured.frame.index)
        return good(self, captured)

    monkeypatch.setattr(Redactor, "apply", apply)
    return failing(kind, values)


ENDS = [ended_by_the_source, stopped, failing_source, failing_network, failing_sink, failing_redaction]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_accounted_for(kind, end, monkeypatch):
    stream = end(*KINDS[kind], monkeypatch)
    stats = stream.summary().stats
    assert stats.captured > 0
    assert stats.captured == stats.presented + stats.dropped_total


def test_a_source_that_comes_back_as_another_gets_a_new_plan_between_two_frames():
    class Returning(FakeSource):
        @property
        def state(self):
            return SourceState(reopened_as=other if self.given > 10 else None)

    other = SourceInfo("fake", SourceKind.LIVE, 1280, 720, fps=30.0)
    seen = threading.Event()
    source = Returning(20, SourceKind.LIVE, gate=lambda index: index < 10 or seen.wait(DEADLINE_S))
    with stream_of(source) as stream:
        before = stream.plan
        seen.set()
        list(stream)
    assert (before.source.width, stream.plan.source) == (80, other)
    assert stream.plan.live
    summary = stream.summary()
    assert summary.source is other
    plans = [(entry.after_frames, entry.text) for entry in summary.decisions if "presentation" in entry.text]
    assert plans == [(0, str(before)), (10, str(stream.plan))]
