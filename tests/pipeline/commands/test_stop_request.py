"""The first signal ends a training run after its step, the second at once."""

import io
import signal

import pytest

from pipeline.commands.signals import Terminated
from pipeline.commands.stop_request import StopRequest


class Trainer:
    stopped = 0

    def stop(self):
        self.stopped += 1


def test_without_a_trainer_a_signal_interrupts_since_nothing_is_worth_saving():
    with pytest.raises(KeyboardInterrupt):
        StopRequest().handle(signal.SIGINT, None)
    with pytest.raises(Terminated):  # which has an exit code of its own
        StopRequest().handle(signal.SIGTERM, None)


def test_the_second_signal_interrupts(capfd):
    stop = StopRequest()
    stop.trainer = Trainer()
    stop.handle(signal.SIGINT, None)
    assert (stop.trainer.stopped, stop.signal) == (1, signal.SIGINT)
    assert "once more to stop at once" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        stop.handle(signal.SIGINT, None)
    assert stop.trainer.stopped == 1


def test_a_signal_may_interrupt_the_printing_of_progress(monkeypatch, capfd):
    """Python's own streams refuse a print inside a print."""
    stop = StopRequest()
    stop.trainer = Trainer()

    class Interrupted(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            if stop.signal is None:
                stop.handle(signal.SIGINT, None)
            return len(data)

    with io.TextIOWrapper(io.BufferedWriter(Interrupted())) as progress:
        monkeypatch.setattr("sys.stderr", progress)
        print("step 1 of 9", file=progress, flush=True)
        monkeypatch.undo()
    assert "once more to stop at once" in capfd.readouterr().err
