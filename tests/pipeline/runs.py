"""Whole runs with fakes at both ends."""

from pipeline.settings import Settings
from pipeline.stream import Stream
from tests.pipeline.fakes import FakeSegmenter

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
