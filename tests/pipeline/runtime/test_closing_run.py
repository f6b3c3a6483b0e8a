"""Which error leaves a `with` block."""

import threading

import pytest

from pipeline.errors import RunError
from pipeline.runtime import closing_run
from pipeline.runtime.closing_run import ClosingRun
from tests.pipeline.fakes import DEADLINE_S


class Run(ClosingRun):
    """Fails at its end with `error`, if there is one."""

    def __init__(self, error=None):
        self.error = error
        self.calls = []

    def open(self):
        self.calls.append("open")
        self.closes_at_exit()

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")
        self._wall_s = 1.0
        if self.error is not None:
            raise self.error


def test_it_is_open_inside_the_block():
    with Run() as run:
        assert run.calls == ["open"]
    assert run.calls == ["open", "close"]


def test_an_error_at_the_end_leaves_the_block():
    with pytest.raises(RunError, match="disk full"), Run(RunError("disk full")):
        pass


def test_an_error_inside_the_block_is_not_hidden_by_one_at_the_end():
    with pytest.raises(KeyError), Run(RunError("disk full")):
        raise KeyError


def test_a_mistake_of_the_program_is_never_hidden():
    with pytest.raises(ZeroDivisionError), Run(ZeroDivisionError()):
        raise KeyError


def test_the_end_of_the_program_closes_what_nobody_has_closed(monkeypatch):
    monkeypatch.setattr(closing_run, "_opened", closing_run.WeakKeyDictionary())
    left, failing, closed = Run(), Run(RunError("disk full")), Run()
    for run in (left, failing, closed):
        run.open()
    closed.close()
    closing_run._close_all()
    assert left.calls == failing.calls == ["open", "stop", "close"]
    assert closed.calls == ["open", "close"]


def test_the_end_of_the_program_lets_another_thread_close_its_run_first(monkeypatch):
    monkeypatch.setattr(closing_run, "_opened", closing_run.WeakKeyDictionary())
    run, is_open, stopped = Run(), threading.Event(), threading.Event()
    run.stop = stopped.set

    def work():
        with run:
            is_open.set()
            assert stopped.wait(DEADLINE_S)
            run.calls.append("left the loop")

    threading.Thread(target=work, daemon=True).start()
    assert is_open.wait(DEADLINE_S)
    closing_run._close_all()
    assert run.calls[:3] == ["open", "left the loop", "close"]
