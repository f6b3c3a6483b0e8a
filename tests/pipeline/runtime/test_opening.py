import threading

import pytest

from pipeline.errors import InputError, RunError
from pipeline.runtime.opening import Opening
from pipeline.runtime.stream import Stream
from pipeline.settings.schema import Settings
from pipeline.threads.slot import SlotClosed
from pipeline.threads.stage import FirstError
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSource
from tests.pipeline.runs import HEADLESS


class HangingSource(FakeSource):
    """Takes until `release` to open; `interrupt` ends that if `interruptible`."""

    def __init__(self, interruptible):
        super().__init__(1)
        self.interruptible = interruptible
        self.entered, self.release, self.closing = threading.Event(), threading.Event(), threading.Event()

    def open(self):
        self.entered.set()
        self.release.wait(DEADLINE_S)
        return super().open()

    def interrupt(self):
        super().interrupt()
        if self.interruptible:
            self.release.set()

    def close(self):
        super().close()
        self.closing.set()


def test_an_opened_source_is_described_and_closed_once():
    source = FakeSource(3)
    opening = Opening(source, FirstError(), lambda: False)
    assert opening.info().frame_count == 3
    opening.close()
    assert source.closed == 1


@pytest.mark.parametrize(
    ("error", "expected"), [(InputError("no such camera"), "no such camera"), (SystemExit("out"), "SystemExit: out")]
)
def test_a_failure_is_reported(error, expected):
    class Failing(FakeSource):
        def open(self):
            raise error

    errors = FirstError()
    with pytest.raises(SlotClosed):
        Opening(Failing(1), errors, lambda: False).info()
    assert expected in str(errors.error)


@pytest.mark.parametrize("interruptible", [True, False])
def test_stop_interrupts_a_source_that_is_being_opened(monkeypatch, interruptible):
    monkeypatch.setattr("pipeline.runtime.opening.INTERRUPT_LIMIT_S", DEADLINE_S if interruptible else 0.05)
    source = HangingSource(interruptible)
    stream = Stream(Settings.model_validate(HEADLESS), source=source, segmenter=FakeSegmenter())

    def stop():
        source.entered.wait(DEADLINE_S)
        stream.stop()

    threading.Thread(target=stop).start()
    with pytest.raises(RunError, match="stopped before the source was open"):
        stream.open()
    assert not stream.opened
    assert source.closed == int(interruptible), "a source is not closed under the thread that opens it"
    source.release.set()
    assert source.closing.wait(DEADLINE_S)
    assert source.closed == 1


def test_stop_before_the_opening_holds():
    source = FakeSource(1)
    stream = Stream(Settings.model_validate(HEADLESS), source=source, segmenter=FakeSegmenter())
    stream.stop()
    with pytest.raises(RunError, match="stopped before the source was open"):
        stream.open()
