"""Which error leaves a `with` block."""

import pytest

from pipeline.errors import RunError
from pipeline.runtime.closing_run import ClosingRun


class Run(ClosingRun):
    """Fails at its end with `error`, if there is one."""

    def __init__(self, error=None):
        self.error = error
        self.calls = []

    def open(self):
        self.calls.append("open")

    def close(self):
        self.calls.append("close")
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
