"""A wrapper that changes nothing delegates everything."""

from __future__ import annotations

from pipeline.sources.wrapper import SourceWrapper
from tests.pipeline.sources.fake_source import FakeSource


def test_everything_is_delegated() -> None:
    inner = FakeSource([0, 40])
    wrapper = SourceWrapper(inner)
    assert wrapper.open() == inner.info
    assert wrapper.read().pts == 0
    assert wrapper.state_text == "fake is gone"
    assert wrapper.reconnects == 3
    inner.warnings.add("corrupt data at", "00:01.0")
    assert wrapper.warnings.texts() == ["corrupt data at 00:01.0"]
    wrapper.interrupt()
    assert inner.interrupted
    assert wrapper.read() is None
    wrapper.close()
    assert inner.closed
