import sys

import pytest

from benchmarks.options import Options
from benchmarks.rows import start


def test_the_command_line_of_a_run():
    command = start.command("out.mp4", {"precision": "int8"})
    assert command[:2] == [sys.executable, "stream_segment.py"]
    assert command[command.index("--output") + 1] == "out.mp4"
    assert command[-1] == "--set=model.precision=int8"


def test_the_first_start_does_not_count(monkeypatch):
    starts = iter([20.0, 5.0, 7.0, 5.5])
    monkeypatch.setattr(start, "start", lambda model: next(starts))
    later, first = start.measure(Options()).values
    assert (later.spread.median, later.reached, later.spread.count) == (5.5, True, 3)
    assert first.spread.median == 20


PLAYED = "import sys; open(sys.argv[1], 'w').close(); print('{}')"


def test_it_ends_with_the_first_line(monkeypatch):
    monkeypatch.setattr(start, "command", lambda output, model: [sys.executable, "-S", "-c", PLAYED, output])
    assert 0 < start.start({}) < 30


def test_a_run_that_fails_is_no_start(monkeypatch):
    code = "import sys; sys.exit('no such thing')"
    monkeypatch.setattr(start, "command", lambda output, model: [sys.executable, "-S", "-c", code])
    with pytest.raises(RuntimeError, match="ended with 1: no such thing"):
        start.start({})
