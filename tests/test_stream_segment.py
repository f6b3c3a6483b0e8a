"""The program as a whole: exit codes, signals, the names for Python; its arguments are in commands/test_run.py."""

import json
import os
import signal

import pytest

import stream_segment
from pipeline.settings.schema import Settings
from tests.pipeline.commands.test_run import run_main


class NeverOpened:
    """A stream that gets a signal while it is being opened."""

    opened = False
    number = 0

    def __init__(self, settings):
        pass

    def __enter__(self):
        os.kill(os.getpid(), self.number)

    def __exit__(self, *_):
        raise AssertionError("it was not entered")


@pytest.mark.parametrize(
    ("number", "code", "text"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_before_the_stream_is_open_has_its_own_exit_code(capsys, monkeypatch, number, code, text):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr("pipeline.commands.run.Stream", NeverOpened)
    monkeypatch.setattr(NeverOpened, "number", number)
    assert run_main(capsys, "--no-window") == (code, "", f"stream_segment: {text}\n")
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_command_that_is_terminated_unwinds(capsys, monkeypatch):
    cleaned = []

    def run(_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            cleaned.append(True)

    monkeypatch.setattr("pipeline.commands.weights.run", run)
    assert run_main(capsys, "weights", "get", "coco") == (143, "", "stream_segment: terminated\n")
    assert cleaned == [True]


def test_help_and_version(capsys):
    for flag in ("--help", "--version"):
        with pytest.raises(SystemExit) as caught:
            stream_segment.main([flag])
        assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0.1.0" in shown
    assert "Keys in the window: h shows them all; q quits" in shown


def test_python_names():
    for name in stream_segment.__all__:
        assert hasattr(stream_segment, name)
    assert json.loads(Settings().model_dump_json())["source"]["uri"] == "0"
